"""Other processes on the load generator's cores, as far as /proc shows them."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_PROC = Path("/proc")
# Reading hundreds of processes takes about 10 ms.
_EVERY_S = 1.0
_MOST_NAMED = 3
_LEAST_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class _SeenProcess:
    """A process: its CPU time so far, the core it ran on last, whether it can use several cores at once."""

    name: str
    started: int
    cpu_s: float
    core: int
    has_threads: bool


class Neighbours:
    """Counter of the CPU time that other processes used on the load generator's cores, as /proc shows it.

    Args:
        cores: the cores of the load generator.
        own: the ids of the load processes, which do not count.
    """

    def __init__(self, cores: Collection[int], own: Collection[int]) -> None:
        self._cores = frozenset(cores)
        self._own = frozenset(own)
        self._used_s: defaultdict[tuple[int, int], float] = defaultdict(float)
        self._name: dict[tuple[int, int], str] = {}
        self._where: dict[tuple[int, int], int | None] = {}
        self._began_s = self._looked_s = time.monotonic()
        self._last = dict(self._look()) if self._cores else {}

    def look(self) -> None:
        """Read the processes' CPU times, unless the last reading is less than a second old."""
        if self._cores and time.monotonic() - self._looked_s >= _EVERY_S:
            self._add()

    def named(self) -> tuple[str, ...]:
        """Return the processes that used most, as ``python (pid 123) used 46 % of core 1``.

        Processes that were seen on the cores come before processes that may also have run on other cores.
        """
        if self._cores:
            self._add()
        length_s = self._looked_s - self._began_s
        many = [(key, used_s) for key, used_s in self._used_s.items() if used_s >= _LEAST_SHARE * length_s]
        many.sort(key=lambda item: (self._where[item[0]] is None, -item[1]))
        return tuple(
            f"{self._name[key]} (pid {key[0]}) used {100 * used_s / length_s:.0f} % of {self._place(key)}"
            for key, used_s in many[:_MOST_NAMED]
        )

    def _place(self, key: tuple[int, int]) -> str:
        core = self._where[key]
        if core is not None:
            return f"core {core}"
        return f"a core, at times core {' or '.join(map(str, sorted(self._cores)))}"

    def _add(self) -> None:
        self._looked_s, now = time.monotonic(), dict(self._look())
        for pid, seen in now.items():
            before = self._last.get(pid)
            used_s = seen.cpu_s - before.cpu_s if before and before.started == seen.started else seen.cpu_s
            if used_s <= 0:
                continue
            was_here = self._cores & {seen.core, before.core if before else seen.core}
            may_be_here = seen.has_threads and self._allowed(pid)
            if was_here or may_be_here:
                key = pid, seen.started
                self._used_s[key] += used_s
                self._name[key] = seen.name
                self._where[key] = None if seen.has_threads or not was_here else min(was_here)
        self._last = now

    def _allowed(self, pid: int) -> bool:
        with suppress(OSError):
            return bool(os.sched_getaffinity(pid) & self._cores)
        return False

    def _look(self) -> Iterator[tuple[int, _SeenProcess]]:
        for folder in _PROC.glob("[0-9]*"):
            pid = int(folder.name)
            if pid not in self._own and (seen := _seen(folder)):
                yield pid, seen


def _seen(folder: Path) -> _SeenProcess | None:
    """Return the values in a process's ``stat`` (proc(5)); None if the process is gone."""
    try:
        head, _, tail = (folder / "stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    fields = tail.split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return _SeenProcess(
        one_line(head.partition("(")[2]), int(fields[19]), cpu_s, int(fields[36]), int(fields[17]) > 1
    )
