"""Observations of the replicas during a run of load, and findings from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfserving.system.resource_usage import ResourceUsage

_GB = 2**30
# A smaller share explains nothing: some periods are throttled on any busy node.
_LEAST_THROTTLED = 0.02
_LEAST_FAULTS_PER_S = 10.0
# Clients notice a wait in the batch queue that is longer than this many times the inference.
_LONG_QUEUE = 0.5
# Memory that grows for a shorter time may be that of a server which has just started.
_SHORTEST_GROWTH_S = 5.0
_QUEUE_IS_FULL = "batch scheduling queue"

Sample = tuple[float, "ResourceUsage"]


@dataclass(frozen=True, slots=True)
class ServerSide:
    """Observations of all replicas together in the window; None if the target does not show the value.

    Attributes:
        cores: the mean number of cores in use.
        rss_bytes: the highest resident memory seen.
        rss_growth_bytes_per_s: the growth of the resident memory, in bytes a second: the smaller one of both
            halves of the window, so that a single step is no growth; at least 0.
        throttled: the fraction of the scheduler's periods in which a CPU limit throttled a replica.
        throttled_s: the seconds for which CPU limits throttled replicas.
        context_switches_per_s: involuntary context switches a second.
        major_faults: the number of pages read from disk.
        restarts: the number of restarted containers in the whole run.
        incidents: a sentence for each incident of a replica in the whole run; empty without incidents.
        tf_metrics: the growth of TF Serving's own metrics from before the first request of the run to after
            the last one, by name; empty if they are not known.
        idle_cores: the mean number of cores in use while another server was loaded in turn.
        model_load_s: the mean time in seconds that a model took to load, as TF Serving's own metrics say.
    """

    cores: float | None = None
    rss_bytes: int | None = None
    rss_growth_bytes_per_s: float | None = None
    throttled: float | None = None
    throttled_s: float | None = None
    context_switches_per_s: float | None = None
    major_faults: int | None = None
    restarts: int | None = None
    incidents: tuple[str, ...] = ()
    tf_metrics: Mapping[str, float] = field(default_factory=dict)
    idle_cores: float | None = None
    model_load_s: float | None = None

    @property
    def batch_size(self) -> float | None:
        """Mean number of examples in a batch; None if not known."""
        return self._mean("batching_session:processed_batch_size")

    @property
    def queue_ms(self) -> float | None:
        """Mean time in ms that a request waited for its batch; None if not known."""
        mean_us = self._mean("batching_session:queuing_latency")
        return None if mean_us is None else mean_us / 1e3

    @property
    def inference_ms(self) -> float | None:
        """Mean time in ms that the model ran for a request; None if not known."""
        mean_us = self._mean("runtime_latency")
        return None if mean_us is None else mean_us / 1e3

    @property
    def queue_median_ms(self) -> float | None:
        """Median time in ms that a request waited for its batch; None if not known."""
        return self._median_ms("batching_session:queuing_latency")

    @property
    def inference_median_ms(self) -> float | None:
        """Median time in ms that the model ran for a request; None if not known."""
        return self._median_ms("runtime_latency")

    def _median_ms(self, name: str) -> float | None:
        median_us = self.tf_metrics.get(f"{name}_median")
        return None if median_us is None else median_us / 1e3

    def _mean(self, name: str) -> float | None:
        count = self.tf_metrics.get(f"{name}_count", 0)
        return self.tf_metrics.get(f"{name}_sum", 0.0) / count if count else None


def observed(
    samples: Sequence[Sample], start_s: float, end_s: float, metrics: Mapping[str, float]
) -> ServerSide | None:
    """Return the observations in a window; None if there are none.

    Args:
        samples: pairs of a second of the run and the usage until then.
        start_s: the start of the window, in seconds of the run.
        end_s: the end of the window, in seconds of the run.
        metrics: the growth of TF Serving's own metrics.
    """
    inside = [each for each in samples if start_s <= each[0] <= end_s]
    if len(inside) < 2:  # noqa: PLR2004 - two ends
        inside = list(samples)
    if not inside and not metrics:
        return None
    if not inside:
        return ServerSide(tf_metrics=metrics)
    (first_s, first), (last_s, last) = inside[0], inside[-1]
    length_s = last_s - first_s
    return ServerSide(
        cores=_rate(first.cpu_s, last.cpu_s, length_s),
        rss_bytes=max((usage.rss_bytes for _, usage in inside if usage.rss_bytes is not None), default=None),
        rss_growth_bytes_per_s=_steady_growth(inside),
        throttled=_share([usage for _, usage in inside if usage.periods is not None]),
        throttled_s=_grown(first.throttled_s, last.throttled_s),
        context_switches_per_s=_rate(first.context_switches, last.context_switches, length_s),
        major_faults=_whole(_grown(first.major_faults, last.major_faults)),
        restarts=_whole(_grown(samples[0][1].restarts, samples[-1][1].restarts)),
        tf_metrics=metrics,
    )


def cores_by_second(samples: Sequence[Sample]) -> dict[int, float]:
    """Return the number of cores that the replicas used in each whole second, if it was seen."""
    import numpy as np

    seen = [(at_s, usage.cpu_s) for at_s, usage in samples if usage.cpu_s is not None and at_s >= 0]
    if not seen:
        return {}
    at_s, cpu_s = zip(*seen, strict=True)
    seconds = range(int(at_s[0]), int(at_s[-1]) + 1)
    used = np.diff(np.interp(seconds, at_s, cpu_s))
    return {second: round(float(cores), 3) for second, cores in zip(seconds, used, strict=False)}


def findings(
    server: ServerSide, *, length_s: float, vcpus: int | None, errors: Mapping[str, int]
) -> Iterator[str]:
    """Yield sentences on causes that may have slowed the server down, the surest causes first.

    Args:
        server: the observations.
        length_s: the length of the window in seconds.
        vcpus: the vCPUs of all replicas together; None if not known.
        errors: the number of failed requests by cause.
    """
    yield from server.incidents
    if server.restarts:
        yield f"containers restarted {server.restarts} times during the load"
    if full := sum(count for cause, count in errors.items() if _QUEUE_IS_FULL in cause):
        yield f"the batch queue was full for {full} requests; raise max_enqueued_batches or lower the load"
    if server.throttled is not None and server.throttled >= _LEAST_THROTTLED:
        lost = f", {server.throttled_s:.1f} s in all" if server.throttled_s is not None else ""
        yield f"its CPU limit throttled it in {100 * server.throttled:.0f} % of the scheduler's periods{lost}"
    if server.major_faults and server.major_faults / max(length_s, 1e-9) >= _LEAST_FAULTS_PER_S:
        yield f"it read {server.major_faults} pages back from disk: it is short of memory"
    if (queue := _long_queue(server)) is not None:
        yield queue
    if server.cores is not None:
        of = f" of {vcpus}" if vcpus else ""
        memory = f", at most {server.rss_bytes / _GB:.2g} GB of RAM" if server.rss_bytes else ""
        yield f"it used {server.cores:.2g}{of} vCPU{'' if vcpus == 1 else 's'}{memory}"


def _long_queue(server: ServerSide) -> str | None:
    queue_ms, inference_ms = server.queue_ms, server.inference_ms
    if queue_ms is None or inference_ms is None or queue_ms < _LONG_QUEUE * inference_ms:
        return None
    size = f" in batches of {server.batch_size:.1f}" if server.batch_size else ""
    return (
        f"requests waited {queue_ms:.3g} ms for their batch on average, "
        f"the model ran for {inference_ms:.3g} ms{size}"
    )


def _grown(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None or last < first else last - first


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _rate(first: float | None, last: float | None, length_s: float) -> float | None:
    grown = _grown(first, last)
    return grown / length_s if grown is not None and length_s > 0 else None


def _steady_growth(samples: Sequence[Sample]) -> float | None:
    """Return the growth of the resident memory a second in the half with less growth; None if not known."""
    seen = [(at_s, usage.rss_bytes) for at_s, usage in samples if usage.rss_bytes is not None]
    if not seen or seen[-1][0] - seen[0][0] < _SHORTEST_GROWTH_S:
        return None
    parts = (seen[0], seen[len(seen) // 2], seen[-1])
    grown = [(last - first) / max(to_s - from_s, 1e-9) for (from_s, first), (to_s, last) in pairwise(parts)]
    return max(0.0, min(grown))


def _share(counted: Sequence[ResourceUsage]) -> float | None:
    """Return the fraction of throttled periods between the first and the last count; None if not known."""
    if not counted:
        return None
    first, last = counted[0], counted[-1]
    periods = _grown(first.periods, last.periods)
    throttled = _grown(first.throttled_periods, last.throttled_periods)
    return throttled / periods if periods and throttled is not None else None
