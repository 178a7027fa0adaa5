"""Lateness of a load process, measured by a greenlet that wakes up every few milliseconds."""

from __future__ import annotations

import contextlib
import os
from array import array
from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_S = 0.02
# A shorter stop counts as lag only.
LEAST_STOP_S = 0.1
# gevent's timers end up to a millisecond late in a process that is never late.
_USUAL_LAG_MS = 1.0
_LEAST_LATE_MS = 0.1
_NS_A_MS = 10**6

Late = tuple[float, float, float]


class LagProbe:
    """Probe that wakes up every `PROBE_S` seconds and notes how late each wake-up was.

    A wake-up is late by the lag of the event loop, or by the time that the process waited for a core since
    the last wake-up (schedstat(7), only on Linux), whichever is more.

    Lag that waiting for a core does not explain is a stop: something stopped the process or the whole
    machine, or the process computed without a pause.

    Args:
        now_s: the run's clock.

    Attributes:
        counts: whether lags count for the p95 now.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._late: list[Late] = []
        self._stops: list[Late] = []
        self._lags_ms = array("d")
        self._schedstat = -1
        with contextlib.suppress(OSError):
            self._schedstat = os.open("/proc/self/schedstat", os.O_RDONLY)
        self.counts = False
        self._began_s = now_s()
        self._waited_ms = self.waited_ms()

    def run(self) -> None:
        """Probe until the greenlet is killed; lags count for the p95 while ``counts`` is true."""
        self._waited_ms = self.waited_ms()
        while True:
            self._began_s = self._now_s()
            gevent.sleep(PROBE_S)
            lag_ms = self._note()
            if self.counts:
                self._lags_ms.append(lag_ms)

    def due_s(self) -> float:
        """Return when the next wake-up is due."""
        return self._began_s + PROBE_S

    def waited_ms(self) -> float:
        """Return how many ms this process has waited for a core so far; 0 if the system does not say."""
        if self._schedstat < 0:
            return 0.0
        return int(os.pread(self._schedstat, 128, 0).split()[1]) / _NS_A_MS

    def look(self) -> None:
        """Note the lag so far, so that a stop is seen as soon as the process runs again."""
        if self._now_s() - self._began_s > LEAST_STOP_S:
            self._note()

    def take(self) -> list[Late]:
        """Return the late wake-ups since the last call, each as its first and last second, and its ms."""
        late, self._late = self._late, []
        return late

    def take_stops(self) -> list[Late]:
        """Return the stops since the last call, each as its first and last second, and its ms."""
        stops, self._stops = self._stops, []
        return stops

    @property
    def lag_p95_ms(self) -> float:
        """95th percentile in ms of the lags that count; 0 if there are none."""
        lags = sorted(self._lags_ms)
        return lags[int(len(lags) * 0.95)] if lags else 0.0

    def _note(self) -> float:
        """Note and return how many ms this wake-up is late; the next wake-up is counted from now on."""
        began_s, ended_s = self._began_s, self._now_s()
        lag_ms = (ended_s - began_s - PROBE_S) * 1e3
        before_ms, self._waited_ms = self._waited_ms, self.waited_ms()
        waited_ms = self._waited_ms - before_ms
        late_ms = max(waited_ms, lag_ms if lag_ms > _USUAL_LAG_MS else 0.0)
        if late_ms >= _LEAST_LATE_MS:
            self._late.append((round(began_s, 4), round(ended_s, 4), round(late_ms, 3)))
        if lag_ms - waited_ms >= LEAST_STOP_S * 1e3:
            self._stops.append((round(began_s, 4), round(ended_s, 4), round(lag_ms - waited_ms, 3)))
        self._began_s = ended_s
        return lag_ms
