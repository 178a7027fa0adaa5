"""What one experiment on the local target costs beside its load: the wait a person has for nothing.

A whole `pytest` run of the experiment 1cpu-2gb-1n-interop1 of ``perf_tests`` with 5 s of load, from its
start to its end, minus the load (``run_s`` of its JSON) and minus the bare session's slices, which measure
too. What is left is pytest's own start, the server's, the warm-up, the load generator's start, and the end of
it all. It is compared with a process that imports TensorFlow and loads the same model on one core, as many as
the server has.

Target: at most 1.5 x, as the median of interleaved rounds.
Needs Linux with two cores, and the extra `embedded`; the model is exported first if it is not there yet.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import _common as common

from pytest_tfserving.bare import SLICE_S
from pytest_tfserving.models.store import exported
from pytest_tfserving.targets.served_model import latest_version

if TYPE_CHECKING:
    from pathlib import Path

EXPERIMENT = "1cpu-2gb-1n-interop1"
BARE, OURS = "import tensorflow + load the model", "the experiment, beside its load"
_RUN_TIME_S = 5
_TESTS_FAILED = 1
_PERF_TESTS = common.HERE.parent / "perf_tests"


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one run of pytest: what it measured, and what it spent around that."""

    whole_s: float
    load_s: float
    slices_s: float
    until_load_s: float

    @property
    def overhead_s(self) -> float:
        """What was not measuring."""
        return self.whole_s - self.load_s - self.slices_s

    @property
    def after_s(self) -> float:
        """What came once the load generator was told to start."""
        return self.overhead_s - self.until_load_s


def bare_s(version: Path, core: int) -> float:
    """Import TensorFlow and load the model, on one core."""
    start = time.perf_counter()
    with common.pinned(core):
        command = [sys.executable, str(common.HERE / "_bare_load.py"), str(version)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def experiment_round(folder: Path) -> Round:
    """One run of pytest, with its two tests of one experiment."""
    report = folder / "results.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-k", EXPERIMENT, str(folder)]
    command += [f"-pno:{name}" for name in common.other_plugins()]
    command += ["--tfserving-experiments", str(_PERF_TESTS / "experiments.yaml")]
    command += ["--tfserving-run-time", str(_RUN_TIME_S), "--tfserving-json", str(report)]
    started_at, start = time.time(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    whole_s = time.perf_counter() - start
    results = json.loads(report.read_text())["results"] if report.exists() else []
    # A missed SLO is no concern of this benchmark; a run that measured nothing is.
    if done.returncode not in (0, _TESTS_FAILED) or len(results) != 1 or not results[0]["bare"]:
        sys.exit(f"pytest measured nothing (exit code {done.returncode}):\n{done.stdout[-2000:]}")
    result = results[0]
    if result["aborted"]:
        sys.exit(f"the experiment failed: {result['aborted']}")
    slices = len(result["bare"]["rps"])
    load_began = dt.datetime.fromisoformat(result["started_at"]).timestamp()
    # The first slice comes right before the load.
    return Round(whole_s, result["run_s"], slices * SLICE_S, load_began - started_at - SLICE_S)


def main() -> None:
    args = common.arguments(__doc__)
    _, core = common.two_cores()
    if importlib.util.find_spec("tensorflow") is None:
        sys.exit("this benchmark needs TensorFlow: pip install 'pytest-tfserving[embedded]'")
    version = latest_version(exported("resnet50", print))
    rounds: list[Round] = []
    with common.scratch() as folder:
        shutil.copy(_PERF_TESTS / "test_resnet50.py", folder)

        def overhead_s() -> float:
            rounds.append(experiment_round(folder))
            return rounds[-1].overhead_s

        bare_s(version, core)  # the model's files and TensorFlow's are in the page cache for all that follow
        taken = common.interleaved(
            {BARE: lambda: bare_s(version, core), OURS: overhead_s}, 1 if args.quick else 3
        )
    medians = {name: statistics.median(values) for name, values in taken.items()}
    against = common.ratio(taken, OURS, BARE)
    parts = {
        "  pytest, server and first answers, until the load generator starts": "until_load_s",
        "  the load generator's start, the last answers, the end": "after_s",
    }
    common.table(
        ["", "s", "x bare"],
        [
            [BARE, f"{medians[BARE]:.2f}", "1.00"],
            [OURS, f"{medians[OURS]:.2f}", f"{against:.2f}"],
            *(
                [text, f"{statistics.median(getattr(each, part) for each in rounds):.2f}", ""]
                for text, part in parts.items()
            ),
        ],
    )
    whole, load, slices = (
        statistics.median(getattr(each, part) for each in rounds)
        for part in ("whole_s", "load_s", "slices_s")
    )
    print(f"\nthe whole run took {whole:.2f} s, of which {load:.2f} s load and {slices:.2f} s bare session")
    figures = {"seconds": taken, "rounds": [asdict(each) for each in rounds], "cores": os.cpu_count()}
    common.finish(args, figures, [common.Target("overhead / bare", against, 1.5)])


if __name__ == "__main__":
    main()
