"""Child processes that never outlive pytest, pinned to cores of their own.

`_WATCHER` is a process that starts a child and holds one end of a pipe, whose other end pytest has. When the
pipe breaks, in whatever way pytest ended, the watcher ends the child, even a stopped one. The watcher needs
no help from the child's program.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from pytest_tfserving.system.cpu_limit import throttling
from pytest_tfserving.system.resource_usage import CpuReading, ResourceUsage
from pytest_tfserving.text.foreign_text import last_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CAN_PIN = hasattr(os, "sched_setaffinity")
_TERM_S = 5.0

# The watcher imports little, so it starts in a few milliseconds. Then it sleeps in a read.
_WATCHER = """
import os, signal, subprocess, sys, threading
cores, command = sys.argv[1], sys.argv[2:]
if cores:
    os.sched_setaffinity(0, map(int, cores.split(",")))
try:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
except OSError as error:
    print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
    os._exit(127)
def watch():
    while os.read(0, 1):
        pass
    try:
        os.killpg(child.pid, signal.SIGTERM)
        os.killpg(child.pid, signal.SIGCONT)
        child.wait(TERM_S)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
code = child.wait()
os._exit(code if code >= 0 else 128 - code)
""".replace("TERM_S", str(_TERM_S))
# It waits for the end of such a pipe, too, and then lets process groups go on.
_THAWER = """
import os, signal, sys
while os.read(0, 1):
    pass
for group in map(int, sys.argv[1:]):
    try:
        os.killpg(group, signal.SIGCONT)
    except ProcessLookupError:
        pass
"""
_SIGNALLED = 128
# The CPU clock of Linux that counts the time from the scheduler.
_CPUCLOCK_SCHED = 2
_NS = 10**9
# A look at all processes of the machine takes milliseconds, which others on the same core wait for. So the
# descendants of a child are looked for at this interval, and as soon as one has ended.
_FAMILY_S = 2.0


def available_cores() -> list[int]:
    """Return the cores that this process may use, in order; all cores if the OS cannot tell."""
    if CAN_PIN:
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def end_by_closing(process: subprocess.Popen[bytes] | subprocess.Popen[str], timeout_s: float) -> None:
    """End a child that ends with its standard input; kill it after ``timeout_s``."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def thawed_at_death(groups: Iterable[int]) -> Iterator[None]:
    """Let frozen process groups go on if this process dies inside of the context.

    A child that ends with its standard input does not notice the end while it is frozen.
    """
    thawer = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _THAWER, *map(str, groups)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        thawer.kill()
        thawer.communicate()


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a child: its exit code, above 128 for a signal."""

    code: int

    def __str__(self) -> str:
        if self.code > _SIGNALLED:
            return f"was killed by signal {self.code - _SIGNALLED}"
        return f"exited with code {self.code}"


class ChildProcess:
    """A program that runs in the background and writes its output to ``log``."""

    def __init__(
        self, command: Sequence[str], log: Path, cores: Iterable[int] = (), env: dict[str, str] | None = None
    ) -> None:
        self.log = log
        pinned = ",".join(map(str, sorted(cores))) if CAN_PIN else ""
        with log.open("wb") as output:
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WATCHER, pinned, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        self._known: list[psutil.Process] = []
        self._known_at_s = 0.0

    def exit(self) -> Exit | None:
        """Return how the child ended; None while the child runs."""
        code = self._watcher.poll()
        return None if code is None else Exit(code)

    def resident_bytes(self) -> int:
        """Return the RAM in use by the child and its descendants, in bytes."""
        total = 0
        with contextlib.suppress(psutil.Error):
            total = sum(process.memory_info().rss for process in self._known_family())
        return total

    def usage(self) -> ResourceUsage:
        """Return the resource usage of the child and its descendants; an empty usage once they have ended."""
        try:
            family = self._known_family()
            at_s = time.time()
            cpu_s = sum(map(_cpu_s, family))
            limited = throttling(process.pid for process in family)
            return ResourceUsage(
                cpu_s=cpu_s,
                rss_bytes=sum(process.memory_info().rss for process in family),
                periods=limited.periods if limited else None,
                throttled_periods=limited.throttled_periods if limited else None,
                throttled_s=limited.throttled_s if limited else None,
                context_switches=sum(process.num_ctx_switches().involuntary for process in family),
                major_faults=_major_faults(family),
                restarts=0,
                cpu=(CpuReading(f"process {self._watcher.pid}", at_s, cpu_s),) if family else (),
            )
        except psutil.Error:
            return ResourceUsage()

    def groups(self) -> set[int]:
        """Return the process groups of the child and its descendants; empty once they have ended."""
        found = set()
        with contextlib.suppress(psutil.Error):
            for process in self._family():
                with contextlib.suppress(ProcessLookupError):
                    found.add(os.getpgid(process.pid))
        return found

    def last_lines(self, count: int = 30) -> str:
        """Return the last ``count`` lines of the output."""
        return last_lines(self.log, count)

    def kill(self) -> None:
        """Kill the child and its descendants at once, as an out-of-memory kill would."""
        with contextlib.suppress(psutil.Error):
            for process in self._family():
                process.kill()

    def stop(self) -> None:
        """Ask the child to end, kill it after a few seconds, and wait for its end."""
        end_by_closing(self._watcher, _TERM_S + 2)
        self.kill()

    def _known_family(self) -> list[psutil.Process]:
        """Return the descendants of a moment ago, all of which run."""
        known, now_s = self._known, time.monotonic()
        is_old = not known or now_s - self._known_at_s >= _FAMILY_S
        if is_old or not all(each.is_running() for each in known):
            self._known, self._known_at_s = self._family(), now_s
        return self._known

    def _family(self) -> list[psutil.Process]:
        family: list[psutil.Process] = psutil.Process(self._watcher.pid).children(recursive=True)
        return family


def _cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of ``process``, including its ended threads and ended children.

    On Linux the time of the process and its threads is read in ns (clock_getcpuclockid(3)), because psutil
    has it in ticks of 10 ms.
    """
    times = process.cpu_times()
    own_s = times.user + times.system
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            own_s = time.clock_gettime_ns(~process.pid << 3 | _CPUCLOCK_SCHED) / _NS
    ended_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(own_s + ended_s)


def _major_faults(family: list[psutil.Process]) -> int | None:
    """Return the pages read from disk for ``family`` (proc(5), field 12 of stat); None without /proc."""
    try:
        stats = [Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8") for process in family]
    except OSError:
        return None
    return sum(int(stat.rpartition(")")[2].split()[9]) for stat in stats)
