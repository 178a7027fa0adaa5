"""What the server's side used so far, counted from its start."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class CpuReading:
    """CPU seconds that one replica had used at ``at_s``, in seconds since the epoch."""

    replica: str
    at_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources of all replicas together; None is what cannot be seen where they run.

    All but ``rss_bytes``, which is of now, only ever grow: ``cpu_s`` and ``throttled_s`` are seconds,
    ``periods`` and ``throttled_periods`` the scheduler's periods of a CPU limit, ``context_switches`` the
    involuntary ones, ``major_faults`` pages read from disk, ``restarts`` of containers. ``cpu`` has each
    replica's CPU once more, with the time it was counted at; ``unseen`` is why there is none, where that is
    known.
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

    def __add__(self, other: Usage) -> Usage:
        """Two replicas' together; what is not seen of one is not known of both."""
        return Usage(*(_sum(getattr(self, part.name), getattr(other, part.name)) for part in fields(self)))


def _sum(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one + other
