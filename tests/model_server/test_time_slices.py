"""Short time slices of the server's threads, as the kernel has them."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from server_process import Server


# sched_getattr(2): size, policy, flags, niceness, priority, and the slice in ns.
ATTRIBUTES = struct.Struct("=IIQiIQQQ")
NUMBERS = {"x86_64": 315, "aarch64": 275}
SHORT_NS = 100_000
FIRST_VERSION = 6, 12
BATCH = """
import os
from pytest_tfserving.model_server.time_slices import take_short_slices
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
print(take_short_slices(), os.sched_getscheduler(0) == os.SCHED_BATCH)
"""
OTHER_SYSTEM = """
import sys
from pytest_tfserving.model_server.time_slices import take_short_slices
sys.platform = "darwin"
print(take_short_slices())
"""


def slice_ns(thread: int) -> int:
    """The slice of a thread; 0 if it is the default, and before the first version that has slices."""
    found = ctypes.create_string_buffer(ATTRIBUTES.size)
    call, number = ctypes.CDLL(None).syscall, NUMBERS[platform.machine()]
    assert not call(ctypes.c_long(number), ctypes.c_long(thread), found, ctypes.c_long(len(found)), 0)
    return int(ATTRIBUTES.unpack(found.raw)[5])


def kernel() -> tuple[int, ...]:
    """The version of Linux."""
    return tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])


@pytest.mark.needs("linux")
def test_threads_that_serve_have_short_slices_and_their_niceness(half: Server) -> None:
    """NumPy starts a thread for its own when it is imported, before the server asks."""
    pid = half.process.pid
    names = {int(each.name): (each / "comm").read_text() for each in Path(f"/proc/{pid}/task").iterdir()}
    serve = [thread for thread, name in names.items() if thread == pid or name != names[pid]]

    assert len(serve) > 2
    assert {slice_ns(each) for each in serve} == {SHORT_NS if kernel() >= FIRST_VERSION else 0}
    assert {os.getpriority(os.PRIO_PROCESS, each) for each in serve} == {os.getpriority(os.PRIO_PROCESS, 0)}


@pytest.mark.needs("linux")
@pytest.mark.parametrize(("program", "printed"), [(BATCH, "False True"), (OTHER_SYSTEM, "False")])
def test_threads_of_another_policy_and_other_systems_are_left_alone(program: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == printed
