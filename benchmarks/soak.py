"""The embedded server for an hour at full load: does it leak, does it fail.

wrk keeps the server's core busy with half_plus_two over REST. Beside it two callers, one over each API, look
at every answer, and once a minute another version is exchanged for the one that serves. After every minute
the server's resident memory, its threads and its open files are noted.

Targets: no request fails and no answer is wrong; in the last fifth of the run the memory is at most 1.05 x
what it was in the fifth after the first tenth, and there are at most 4 more threads and open files: pools
start their threads when they first need them, while a leak at every exchange would show as tens.
Needs Linux with two cores, and wrk. `--minutes 10` is a shorter run.
"""

from __future__ import annotations

import shutil
import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import _common as common
import numpy as np
import psutil
from _serving import Calls, GrpcCaller, RestCaller, calling, embedded, wrk
from swap import MODEL, exchange, is_right

from pytest_tfserving.models.store import exported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _serving import Ports

_SLICE_S = 60.0
_SLICES_AT_LEAST = 10
_GROWTH = 1.05
_MORE = 4


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slice of the run saw, and what the server held after it."""

    requests: int
    wrk_p99_ms: float
    failures: list[str]
    rss_mb: float
    threads: int
    open_files: int


def soaked(server: Ports, base: Path, slice_s: float, count: int) -> list[Slice]:
    """Load the server for ``count`` slices."""
    inputs = {"x": np.array([1, 2, 5], np.float32)}
    callers: list[Callable[[], bytes]] = [
        RestCaller(server.rest, common.PREDICT_PATH, common.REQUEST),
        GrpcCaller(server.grpc, MODEL, inputs),
    ]
    process = psutil.Process(server.process.pid)
    slices = []
    for number in range(count):
        with calling(callers, right=is_right) as calls:
            summary = wrk(server.rest, slice_s)
            exchange(server, base, number + 2)
        shutil.rmtree(base / str(number + 1))
        slices.append(_slice(process, calls, summary))
        common.note(f"{number + 1} of {count}: {slices[-1].rss_mb:.1f} MB")
    common.note("")
    return slices


def _slice(process: psutil.Process, calls: Calls, summary: dict[str, Any]) -> Slice:
    return Slice(
        summary["requests"] + len(calls.latencies_s),
        summary["p99_ms"],
        calls.failures,
        process.memory_info().rss / 2**20,
        process.num_threads(),
        process.num_fds(),
    )


def report(slices: list[Slice]) -> list[common.Target]:
    """Print what the server held once it had settled and at the end, and compare the two."""
    start, fifth = len(slices) // 10, len(slices) // 5
    parts = slices[start : start + fifth], slices[-fifth:]
    rss_mb = [statistics.median(each.rss_mb for each in part) for part in parts]
    threads = [max(each.threads for each in part) for part in parts]
    files = [max(each.open_files for each in part) for part in parts]
    rows = [["resident memory, MB", *rss_mb], ["threads", *threads], ["open files", *files]]
    common.table(["", "settled", "last"], rows)
    failures = [failure for each in slices for failure in each.failures]
    for failure in failures[:5]:
        print(failure)
    return [
        common.Target("failed or wrong", len(failures), 0),
        common.Target("memory, last / settled", rss_mb[1] / rss_mb[0], _GROWTH),
        common.Target("more threads", threads[1] - threads[0], _MORE),
        common.Target("more open files", files[1] - files[0], _MORE),
    ]


def main() -> None:
    args = common.arguments(__doc__, minutes=(60, "how long it takes (default: 60)"))
    server_core, core = common.two_cores()
    common.program("wrk")
    length_s = 30.0 if args.quick else 60 * args.minutes
    slice_s = min(_SLICE_S, length_s / _SLICES_AT_LEAST)
    with common.scratch() as folder, common.pinned(core):
        base = folder / MODEL
        shutil.copytree(exported(MODEL, common.note), base)
        with embedded(server_core, MODEL, base) as server:
            started = time.perf_counter()
            slices = soaked(server, base, slice_s, round(length_s / slice_s))
            took_s = time.perf_counter() - started
    targets = report(slices)
    requests = sum(each.requests for each in slices)
    print(f"\n{requests:,} requests in {took_s / 60:.1f} minutes, {len(slices)} versions exchanged")
    figures = {"took_s": took_s, "requests": requests, "slices": [asdict(each) for each in slices]}
    common.finish(args, figures, targets)


if __name__ == "__main__":
    main()
