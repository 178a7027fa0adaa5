"""Control groups with a CPU limit, in version 1 or 2 of cgroups(7)."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOUNTED = Path("/sys/fs/cgroup")


@contextmanager
def cpu_limit(quota_us: int, period_us: int) -> Iterator[Path]:
    """Make a group whose processes may run for ``quota_us`` in each ``period_us``; they have to end first.

    Raises:
        OSError: if this user cannot make one.
    """
    version_1 = _MOUNTED / "cpu"
    group = (version_1 if version_1.exists() else _MOUNTED) / f"tfserving-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        if version_1.exists():
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (_MOUNTED / "cgroup.subtree_control").write_text("+cpu")
            (group / "cpu.max").write_text(f"{quota_us} {period_us}")
        yield group
    finally:
        group.rmdir()
