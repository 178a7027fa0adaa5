"""Counters and histograms, and their text in Prometheus's format."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Labels = tuple[tuple[str, str], ...]
_Metric = TypeVar("_Metric")
_PREFIX = ":tensorflow:serving:"
# Labels may come from requests, so their number has no natural limit.
_MOST_LABEL_SETS = 1000
# How many values of a histogram wait to be sorted into its buckets.
_MOST_UNSORTED = 1024


def _exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    return tuple(first * factor**power for power in range(count - 1))


_LATENCY = _exponential(10, 1.8, 33)
_BATCHES = _exponential(1, 2, 14)
_BOUNDS = {
    "request_latency": _LATENCY,
    "runtime_latency": _LATENCY,
    "request_example_counts": _exponential(1, 2, 15),
    "model_warmup_latency": _LATENCY,
    "batching_session:queuing_latency": _exponential(100, 1.2, 52),
    "batching_session:input_batch_size": _BATCHES,
    "batching_session:processed_batch_size": _BATCHES,
    "batching_session:padding_size": _BATCHES,
}


class Counter:
    """A counter for one set of labels."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self, by: int = 1) -> None:
        """Add ``by`` to the counter."""
        with self._lock:
            self.value += by


class MetricHistogram:
    """A histogram for one set of labels.

    Values are sorted into the buckets many at a time: one by one, this would be a part of each request.
    """

    __slots__ = ("_buckets", "_lock", "_total", "_unsorted", "bounds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._lock = threading.Lock()
        self._buckets = np.zeros(len(bounds) + 1, np.int64)
        self._total = 0.0
        self._unsorted: list[float] = []
        self.bounds = bounds

    def observe(self, value: float) -> None:
        """Add a value to the histogram."""
        self._unsorted.append(value)
        if len(self._unsorted) >= _MOST_UNSORTED:
            self._sort()

    def read(self) -> tuple[list[int], float]:
        """Return the number of values in each bucket, and the sum of all values."""
        with self._lock:
            self._sort_locked()
            return self._buckets.tolist(), self._total

    def _sort(self) -> None:
        with self._lock:
            self._sort_locked()

    def _sort_locked(self) -> None:
        # Other threads append meanwhile, so what is copied is what is removed.
        values = self._unsorted.copy()
        del self._unsorted[: len(values)]
        self._buckets += np.bincount(np.searchsorted(self.bounds, values), minlength=len(self._buckets))
        self._total += sum(values)


class Metrics:
    """Counters and histograms by name and labels; the names are TF Serving's, without its prefix.

    A name that begins with a colon is a whole name, of a counter of TensorFlow.

    Beyond a limit of label sets, further sets are counted but not reported.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[str, dict[_Labels, Counter]] = {}
        self._histograms: dict[str, dict[_Labels, MetricHistogram]] = {}

    def counter(self, name: str, **labels: str) -> Counter:
        """Return the counter with these labels."""
        with self._lock:
            return _kept(self._counters, name, labels, Counter)

    def histogram(self, name: str, **labels: str) -> MetricHistogram:
        """Return the histogram with these labels."""
        with self._lock:
            return _kept(self._histograms, name, labels, lambda: MetricHistogram(_BOUNDS[name]))

    def count(self, name: str, by: int = 1, **labels: str) -> None:
        """Add to a counter."""
        self.counter(name, **labels).add(by)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        self.histogram(name, **labels).observe(value)

    @contextmanager
    def microseconds(self, name: str, **labels: str) -> Iterator[None]:
        """Add the microseconds that the context took, unless it raises."""
        started = perf_counter()
        yield
        self.observe(name, (perf_counter() - started) * 1e6, **labels)

    def text(self) -> str:
        """Return all metrics in Prometheus's text format."""
        with self._lock:
            lines = [
                line for name, found in sorted(self._counters.items()) for line in _counters(name, found)
            ]
            lines += [
                line for name, found in sorted(self._histograms.items()) for line in _histograms(name, found)
            ]
        return "".join(f"{line}\n" for line in lines)


def _kept(
    found: dict[str, dict[_Labels, _Metric]], name: str, labels: dict[str, str], make: Callable[[], _Metric]
) -> _Metric:
    metrics, key = found.setdefault(name, {}), tuple(labels.items())
    metric = metrics.get(key)
    if metric is None:
        metric = make()
        if len(metrics) < _MOST_LABEL_SETS:
            metrics[key] = metric
    return metric


def _shown(labels: _Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _counters(name: str, found: dict[_Labels, Counter]) -> Iterator[str]:
    name = name if name.startswith(":") else f"{_PREFIX}{name}"
    yield f"# TYPE {name} counter"
    for labels, counter in found.items():
        yield f"{name}{{{_shown(labels)}}} {counter.value}"


def _histograms(name: str, found: dict[_Labels, MetricHistogram]) -> Iterator[str]:
    yield f"# TYPE {_PREFIX}{name} histogram"
    for labels, histogram in found.items():
        so_far = 0
        buckets, total = histogram.read()
        shown = _shown(labels)
        before = f"{shown}," if shown else ""
        for bound, count in zip([*(f"{each:g}" for each in histogram.bounds), "+Inf"], buckets, strict=True):
            so_far += count
            yield f'{_PREFIX}{name}_bucket{{{before}le="{bound}"}} {so_far}'
        yield f"{_PREFIX}{name}_sum{{{shown}}} {total:g}"
        yield f"{_PREFIX}{name}_count{{{shown}}} {so_far}"
