"""Clock of a run of load, which stands still while the baseline is measured."""

from __future__ import annotations

import mmap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_NS = 10**9
_WORD_BYTES = 8
# The layout of the file, in words of 64 bits. One word has the whole state, so that no reader sees half of a
# change: how far this clock is behind the system's or, while it stands, minus its reading.
_STATE, _ORIGIN, _STOPS, _FIRST_STOP = range(4)
# How many of the latest stops are kept, as pairs of the system's times: more than occur during any request.
_STOPS_KEPT = 1024
_BYTES = _WORD_BYTES * (_FIRST_STOP + 2 * _STOPS_KEPT)


class LoadClock:
    """Clock that shows for how long load has run. All processes that open the same file share the clock.

    Without a file the clock belongs to this process alone. The underlying clock is `time.perf_counter_ns`,
    which is the same for all processes of a machine. Only one process may stop the clock.

    Attributes:
        path: the file; None without one.
        now_s: a function that returns the seconds of load since the origin; negative before the origin.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._words = _mapped(path) if path else memoryview(bytearray(_BYTES)).cast("q")
        self._read_ns = _reader(self._words)
        self.now_s = _shower(self._words)

    def begin(self, origin: float) -> None:
        """Set the origin to ``origin``, a moment of `time.time` near now."""
        self._words[_ORIGIN] = self._read_ns() + int((origin - time.time()) * _NS)

    @property
    def has_begun(self) -> bool:
        """True once `begin` was called."""
        return self._words[_ORIGIN] != 0

    @property
    def origin_s(self) -> float:
        """Origin of the clock in seconds, comparable with `reading_s`."""
        return self._words[_ORIGIN] / _NS

    def reading_s(self) -> float:
        """Return the clock's reading in seconds, counted from a fixed moment; it needs no origin."""
        return self._read_ns() / _NS

    @property
    def stands(self) -> bool:
        """True while the clock stands still."""
        return self._words[_STATE] < 0

    def stop(self) -> None:
        """Make the clock stand still."""
        words, now = self._words, time.perf_counter_ns()
        words[self._place(words[_STOPS])] = now
        words[_STOPS] += 1
        words[_STATE] -= now

    def go_on(self) -> None:
        """Start the clock again after `stop`."""
        words, now = self._words, time.perf_counter_ns()
        words[self._place(words[_STOPS] - 1) + 1] = now
        words[_STATE] += now

    def shown_at_s(self, moment_s: float) -> float:
        """Return the seconds since the origin at ``moment_s``, a past moment of `time.perf_counter`."""
        return self._reading_at(moment_s) - self.origin_s

    def shown_before_s(self, ago_s: float) -> float:
        """Return the seconds since the origin that the clock showed ``ago_s`` seconds ago."""
        if not self._words[_STOPS]:
            return self.now_s() - ago_s
        return self.shown_at_s(time.perf_counter() - ago_s)

    def reading_at_s(self, at: float) -> float:
        """Return the value of `reading_s` at ``at``, a past moment of `time.time`."""
        return self._reading_at(time.perf_counter() - (time.time() - at))

    def _reading_at(self, moment_s: float) -> float:
        moment, behind = int(moment_s * _NS), self._words[_STATE]
        for begin, end in self._latest_stops():
            if behind < 0:  # the clock stands since `begin`
                behind += begin
            elif moment < end:
                behind -= end - begin
            else:
                break
            moment = min(moment, begin)
        return (moment - behind) / _NS

    def _latest_stops(self) -> Iterator[tuple[int, int]]:
        """Yield the begin and the end of each stop on the system's clock in ns, the latest stop first."""
        count = self._words[_STOPS]
        for number in range(count - 1, max(count - _STOPS_KEPT, 0) - 1, -1):
            place = self._place(number)
            yield self._words[place], self._words[place + 1]

    def _place(self, stop: int) -> int:
        return _FIRST_STOP + 2 * (stop % _STOPS_KEPT)


def _mapped(path: Path) -> memoryview:
    """Return the words of the file; create the file if it does not exist."""
    with path.open("a+b") as file:
        file.truncate(_BYTES)
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("q")


def _reader(words: memoryview) -> Callable[[], int]:
    """Return a function that returns the clock's reading in nanoseconds."""
    system_ns = time.perf_counter_ns

    def read_ns() -> int:
        while True:
            state, now = words[_STATE], system_ns()
            if words[_STATE] == state:
                return now - state if state >= 0 else -state

    return read_ns


def _shower(words: memoryview) -> Callable[[], float]:
    """Return the function `now_s`. Every request calls it twice, so its code is in one function."""
    system_ns = time.perf_counter_ns

    def now_s() -> float:
        while True:
            state, now = words[0], system_ns()
            if words[0] == state:
                return ((now - state if state >= 0 else -state) - words[1]) / 1e9

    return now_s
