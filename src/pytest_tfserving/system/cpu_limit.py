"""Throttling of processes by the CPU limits of their control groups (cgroups(7)), as the kernel counts it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_GROUPS = Path("/sys/fs/cgroup")
_PROCESSES = Path("/proc")
# The key of the throttled time in `cpu.stat`, and its units in a second: of version 2, and of version 1.
_TIMES = {"throttled_usec": 10**6, "throttled_time": 10**9}


@dataclass(frozen=True, slots=True)
class LimitCounts:
    """Counts of CPU limits since their control groups were made.

    Attributes:
        periods: the scheduler's periods in which the groups ran.
        throttled_periods: the periods in which a limit throttled a group.
        throttled_s: the seconds for which limits throttled groups.
    """

    periods: int
    throttled_periods: int
    throttled_s: float


def throttling(
    pids: Iterable[int], processes: Path = _PROCESSES, groups: Path = _GROUPS
) -> LimitCounts | None:
    """Return the throttling of the control groups of processes; None if no group has a CPU limit.

    Args:
        pids: the ids of the processes.
        processes: the folder of processes, as proc(5) describes it.
        groups: the folder in which control groups are mounted.
    """
    limited = dict(each for pid in pids for each in _limited_group(pid, processes, groups))
    if not limited:
        return None
    return LimitCounts(
        sum(each.periods for each in limited.values()),
        sum(each.throttled_periods for each in limited.values()),
        sum(each.throttled_s for each in limited.values()),
    )


def _limited_group(pid: int, processes: Path, groups: Path) -> list[tuple[Path, LimitCounts]]:
    """Return the nearest control group above a process whose limit counts, with its counts; or nothing."""
    with contextlib.suppress(OSError):
        text = (processes / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace")
        for folder in _groups_of(text.splitlines(), groups):
            with contextlib.suppress(OSError):
                counts = _counts(folder)
                if counts.periods:
                    return [(folder, counts)]
    return []


def _groups_of(lines: Iterable[str], groups: Path) -> Iterator[Path]:
    """Yield the folders of the groups that a process is in, each followed by those above it.

    In a container a path can be that of the host, of which only the last folder above it exists.
    """
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = (groups / controllers, groups / "cpu") if controllers else (groups, groups / "unified")
        for mount in dict.fromkeys(mounts):
            inside = Path(path.lstrip("/"))
            yield from (mount / each for each in (inside, *inside.parents))


def _counts(folder: Path) -> LimitCounts:
    """Return the counts of a control group.

    Raises:
        OSError: if the group is gone, or has no counts.
    """
    lines = (folder / "cpu.stat").read_text(encoding="ascii").splitlines()
    counts = {name: int(value) for name, value in (line.split() for line in lines)}
    throttled_s = sum(counts.get(name, 0) / units for name, units in _TIMES.items())
    return LimitCounts(counts.get("nr_periods", 0), counts.get("nr_throttled", 0), throttled_s)
