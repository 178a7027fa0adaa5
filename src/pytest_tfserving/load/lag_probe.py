"""How late a load process ran, found by a greenlet that wakes up again and again."""

from __future__ import annotations

import contextlib
import os
from array import array
from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_S = 0.02
# gevent's timers end up to a millisecond late in a process that is never late.
_USUAL_LAG_MS = 1.0
_LEAST_LATE_MS = 0.1
_NS_A_MS = 10**6


class LagProbe:
    """Wakes up every `PROBE_S` seconds and notes how late that was.

    It notes how much longer the event loop took to come back to it (lag), or how long the process waited for
    a core meanwhile (schedstat(7), on Linux alone), whichever is more. ``now_s`` is the run's clock.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._late: list[tuple[float, float, float]] = []
        self._lags_ms = array("d")
        self._schedstat = -1
        with contextlib.suppress(OSError):
            self._schedstat = os.open("/proc/self/schedstat", os.O_RDONLY)
        self.counts = False

    def run(self) -> None:
        """Probe without end; lags count for the p95 while ``counts`` is true."""
        waited_ms = self.waited_ms()
        while True:
            began_s = self._now_s()
            gevent.sleep(PROBE_S)
            ended_s = self._now_s()
            lag_ms = (ended_s - began_s - PROBE_S) * 1e3
            before_ms, waited_ms = waited_ms, self.waited_ms()
            late_ms = max(waited_ms - before_ms, lag_ms if lag_ms > _USUAL_LAG_MS else 0.0)
            if late_ms >= _LEAST_LATE_MS:
                self._late.append((round(began_s, 4), round(ended_s, 4), round(late_ms, 3)))
            if self.counts:
                self._lags_ms.append(lag_ms)

    def waited_ms(self) -> float:
        """Return for how long this process has waited for a core so far; 0 where the system does not tell."""
        if self._schedstat < 0:
            return 0.0
        return int(os.pread(self._schedstat, 128, 0).split()[1]) / _NS_A_MS

    def take(self) -> list[tuple[float, float, float]]:
        """Return when it was late since the last call: from and until which second, and for how many ms."""
        late, self._late = self._late, []
        return late

    @property
    def lag_p95_ms(self) -> float:
        """The 95th percentile of the lags that count."""
        lags = sorted(self._lags_ms)
        return lags[int(len(lags) * 0.95)] if lags else 0.0
