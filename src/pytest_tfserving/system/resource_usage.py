"""Resources that servers used so far, counted from their start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class CpuReading:
    """CPU time of a replica at a point in time.

    Attributes:
        replica: the name of the replica, unique in a deployment.
        at_s: the time of the reading, in seconds since the epoch.
        cpu_s: the CPU seconds used until then.
    """

    replica: str
    at_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Resources of all replicas together; None for a value that the target does not show.

    All values are totals since the start of the replicas, except ``rss_bytes``.

    Attributes:
        cpu_s: CPU seconds.
        rss_bytes: the resident memory now, in bytes.
        periods: the scheduler's periods under a CPU limit.
        throttled_periods: the periods in which the CPU limit throttled a replica.
        throttled_s: the seconds for which the CPU limit throttled replicas.
        context_switches: involuntary context switches.
        major_faults: pages read from disk.
        restarts: restarts of containers.
        cpu: the CPU time of each replica, with the time of the reading; empty if it is not seen.
        unseen: why ``cpu`` is empty; empty if ``cpu`` is not, or if the cause is not known.
    """

    cpu_s: float | None = None
    rss_bytes: int | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_s: float | None = None
    context_switches: int | None = None
    major_faults: int | None = None
    restarts: int | None = None
    cpu: tuple[CpuReading, ...] = ()
    unseen: str = ""

    def __add__(self, other: ResourceUsage) -> ResourceUsage:
        """Return the sum of two replicas; a value that is None for one replica is None in the sum."""
        return ResourceUsage(
            cpu_s=_sum(self.cpu_s, other.cpu_s),
            rss_bytes=_sum(self.rss_bytes, other.rss_bytes),
            periods=_sum(self.periods, other.periods),
            throttled_periods=_sum(self.throttled_periods, other.throttled_periods),
            throttled_s=_sum(self.throttled_s, other.throttled_s),
            context_switches=_sum(self.context_switches, other.context_switches),
            major_faults=_sum(self.major_faults, other.major_faults),
            restarts=_sum(self.restarts, other.restarts),
            cpu=self.cpu + other.cpu,
            unseen=self.unseen + other.unseen,
        )


def _sum(one: _Number | None, other: _Number | None) -> _Number | None:
    return None if one is None or other is None else one + other
