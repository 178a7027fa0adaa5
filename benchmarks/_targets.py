"""The targets that the benchmarks compare: those that this machine has, and pytest run on them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import _common as common

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.targets.docker.engine import connect

if TYPE_CHECKING:
    from pathlib import Path

PERF_TESTS = common.HERE.parent / "perf_tests"
EXPERIMENT = "1cpu-2gb-1n-interop1"
IMAGE = os.environ.get("TFSERVING_E2E_IMAGE", "pytest-tfserving:dev")
# The context of a cluster to measure on, and an image with ResNet50 in it that its nodes have.
CONTEXT = os.environ.get("TFSERVING_E2E_CONTEXT", "")
CLUSTER_IMAGE = os.environ.get("TFSERVING_PERF_IMAGE", "pytest-tfserving-perf:dev")
_TESTS_FAILED = 1
# How long the fixture takes to deploy until every model is AVAILABLE, and to take everything down again.
_TIMED = """
import json
import time
from pathlib import Path

def test_deploy(request, experiment):
    start = time.perf_counter()
    request.getfixturevalue("serving")
    Path("deploy_s.json").write_text(json.dumps(time.perf_counter() - start))
"""
_CONFTEST = """
import json
from pathlib import Path

def pytest_runtest_logreport(report):
    if report.when == "teardown":
        Path("teardown_s.json").write_text(json.dumps(report.duration))
"""


def available() -> dict[str, list[str]]:
    """Return the options of pytest for every usable target; ``local`` is the first."""
    found = {"local": ["--tfserving-target=local"]}
    try:
        with connect() as engine:
            engine.client.images.get(IMAGE)
        found["docker"] = ["--tfserving-target=docker", f"--tfserving-image={IMAGE}"]
    except Exception as error:  # noqa: BLE001 - whatever it is, there is no engine with that image
        cause = str(error) if isinstance(error, TFServingError) else f"the engine has no image {IMAGE}"
        print(f"docker is left out: {cause}")
    if CONTEXT:
        found["kubernetes"] = [
            "--tfserving-target=kubernetes",
            f"--tfserving-context={CONTEXT}",
            f"--tfserving-image={CLUSTER_IMAGE}",
            f"-otfserving_allowed_contexts={CONTEXT}",
        ]
    else:
        print("kubernetes is left out: TFSERVING_E2E_CONTEXT names no context")
    return found


def run_experiment(folder: Path, options: list[str], run_time_s: float) -> dict[str, Any]:
    """Return the result of one run of pytest with the tests of `EXPERIMENT`."""
    shutil.copy(PERF_TESTS / "test_resnet50.py", folder)
    report = folder / "results.json"
    report.unlink(missing_ok=True)
    more = ["--tfserving-run-time", str(run_time_s), "--tfserving-json", str(report)]
    done = pytest_in(folder, "test_resnet50.py", *options, *more)
    results = json.loads(report.read_text())["results"] if report.exists() else []
    # A missed SLO is no concern of a benchmark; a run that measured nothing is.
    if done.returncode not in (0, _TESTS_FAILED) or len(results) != 1:
        sys.exit(f"pytest measured nothing (exit code {done.returncode}):\n{done.stdout[-2000:]}")
    result: dict[str, Any] = results[0]
    if result["aborted"]:
        sys.exit(f"the experiment failed: {result['aborted']}")
    return result


def deploy_and_take_down(folder: Path, options: list[str]) -> tuple[float, float]:
    """Seconds until `EXPERIMENT` is deployed and AVAILABLE, and until it is gone."""
    (folder / "test_deploy.py").write_text(_TIMED, encoding="utf-8")
    (folder / "conftest.py").write_text(_CONFTEST, encoding="utf-8")
    done = pytest_in(folder, "test_deploy.py", *options)
    (folder / "conftest.py").unlink()
    if done.returncode:
        sys.exit(f"nothing was deployed:\n{done.stdout[-2000:]}")
    deploy_s, teardown_s = (
        json.loads((folder / f"{part}_s.json").read_text()) for part in ("deploy", "teardown")
    )
    return deploy_s, teardown_s


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pytest without the environment's other plugins, on `EXPERIMENT`."""
    command = [sys.executable, "-m", "pytest", "-q", "-k", EXPERIMENT, *arguments]
    command += [f"-pno:{name}" for name in common.other_plugins()]
    command += ["--tfserving-experiments", str(PERF_TESTS / "experiments.yaml")]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
