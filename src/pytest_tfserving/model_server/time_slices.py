"""Short time slices of threads, so that a thread that has work soon gets a core that others use too."""

from __future__ import annotations

import os
import platform
import struct
import sys
import threading

# The numbers of sched_setattr(2), which the C library lacks.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SCHED_OTHER = 0
# size, policy, flags, niceness, priority, slice in ns, deadline, period: the first version of `sched_attr`.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
# The shortest slice that Linux gives. Its default is some milliseconds.
_SLICE_NS = 100_000


def take_short_slices() -> bool:
    """Ask for short time slices for this thread and all that it starts; return whether the system took it.

    Linux has slices of a thread's own from version 6.12 on, and older versions ignore them. A sandbox may
    forbid the call, and a thread of another scheduling policy keeps its policy.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return False
    import ctypes

    thread = threading.get_native_id()
    if os.sched_getscheduler(thread) != _SCHED_OTHER:
        return False
    niceness = os.getpriority(os.PRIO_PROCESS, thread)
    asked = _ATTRIBUTES.pack(_ATTRIBUTES.size, _SCHED_OTHER, 0, niceness, 0, _SLICE_NS, 0, 0)
    call = ctypes.CDLL(None).syscall
    return int(call(ctypes.c_long(number), ctypes.c_long(thread), asked, ctypes.c_long(0))) == 0
