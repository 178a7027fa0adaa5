"""Timer that is on time: gevent's are up to a millisecond late, which is long for a fast response."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

import gevent
from gevent.monkey import get_original

if TYPE_CHECKING:
    from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_PR_SET_TIMERSLACK = 29
_TFD_NONBLOCK = 0o4000
_NANOSECONDS = 10**9
_sleep = get_original("time", "sleep")


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Timer:
    """Timer that calls a function in the event loop, by timerfd_create(2) on Linux."""

    def __init__(self, on_time: Callable[[], None]) -> None:
        self._on_time = on_time
        self._loop = gevent.get_hub().loop
        self._fd = -1
        self._watcher = None
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK)
            self._libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1))  # for `wait`
        if self._fd >= 0:
            self._spec = _TimerSpec()
            self._spec_at = ctypes.byref(self._spec)
            self._set = self._libc.timerfd_settime
            # What is received with the end of the time comes first.
            self._watcher = self._loop.io(self._fd, 1, True, -1)
            self._watcher.start(on_time)

    def set(self, length_s: float) -> None:
        """Call the function once in ``length_s`` seconds, and not at the time that was set before."""
        if self._fd >= 0:
            value = self._spec.value
            value.seconds, value.nanoseconds = divmod(max(int(length_s * _NANOSECONDS), 1), _NANOSECONDS)
            self._set(self._fd, 0, self._spec_at, None)
        else:
            self._stop()
            self._watcher = self._loop.timer(max(length_s, 0.0))
            self._watcher.start(self._on_time, update=True)

    def again(self) -> None:
        """Call the function again once the event loop has received what there is; only in the function."""
        if self._fd < 0:  # else the timer stays ready until a new time is set
            self.set(0.0)

    @staticmethod
    def wait(length_s: float) -> None:
        """Stop the whole process, and its event loop, for ``length_s`` seconds."""
        _sleep(length_s)

    def close(self) -> None:
        """Call nothing any more."""
        self._stop()
        if self._fd >= 0:
            os.close(self._fd)

    def _stop(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
