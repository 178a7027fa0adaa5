"""What the tests share: a project of a user, a result, waiting."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pytest

import pytest_tfserving
from pytest_tfserving.load.baseline import Baseline
from pytest_tfserving.load.result import Generator, Result, Window
from pytest_tfserving.slo import monitor
from pytest_tfserving.statistics.latencies import Latencies

# Pytester forgets what a run in this process imported: some of it cannot be imported twice, and the rest
# takes time in each run. Folders with programs of their own are left out.
_FOLDERS = ("measurement", "plugin", "protocols", "report", "system", "targets", "targets.common")
_LIBRARIES = ("requests", "concurrent.futures.process", "jinja2", "numpy.random", "numpy.fft")
_OURS = [
    module.name
    for folder in _FOLDERS
    for module in iter_modules(
        [str(Path(pytest_tfserving.__file__).parent.joinpath(*folder.split(".")))],
        f"pytest_tfserving.{folder}.",
    )
]
for _module in (
    *_LIBRARIES,
    "pytest_tfserving.calibration.file",
    "pytest_tfserving.calibration.words",
    *_OURS,
):
    import_module(_module)

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")
FAKE_SERVER = Path(__file__).parents[1] / "servers" / "fake_server.py"

PATIENCE_S = 60
_LOOK_S = 0.02
# Locust's plugin claims options of pytest, and Hypothesis takes longer to import than pytest itself.
FEW_PLUGINS = ("-p", "no:locust", "-p", "no:hypothesispytest")
RESULT = Result(
    experiment="e",
    target="local",
    profile={
        "name": "p",
        "run_time_s": 11.0,
        "users": 1,
        "spawn_rate": 1.0,
        "max_lag_ms": 10.0,
        "max_cpu_wait": 0.05,
    },
    started_at="",
    window=Window(1.0, 11.0),
    latencies=Latencies.of(np.arange(1.0, 1001.0)),  # so that p50 is 500 ms
    errors={"HTTP 500": 10},
    users=1,
    run_s=11.0,
    total_requests=1010,
    total_errors=10,
    generator=Generator(0.1, 0.1),
    via="",
    endpoints=[],
    baseline=Baseline((2.0, 3.0), (125.0, 125.0), (8.0, 10.0), (50.0, 50.0)),
)
EXPERIMENTS = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.01, request_timeout_s: 5,
    max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - shape: 1cpu-1gb-1n
    inter_op: 1
    slo: ["rps>=1"]
"""
# A figure's limit that is judged after a run of any length.
JUDGED_AT_ONCE = EXPERIMENTS.replace("rps>=1", "max<60s")
# Until far limits are surely decided, which ends the run.
LONG_ENOUGH = ("--tfserving-run-time=60",)
# In a process of its own pytest wants a steady second, which the shortest load does not have.
STEADY = "--tfserving-run-time=2.5"
TESTS = """
def test_gate(load):
    load().check()
"""


@dataclass
class Project:
    """The folder that pytest runs in, and how it is run."""

    pytester: pytest.Pytester
    monkeypatch: pytest.MonkeyPatch
    server: Path
    # Whether pytest runs in a process of its own.
    apart: bool = False

    def write(self, experiments: str = EXPERIMENTS, tests: str = TESTS) -> None:
        """Write the experiments and the tests."""
        (self.pytester.path / "experiments.yaml").write_text(experiments, encoding="utf-8")
        (self.pytester.path / "test_perf.py").write_text(tests, encoding="utf-8")

    def decide_soon(self) -> None:
        """Let runs in this process decide limits after a moment, not after five seconds of load at least."""
        self.monkeypatch.setattr(monitor, "SHORTEST_WINDOW_S", 0.5)

    def behave(self, **how: object) -> None:
        """Tell the stand-in server how to behave."""
        self.monkeypatch.setenv("FAKE_SERVER", json.dumps(how))

    def embedded_server(self) -> str:
        """Return the option for the embedded server as a program like any other: without a bare session."""
        program = self.pytester.path / "embedded_server"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pytest_tfserving.model_server "$@"\n')
        program.chmod(0o755)
        return f"--tfserving-server={program}"

    def run(self, *arguments: str, server: bool = True, apart: bool = False) -> pytest.RunResult:
        """Run pytest, on the stand-in server unless told otherwise.

        It runs in this process, which saves its start, unless it is to be ``apart`` or to have workers.
        """
        own = ["--tfserving-server", str(self.server)] if server else []
        apart = apart or self.apart or "-n" in arguments
        run = self.pytester.runpytest_subprocess if apart else self.pytester.runpytest_inprocess
        return run(*FEW_PLUGINS, "-rs", *own, *arguments)

    def results(
        self, *arguments: str, server: bool = True, apart: bool = False
    ) -> tuple[pytest.RunResult, list[dict[str, Any]]]:
        """Run pytest and read the results it wrote."""
        run = self.run("--tfserving-json=out.json", *arguments, server=server, apart=apart)
        document = json.loads((self.pytester.path / "out.json").read_text(encoding="utf-8"))
        return run, document["results"]


def until(condition: Callable[[], Found], what: str) -> Found:
    """Wait until ``condition()`` is true."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(_LOOK_S)
    pytest.fail(f"{what} did not happen within {PATIENCE_S} s")
