"""Sleeps that end on time: gevent's end up to a millisecond late, which is long for a fast response."""

from __future__ import annotations

import ctypes
import os
import sys

import gevent

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = 0o4000
_NANOSECONDS = 10**9
# The call itself takes about as long as a shorter sleep.
_SHORTEST_S = 2e-5


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Timer:
    """Timer that wakes a greenlet by timerfd_create(2) on Linux, and by gevent's sleep elsewhere."""

    def __init__(self) -> None:
        self._fd = -1
        if sys.platform != "linux":
            return
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK)
        if self._fd >= 0:
            self._hub = gevent.get_hub()
            self._readable = self._hub.loop.io(self._fd, 1)
            self._spec = _TimerSpec()

    def sleep(self, length_s: float) -> None:
        """Let other greenlets run for ``length_s`` seconds, at least once."""
        if length_s < _SHORTEST_S or self._fd < 0:
            gevent.sleep(max(length_s, 0.0))
            return
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(int(length_s * _NANOSECONDS), _NANOSECONDS)
        self._libc.timerfd_settime(self._fd, 0, ctypes.byref(self._spec), None)
        self._hub.wait(self._readable)
        os.read(self._fd, 8)
