"""CPU time of the replicas while they were loaded, from counters that only grow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_tfserving.system.resource_usage import ResourceUsage

    Floats = NDArray[np.float64]

_MOST_BLOCKS = 200
# CPU time of ended children is counted in kernel ticks, other CPU time in ns: a sum may fall by one tick.
_TICK_S = 0.02
_FEWEST_READINGS = 2
# A replica is idle between two readings if its load clock showed less than this share of the time.
_IDLE_SHARE = 0.05
_LEAST_IDLE_S = 3.0


@dataclass(frozen=True)
class CpuCurve:
    """CPU time of all replicas together over a run.

    Attributes:
        at_s: the times of the readings, in seconds of the run; shape ``(n,)``.
        cpu_s: the CPU seconds used until each time; shape ``(n,)``.
        unseen: why there are no readings; empty if there are, or if the cause is not known.
    """

    at_s: Floats
    cpu_s: Floats
    unseen: str = ""

    def within(self, start_s: float, end_s: float) -> CpuCurve:
        """Return the readings from ``start_s`` to ``end_s``."""
        inside = (self.at_s >= start_s) & (self.at_s <= end_s)
        return CpuCurve(self.at_s[inside], self.cpu_s[inside], self.unseen)

    @property
    def is_enough(self) -> bool:
        """True if there are at least two readings."""
        return len(self.at_s) >= _FEWEST_READINGS

    @property
    def began_anew(self) -> bool:
        """True if a counter fell, as after the restart of a replica."""
        return bool((np.diff(self.cpu_s) < -_TICK_S).any())

    def blocks(self) -> CpuCurve:
        """Return the readings that divide the time into at most `_MOST_BLOCKS` blocks."""
        last = len(self.at_s) - 1
        kept = np.unique(np.linspace(0, last, min(last, _MOST_BLOCKS) + 1).round().astype(int))
        return CpuCurve(self.at_s[kept], self.cpu_s[kept], self.unseen)


class CpuHistory:
    """Readings of each replica so far. One thread may add readings while another one reads the curve."""

    def __init__(self) -> None:
        self._readings: dict[str, list[tuple[float, float]]] = {}
        self._latest_s: dict[str, float] = {}
        self._unseen = ""
        self._idle_s = 0.0
        self._idle_cpu_s = 0.0

    def add(self, usage: ResourceUsage, placed: Callable[[float], float] = float) -> None:
        """Add the new readings of ``usage``; ``placed`` converts their times, in seconds since the epoch."""
        self._unseen = usage.unseen
        for reading in usage.cpu:
            before_s = self._latest_s.get(reading.replica, -math.inf)
            if reading.at_s > before_s:
                self._latest_s[reading.replica] = reading.at_s
                known = self._readings.setdefault(reading.replica, [])
                known.append((placed(reading.at_s), reading.cpu_s))
                if len(known) >= _FEWEST_READINGS:
                    self._add_idle(reading.at_s - before_s, *known[-2:])

    def _add_idle(self, passed_s: float, before: tuple[float, float], now: tuple[float, float]) -> None:
        """Add the CPU of the time between two readings if the replica was hardly loaded in this time."""
        loaded_s, used_s = now[0] - before[0], now[1] - before[1]
        if loaded_s < _IDLE_SHARE * passed_s and used_s >= 0:
            self._idle_s += passed_s
            self._idle_cpu_s += used_s

    @property
    def idle_cores(self) -> float | None:
        """Mean number of cores in use while no load was on all replicas; None if that was hardly seen."""
        if self._idle_s < _LEAST_IDLE_S:
            return None
        return len(self._readings) * self._idle_cpu_s / self._idle_s

    def curve(self, origin_s: float) -> CpuCurve:
        """Return the sum of all replicas over the time in which each replica was read.

        The curve has the times of the replica with the fewest readings; the CPU times of the other replicas
        are interpolated.

        Args:
            origin_s: the time of the curve's second 0.
        """
        copied = [list(known) for known in list(self._readings.values())]
        if not copied:
            return CpuCurve(np.empty(0), np.empty(0), self._unseen)
        series = [np.array(known) for known in copied]
        first_s, last_s = max(each[0, 0] for each in series), min(each[-1, 0] for each in series)
        at_s = min(series, key=len)[:, 0]
        at_s = at_s[(at_s >= first_s) & (at_s <= last_s)]
        cpu_s = sum((np.interp(at_s, each[:, 0], each[:, 1]) for each in series), np.zeros(len(at_s)))
        return CpuCurve(at_s - origin_s, cpu_s, self._unseen)
