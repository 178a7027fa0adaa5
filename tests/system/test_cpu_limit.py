"""Throttling is read from the control groups of processes, whatever version and wherever they are mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.system.cpu_limit import LimitCounts, throttling

if TYPE_CHECKING:
    from pathlib import Path

VERSION_2 = "usage_usec 9\nnr_periods {}\nnr_throttled {}\nthrottled_usec {}\n"
VERSION_1 = "nr_periods {}\nnr_throttled {}\nthrottled_time {}\nnr_bursts 0\n"
SEEN = LimitCounts(periods=10, throttled_periods=4, throttled_s=0.5)


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    return tmp_path / "proc"


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("membership", "folder", "counts"),
    [
        ("0::/limited", "limited", VERSION_2.format(10, 4, 500_000)),
        ("0::/limited/with/none", "limited", VERSION_2.format(10, 4, 500_000)),
        ("0::/", ".", VERSION_2.format(10, 4, 500_000)),
        ("4:memory:/a\n0::/limited", "unified/limited", VERSION_2.format(10, 4, 500_000)),
        ("4:cpu,cpuacct:/limited\n0::/", "cpu,cpuacct/limited", VERSION_1.format(10, 4, 500_000_000)),
        ("2:cpuacct:/\n1:cpu:/docker/0a1b\n0::/", "cpu", VERSION_1.format(10, 4, 500_000_000)),
    ],
    ids=["its group", "a group above", "a container's root", "hybrid", "version 1", "a path of the host"],
)
def test_the_nearest_limit_counts(
    processes: Path, groups: Path, membership: str, folder: str, counts: str
) -> None:
    write(processes / "7" / "cgroup", f"{membership}\n")
    write(groups / folder / "cpu.stat", counts)
    write(groups / "limited" / "with" / "none" / "cpu.stat", VERSION_2.format(0, 0, 0))

    assert throttling([7], processes, groups) == SEEN


def test_a_group_of_several_processes_counts_once(processes: Path, groups: Path) -> None:
    for pid, group in ((7, "first"), (8, "first"), (9, "second")):
        write(processes / str(pid) / "cgroup", f"0::/{group}\n")
        write(groups / group / "cpu.stat", VERSION_2.format(10, 4, 500_000))

    assert throttling([7, 8], processes, groups) == SEEN
    assert throttling([7, 8, 9], processes, groups) == LimitCounts(20, 8, 1.0)


def test_nothing_is_known_without_a_limit(processes: Path, groups: Path) -> None:
    write(processes / "7" / "cgroup", "0::/\n")
    write(groups / "cpu.stat", VERSION_2.format(0, 0, 0))

    assert throttling([7], processes, groups) is None
    assert throttling([8], processes, groups) is None
    assert throttling([], processes, groups) is None
