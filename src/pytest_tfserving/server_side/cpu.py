"""CPU that the replicas used while they were loaded, from counts that only grow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_tfserving.targets.usage import Usage

    Floats = NDArray[np.float64]

_MOST_BLOCKS = 200
# CPU of children that ended is counted in the kernel's ticks, other CPU in ns: a sum may step back by one.
_TICK_S = 0.02
_FEWEST_READINGS = 2


@dataclass(frozen=True)
class CpuCurve:
    """CPU seconds of all replicas together, at seconds since the run's start.

    ``unseen`` is why there is none, where that is known.
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
        """Whether there is CPU between two readings."""
        return len(self.at_s) >= _FEWEST_READINGS

    @property
    def began_anew(self) -> bool:
        """Whether a count went back, as that of a restarted replica does."""
        return bool((np.diff(self.cpu_s) < -_TICK_S).any())

    def blocks(self) -> CpuCurve:
        """Return the readings that cut the time from the first to the last into `_MOST_BLOCKS` at most."""
        last = len(self.at_s) - 1
        kept = np.unique(np.linspace(0, last, min(last, _MOST_BLOCKS) + 1).round().astype(int))
        return CpuCurve(self.at_s[kept], self.cpu_s[kept], self.unseen)


class CpuHistory:
    """The readings of each replica so far. A thread may add some while another one asks for the curve."""

    def __init__(self) -> None:
        self._readings: dict[str, list[tuple[float, float]]] = {}
        self._latest_s: dict[str, float] = {}
        self._unseen = ""

    def add(self, usage: Usage, placed: Callable[[float], float] = float) -> None:
        """Keep the readings of ``usage`` that are new, at the time that ``placed`` makes of theirs."""
        self._unseen = usage.unseen
        for reading in usage.cpu:
            if reading.at_s > self._latest_s.get(reading.replica, -math.inf):
                self._latest_s[reading.replica] = reading.at_s
                known = self._readings.setdefault(reading.replica, [])
                known.append((placed(reading.at_s), reading.cpu_s))

    def curve(self, origin_s: float) -> CpuCurve:
        """Return the sum of all replicas for the time in which each was read; ``origin_s`` is its second 0.

        It has the times of the replica that was read least often. The others' CPU at these is interpolated.
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
