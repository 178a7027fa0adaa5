"""Whether what `pytest-tfserving calibrate` predicts is what runs of one server then show.

Calibrates this machine, then loads one embedded server with half_plus_two again and again, and compares how
much the runs' requests a second scatter with what the calibration says of windows that long. With --neighbour
another process takes the server's core for 0.3 to 4 s every 6 s on average, during all of it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import _common as common
from _neighbour import neighbour

from pytest_tfserving.calibration.file import PLACE
from pytest_tfserving.calibration.load_path import LoadPath, embedded
from pytest_tfserving.calibration.wander import P95_NOISE, Wander

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfserving.calibration.content import Gate

# The scatter of so few runs is known within a factor of about 1.5 itself, and so is the wander.
_MOST_OFF = 2.0
_MOST_WRONG = 0.05


def calibrated(folder: Path, time_s: int) -> dict[str, Any]:
    """Return the command's calibration of this machine; the calibration that was kept before stays."""
    out = folder / "calibration.json"
    command = [sys.executable, "-m", "pytest_tfserving.cli", "calibrate", f"--time={time_s}s"]
    subprocess.run(command, check=True, env={**os.environ, PLACE: str(out)})
    return dict(json.loads(out.read_text(encoding="utf-8")))


def against_itself(folder: Path, runs: int, run_time_s: float, noise_memory_s: float) -> Gate:
    with embedded(folder, common.note) as server:
        path = LoadPath(server, folder / "load", lambda: common.note("judging one server against itself"))
        return path.gate(2, runs, run_time_s, noise_memory_s)


def scatter(values: list[float]) -> float:
    return statistics.stdev(math.log(value) for value in values)


def main() -> None:
    args = common.arguments(
        __doc__,
        {"neighbour": "beside a process that takes the server's core now and then"},
        runs=(None, "runs of the server against itself (default: 20, 4 when --quick)"),
        seconds=(None, "how long each takes (default: 15, 3 when --quick)"),
    )
    core = common.cores()[-1]
    runs, run_time_s = args.runs or (4 if args.quick else 20), args.seconds or (3 if args.quick else 15)
    with common.scratch() as folder, neighbour(core) if args.neighbour else contextlib.nullcontext():
        content = calibrated(folder, 20 if args.quick else 270)
        gate = against_itself(folder, runs, run_time_s, content["noise_memory_s"])
    wall = {name: value for name, value in content["cores"][-1]["wall"].items() if name != "slow_share"}
    wander = Wander(**wall)
    predicted = {"rps": wander.mean_sd(run_time_s), "p95": wander.mean_sd(run_time_s, P95_NOISE)}
    seen = {
        "rps": scatter([each["rps"] for each in gate["runs"]]),
        "p95": scatter([each["p95_ms"] for each in gate["runs"]]),
    }
    print()
    common.table(
        ["scatter of runs", "predicted %", "seen %", "seen / predicted"],
        [
            [name, 100 * predicted[name], 100 * seen[name], seen[name] / predicted[name]]
            for name in ("rps", "p95")
        ],
    )
    decided = gate["passed"] + gate["failed"]
    print(f"\n{decided} of {2 * runs} verdicts on its own figures were decided, each of them wrongly")
    figures = {
        "neighbour": args.neighbour,
        "noise_memory_s": content["noise_memory_s"],
        "wander": wall,
        "predicted": predicted,
        "seen": seen,
        "runs": list(gate["runs"]),
        "decided": decided,
    }
    off = max(seen["rps"] / predicted["rps"], predicted["rps"] / seen["rps"])
    common.finish(
        args,
        figures,
        [
            common.Target("scatter of rps, seen and predicted, apart by a factor", off, _MOST_OFF),
            common.Target("verdicts on its own figures that were decided", decided / (2 * runs), _MOST_WRONG),
        ],
    )


if __name__ == "__main__":
    main()
