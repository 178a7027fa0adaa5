"""Threads of low priority, for work that must not delay requests."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

_MOST_NICENESS = 19


def quiet_threads(count: int, niceness: int) -> ThreadPoolExecutor:
    """Return a pool of ``count`` threads of low priority, which start once they have work.

    ``niceness`` is how much lower their priority is. A core that others want too is shared by weight, and
    each step of niceness divides the weight by 1.25: beside one busy thread of normal priority, 14 gets a
    24th of the core, 10 a tenth, 5 a quarter, 0 half.
    """
    return ThreadPoolExecutor(
        count, thread_name_prefix="quiet", initializer=_lower_priority, initargs=(niceness,)
    )


def _lower_priority(by: int) -> None:
    """Lower the priority of this thread and of all that it starts; only Linux tells threads apart."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + by
        with suppress(OSError):  # a sandbox may not allow it, and then the work is done all the same
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness, _MOST_NICENESS))
