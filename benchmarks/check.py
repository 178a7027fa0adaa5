"""What `pytest-tfserving check` takes beside its load, next to the same run by pytest.

Both put 5 s of load (3 s with `--quick`) on the same served half_plus_two, with early stop off. One is the
command; the other is pytest in a folder with the same experiment and the same test, with whatever pytest
plugins are installed. A figure is the time of the whole process less the load's run time, in interleaved
rounds after one run of each that brings the files into the page cache.

Target: at most 1 s, as the median of the rounds.
Needs Linux with two cores, and the extra `embedded`; the model is exported first if it is not there yet.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import _common as common
from _serving import ONE_THREAD, embedded

from pytest_tfserving.models.store import exported

if TYPE_CHECKING:
    from collections.abc import Callable

CHECK, PYTEST = "pytest-tfserving check", "pytest"
MODEL = "half_plus_two"
_SLO = "max<60s"
_BODY = '{"instances": [[1.0]]}'
_FULL_S, _QUICK_S = 5, 3
_EXPERIMENTS = f"""
profiles: {{mine: {{users: 4, spawn_rate: 4, run_time_s: %d, early_stop: false}}}}
experiments: [{{shape: 1cpu-1gb-1n, inter_op: 1, payload: request.json, profile: mine, slo: ["{_SLO}"]}}]
"""
_TEST = "def test_slos(load):\n    load().check()\n"


def beside_load_s(command: list[str], folder: Path, load_s: float) -> float:
    """Run a command; return its time less the load's. A verdict that is not PASS does not matter."""
    start = time.perf_counter()
    # The lock of the machine is in the temporary folder; no other measurement is waited for.
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    taken_s = time.perf_counter() - start
    if taken_s < load_s:
        sys.exit(f"{command} ended before its load:\n{done.stdout}{done.stderr}")
    return taken_s - load_s


def commands(url: str, load_s: int) -> dict[str, list[str]]:
    """Return both commands for the model at an address."""
    check = ["check", url, f"--slo={_SLO}", f"--body={_BODY}", f"--run-time={load_s}"]
    return {
        CHECK: [sys.executable, "-m", "pytest_tfserving.cli", *check, "--", "--tfserving-early-stop=no"],
        PYTEST: [sys.executable, "-m", "pytest", "--tfserving-target=url", f"--tfserving-url={url}"],
    }


def main() -> None:
    args = common.arguments(__doc__)
    server_core, _ = common.two_cores()
    if importlib.util.find_spec("tensorflow") is None:
        sys.exit("this benchmark needs TensorFlow: pip install 'pytest-tfserving[embedded]'")
    rounds, load_s = (3, _QUICK_S) if args.quick else (9, _FULL_S)
    with (
        tempfile.TemporaryDirectory() as name,
        embedded(server_core, MODEL, exported(MODEL, common.note), *ONE_THREAD) as server,
    ):
        folder = Path(name)
        (folder / "experiments.yaml").write_text(_EXPERIMENTS % load_s, encoding="utf-8")
        (folder / "request.json").write_text(_BODY, encoding="utf-8")
        (folder / "test_mine.py").write_text(_TEST, encoding="utf-8")
        url = f"http://{common.HOST}:{server.rest}/v1/models/{MODEL}"
        takers: dict[str, Callable[[], float]] = {
            each: partial(beside_load_s, command, folder, load_s)
            for each, command in commands(url, load_s).items()
        }
        for take in takers.values():
            take()
        taken = common.interleaved(takers, rounds)
    ratio = common.ratio(taken, CHECK, PYTEST)
    rows = [[each, f"{statistics.median(found):.2f}"] for each, found in taken.items()]
    common.table(["beside the load", "s"], [*rows, [f"{CHECK} / {PYTEST}", f"{ratio:.2f}"]])
    target = common.Target("seconds of check beside its load", statistics.median(taken[CHECK]), 1.0)
    common.finish(args, {"seconds": taken, "ratio": ratio}, [target])


if __name__ == "__main__":
    main()
