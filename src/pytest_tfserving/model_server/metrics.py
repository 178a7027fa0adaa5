"""What happened, counted and measured, and told as Prometheus reads it."""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_Labels = tuple[tuple[str, str], ...]
_PREFIX = ":tensorflow:serving:"
# Labels may come from requests, of which there is no end.
_MOST_LABEL_SETS = 1000


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


@dataclass(slots=True)
class _Histogram:
    bounds: tuple[float, ...]
    buckets: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.buckets = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value


class _Microseconds:
    """A class, since a generator's context takes longer to enter and leave than a metric to count."""

    __slots__ = ("_labels", "_metrics", "_name", "_started")

    def __init__(self, metrics: Metrics, name: str, labels: dict[str, str]) -> None:
        self._metrics = metrics
        self._name = name
        self._labels = labels

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._metrics.observe(self._name, (perf_counter() - self._started) * 1e6, **self._labels)


class Metrics:
    """Counters and histograms by name and labels; names are those of TF Serving behind its prefix."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[str, dict[_Labels, int]] = {}
        self._histograms: dict[str, dict[_Labels, _Histogram]] = {}

    def count(self, name: str, by: int = 1, **labels: str) -> None:
        """Add to a counter."""
        key = tuple(labels.items())
        with self._lock:
            counters = self._counters.setdefault(name, {})
            if key in counters or len(counters) < _MOST_LABEL_SETS:
                counters[key] = counters.get(key, 0) + by

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        key = tuple(labels.items())
        with self._lock:
            histograms = self._histograms.setdefault(name, {})
            if key not in histograms and len(histograms) < _MOST_LABEL_SETS:
                histograms[key] = _Histogram(_BOUNDS[name])
            if key in histograms:
                histograms[key].add(value)

    def microseconds(self, name: str, **labels: str) -> _Microseconds:
        """Add the microseconds that the context took, unless it raises."""
        return _Microseconds(self, name, labels)

    def text(self) -> str:
        """Everything, in Prometheus's text format."""
        with self._lock:
            lines = [
                line for name, found in sorted(self._counters.items()) for line in _counters(name, found)
            ]
            lines += [
                line for name, found in sorted(self._histograms.items()) for line in _histograms(name, found)
            ]
        return "".join(f"{line}\n" for line in lines)


def _shown(labels: _Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _counters(name: str, found: dict[_Labels, int]) -> Iterator[str]:
    yield f"# TYPE {_PREFIX}{name} counter"
    for labels, value in found.items():
        yield f"{_PREFIX}{name}{{{_shown(labels)}}} {value}"


def _histograms(name: str, found: dict[_Labels, _Histogram]) -> Iterator[str]:
    yield f"# TYPE {_PREFIX}{name} histogram"
    for labels, histogram in found.items():
        so_far = 0
        shown = _shown(labels)
        before = f"{shown}," if shown else ""
        for bound, count in zip(
            [*(f"{each:g}" for each in histogram.bounds), "+Inf"], histogram.buckets, strict=True
        ):
            so_far += count
            yield f'{_PREFIX}{name}_bucket{{{before}le="{bound}"}} {so_far}'
        yield f"{_PREFIX}{name}_sum{{{shown}}} {histogram.total:g}"
        yield f"{_PREFIX}{name}_count{{{shown}}} {so_far}"
