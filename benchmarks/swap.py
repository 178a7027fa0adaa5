"""Versions of a model exchanged at full load, over REST and gRPC: what requests saw of it.

Four callers, two over each API, call half_plus_two without pause from one core; the server has another.
Meanwhile 20 versions come one after the other, each exchanged for the one before.

Target: no request fails, no answer is wrong. The 99th percentile during the exchanges is reported beside
that of the calm time between them. Needs Linux with two cores.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import _common as common
import numpy as np
from _serving import Calls, GrpcCaller, RestCaller, calling, embedded, states

from pytest_tfserving.models.store import exported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _serving import Ports

MODEL = "half_plus_two"
_CALM_S = 0.5
_LONGEST_S = 60.0
_LOOK_S = 0.02
# The numbers 2.5, 3.0 and 4.5, as both APIs write them.
_RIGHT = (b"[2.5, 3.0, 4.5", np.array([2.5, 3, 4.5], np.float32).tobytes())


def is_right(content: bytes) -> bool:
    """Whether an answer holds what half_plus_two makes of 1, 2 and 5."""
    return any(each in content for each in _RIGHT)


def exchange(server: Ports, base: Path, version: int, model: str = MODEL) -> tuple[float, float]:
    """Bring a version, with the files of the one before; return when it came and when that one had ended."""
    side = base.parent / f"new-{version}"
    shutil.copytree(base / str(version - 1), side, copy_function=os.link)
    started = time.perf_counter()
    side.rename(base / str(version))
    while time.perf_counter() - started < _LONGEST_S:
        found = states(server.rest, model)
        if found.get(str(version)) == "AVAILABLE" and found[str(version - 1)] == "END":
            return started, time.perf_counter()
        time.sleep(_LOOK_S)
    raise SystemExit(f"version {version} was not exchanged within {_LONGEST_S:g} s: {found}")


def measured(server: Ports, base: Path, count: int) -> tuple[Calls, list[tuple[float, float]]]:
    """Return the calls, and the spans of time in which versions were exchanged."""
    inputs = {"x": np.array([1, 2, 5], np.float32)}
    callers: list[Callable[[], bytes]] = [
        *(RestCaller(server.rest, common.PREDICT_PATH, common.REQUEST) for _ in range(2)),
        *(GrpcCaller(server.grpc, MODEL, inputs) for _ in range(2)),
    ]
    spans = []
    with calling(callers, right=is_right) as calls:
        for version in range(2, count + 2):
            time.sleep(_CALM_S)
            spans.append(exchange(server, base, version))
            common.note(f"version {version} of {count + 1}")
    common.note("")
    return calls, spans


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    count = 4 if args.quick else 20
    with common.scratch() as folder, common.pinned(core):
        base = folder / MODEL
        shutil.copytree(exported(MODEL, common.note), base)
        with embedded(server_core, MODEL, base) as server:
            calls, spans = measured(server, base, count)
    ends = [calls.began[0], *(end for _, end in spans)]
    calm = [(end, start) for end, (start, _) in zip(ends, spans, strict=False)]
    figures = {
        "exchanges": count,
        "requests": len(calls.latencies_s),
        "failed": len(calls.failures),
        "first_failures": calls.failures[:5],
        "p99_ms_calm": calls.p99_ms(calm),
        "p99_ms_exchanging": calls.p99_ms(spans),
    }
    common.table(
        ["time", "p99 ms"],
        [["calm", figures["p99_ms_calm"]], ["exchanging", figures["p99_ms_exchanging"]]],
    )
    print(f"\n{figures['requests']:,} requests during {count} exchanges")
    common.finish(args, figures, [common.Target("failed or wrong", len(calls.failures), 0)])


if __name__ == "__main__":
    main()
