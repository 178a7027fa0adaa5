"""Versions of a model exchanged at full load, over REST and gRPC: what requests saw of it.

Four callers, two over each API, call half_plus_two without pause from one core; the server has another.
Beside them 20 versions come one after the other, each exchanged for the one before: first of half_plus_two
itself, then five of ResNet50, which the same server serves.

Targets: no request fails, no answer is wrong, and the 99th percentile during the exchanges is at most 1.5 x
the one of the calm time between them. Needs Linux with two cores.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import _common as common
import numpy as np
from _serving import Calls, GrpcCaller, RestCaller, calling, embedded, states

from pytest_tfserving.models.store import exported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _serving import Ports

MODEL, OTHER = "half_plus_two", "resnet50"
_CALM_S = 0.5
# At full load a version is loaded in a 24th of the core, unless another niceness is asked for.
_LONGEST_S = 240.0
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


def measured(server: Ports, base: Path, count: int, model: str) -> tuple[Calls, list[tuple[float, float]]]:
    """Return the calls of half_plus_two, and the spans in which versions of ``model`` were exchanged."""
    inputs = {"x": np.array([1, 2, 5], np.float32)}
    callers: list[Callable[[], bytes]] = [
        *(RestCaller(server.rest, common.PREDICT_PATH, common.REQUEST) for _ in range(2)),
        *(GrpcCaller(server.grpc, MODEL, inputs) for _ in range(2)),
    ]
    spans = []
    with calling(callers, right=is_right) as calls:
        for version in range(2, count + 2):
            time.sleep(_CALM_S)
            spans.append(exchange(server, base, version, model))
            common.note(f"{model}, version {version} of {count + 1}")
    common.note("")
    return calls, spans


def figures_of(calls: Calls, spans: list[tuple[float, float]]) -> dict[str, Any]:
    """Return what requests saw of the exchanges in ``spans``."""
    ends = [calls.began[0], *(end for _, end in spans)]
    calm = [(end, start) for end, (start, _) in zip(ends, spans, strict=False)]
    return {
        "exchanges": len(spans),
        "requests": len(calls.latencies_s),
        "failed": len(calls.failures),
        "first_failures": calls.failures[:5],
        "p99_ms_calm": calls.p99_ms(calm),
        "p99_ms_exchanging": calls.p99_ms(spans),
        "seconds_an_exchange": sum(end - start for start, end in spans) / len(spans),
    }


def exchanged(server_core: int, folder: Path, model: str, count: int, niceness: int) -> dict[str, Any]:
    """Serve half_plus_two and ``model``, and exchange versions of ``model``."""
    bases = {name: folder / model / name for name in dict.fromkeys((MODEL, model))}
    for name, base in bases.items():
        shutil.copytree(exported(name, common.note), base)
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }}\n'
        for name, base in bases.items()
    )
    config = folder / f"{model}.txt"
    config.write_text(f"model_config_list {{\n{entries}}}\n")
    flags = (f"--model_config_file={config}", f"--load_niceness={niceness}")
    with embedded(server_core, MODEL, bases[MODEL], *flags) as server:
        return figures_of(*measured(server, bases[model], count, model))


def main() -> None:
    args = common.arguments(__doc__, niceness=(14, "the server's --load_niceness (default: 14)"))
    server_core, core = common.two_cores()
    counts = {MODEL: 4, OTHER: 1} if args.quick else {MODEL: 20, OTHER: 5}
    with common.scratch() as folder, common.pinned(core):
        figures = {
            model: exchanged(server_core, folder, model, count, args.niceness)
            for model, count in counts.items()
        }
    common.table(
        ["exchanged", "p99 ms, calm", "exchanging", "seconds an exchange"],
        [
            [model, found["p99_ms_calm"], found["p99_ms_exchanging"], found["seconds_an_exchange"]]
            for model, found in figures.items()
        ],
    )
    for model, found in figures.items():
        print(f"\n{found['requests']:,} requests during {found['exchanges']} exchanges of {model}")
    targets = [
        target
        for model, found in figures.items()
        for target in (
            common.Target(f"{model}: failed or wrong", found["failed"], 0),
            common.Target(
                f"{model}: p99 exchanging / calm", found["p99_ms_exchanging"] / found["p99_ms_calm"], 1.5
            ),
        )
    ]
    common.finish(args, figures, targets)


if __name__ == "__main__":
    main()
