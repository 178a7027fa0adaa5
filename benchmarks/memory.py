"""Memory of the load generator and of its parent while 2 000 000 requests are recorded.

The real load path loads one nginx worker until so many requests are recorded, then it is interrupted as
Ctrl-C would, and builds its result from all of them. The child's bytes a request are the slope of the line
through its resident memory after 200 000 requests, which changes by a megabyte with the moment it is looked
at. The parent's highest, the building of the result included, is compared with what it was before. The file
of records, which the parent maps, is told apart: the system takes that memory back when it likes.

Target: the child grows by less than 1 byte a request, the parent by at most 40 without the mapped file.
Needs Linux with two cores, and the Debian package nginx.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import _common as common
import numpy as np

if TYPE_CHECKING:
    from pytest_tfserving.deployment.load_messages import MergedTick

USERS = 16
_LONGEST_S = 600.0
_LOOK_S = 0.001
_KB = 1024


def memory_bytes(pid: int | str) -> dict[str, int]:
    """``VmRSS``, ``RssAnon`` and the like of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * _KB for line in lines if line.endswith(" kB")}


class ParentWatch:
    """The highest memory of this process while the context is open."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.before = memory_bytes("self")
        self.highest = dict(self.before)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def growth(self, name: str) -> int:
        """Bytes over what it was before."""
        return self.highest[name] - self.before[name]

    def _look(self) -> None:
        while not self._done.wait(_LOOK_S):
            now = memory_bytes("self")
            self.highest = {name: max(value, self.highest[name]) for name, value in now.items()}


class ChildWatch:
    """Notes the child's memory at every tick, and ends the run after so many requests."""

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._child = common.load_child
        self.samples: list[tuple[int, int]] = []

    def __call__(self, tick: MergedTick) -> None:
        """Take in one tick."""
        if child := common.load_child():
            self.samples.append((tick["requests"], memory_bytes(child.pid)["VmRSS"]))
        common.note(f"{tick['requests']:,} of {self._requests:,} requests")
        if tick["requests"] >= self._requests:
            raise KeyboardInterrupt

    def after(self, requests: int) -> list[tuple[int, int]]:
        """Return the samples with at least this number of requests."""
        return [sample for sample in self.samples if sample[0] >= requests]


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    requests = 500_000 if args.quick else 2_000_000
    child = ChildWatch(requests)
    np.sort(np.zeros(1))  # numpy's own memory is not the result's
    with common.scratch() as folder, common.Nginx(folder, server_core) as nginx:
        time.sleep(0.1)
        plan, deployment = common.plan(USERS, _LONGEST_S), common.deployment(nginx.port, core)
        with ParentWatch() as parent:
            result = common.measured(plan, deployment, folder / "load", child)
    common.note("")
    if result.aborted or result.total_errors or result.total_requests < requests:
        sys.exit(f"the run failed: {result.aborted or dict(result.errors) or result.total_requests}")
    samples = child.after(requests // 10)
    first, last = samples[0], samples[-1]
    slope = statistics.linear_regression(*zip(*samples, strict=True)).slope
    total = result.total_requests
    growth = {name: parent.growth(name) / total for name in ("VmRSS", "RssAnon")}
    common.table(
        ["memory", "requests", "MB", "bytes a request"],
        [
            ["child", first[0], f"{first[1] / 2**20:.1f}", ""],
            ["child", last[0], f"{last[1] / 2**20:.1f}", f"{slope:.3f}"],
            ["parent before", 0, f"{parent.before['VmRSS'] / 2**20:.1f}", ""],
            ["parent, highest", total, f"{parent.highest['VmRSS'] / 2**20:.1f}", f"{growth['VmRSS']:.1f}"],
            [
                "  without mapped files",
                total,
                f"{parent.highest['RssAnon'] / 2**20:.1f}",
                f"{growth['RssAnon']:.1f}",
            ],
            [
                "  of it, the result's latencies",
                total,
                f"{result.latencies_ms.nbytes / 2**20:.1f}",
                f"{result.latencies_ms.nbytes / total:.1f}",
            ],
        ],
    )
    figures = {"child": child.samples, "child_bytes_a_request": slope, "parent_bytes_a_request": growth}
    common.finish(
        args,
        {**figures, "requests": total},
        [
            common.Target("child, bytes a request", slope, 1),
            common.Target("parent without mapped files, highest, bytes a request", growth["RssAnon"], 40),
        ],
    )


if __name__ == "__main__":
    main()
