"""How surely a load generator that is starved of CPU is found out, and how seldom one that is not.

A server that answers at once runs on one core, the load generator on another. In half of the runs a loop that
never ends shares the generator's core. Every such run must be INVALID, and no other.

Needs Linux with two cores, and the Debian package nginx.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import _common as common

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USERS = 4
RUN_TIME_S = 4
THINK_TIME_S = 0.002


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    rounds = 3 if args.quick else 20
    causes: dict[str, Counter[str]] = {"starved": Counter(), "idle": Counter()}
    with common.scratch() as folder, common.Nginx(folder, server_core) as nginx:
        for number in range(rounds):
            for name, found in causes.items():
                with hog(core) if name == "starved" else contextlib.nullcontext():
                    found[cause(nginx.port, core, folder)] += 1
                common.note(f"round {number + 1}/{rounds}: {name}")
    common.note("")
    rows = [[name, count, why or "valid"] for name, found in causes.items() for why, count in found.items()]
    common.table(["load generator", "runs", "verdict"], rows)
    caught = sum(count for why, count in causes["starved"].items() if why)
    wronged = sum(count for why, count in causes["idle"].items() if why)
    common.finish(
        args,
        {name: dict(found) for name, found in causes.items()},
        [
            common.Target("starved runs that were found out", caught / rounds, 1, at_least=True),
            common.Target("idle runs that were called INVALID", wronged / rounds, 0),
        ],
    )


@contextlib.contextmanager
def hog(core: int) -> Iterator[None]:
    """A process that wants all of a core."""
    with common.pinned(core):
        process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    with common.ending(process):
        yield


def cause(port: int, core: int, folder: Path) -> str:
    """Why a run is INVALID, up to its figures; empty when it is not."""
    plan = common.plan(USERS, RUN_TIME_S, THINK_TIME_S)
    result = common.measured(plan, common.deployment(port, core), folder / "load", lambda _: None)
    if result.aborted or result.total_errors:
        sys.exit(f"the run failed: {result.aborted or dict(result.errors)}")
    return result.invalid.partition(":")[0]


if __name__ == "__main__":
    main()
