"""The time when the kernel received what a socket reads, by SO_TIMESTAMPNS of Linux (socket(7))."""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

# Python's socket module lacks the name.
_SO_TIMESTAMPNS = 35
_TIME = struct.Struct("@ll")
CONTROL_BYTES = socket.CMSG_SPACE(_TIME.size)
_NS = 10**9
# Data that seems to be older was received before a step of the system's clock, or the process stood still.
_MOST_WAITED_NS = 20_000_000


def ask_for_arrival_times(sock: _socket.socket) -> bool:
    """Ask for the time when data arrives; return whether the system has it."""
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def waited_s(control: Sequence[tuple[int, int, bytes]]) -> float | None:
    """Return for how many seconds data has waited for being read, by the control messages beside it.

    None if the messages have no time. 0 if the time is in the future or long ago, as after a step of the
    system's clock: then the data counts as received now.
    """
    if not control or len(control[0][2]) != _TIME.size:
        return None
    seconds, nanoseconds = _TIME.unpack(control[0][2])
    waited_ns = time.time_ns() - seconds * _NS - nanoseconds
    return waited_ns / _NS if 0 < waited_ns < _MOST_WAITED_NS else 0.0


class LateReading:
    """Permission to read the responses of a run late.

    Attributes:
        has_times: whether the data that was read last had its time of arrival; the kernel begins to note the
            times a moment after the first stream has asked for them.
        allowed: false from the first time on that reading late could have held up a server.
    """

    def __init__(self) -> None:
        self.has_times = False
        self.allowed = True

    @property
    def possible(self) -> bool:
        """True if the next responses can be read late."""
        return self.has_times and self.allowed
