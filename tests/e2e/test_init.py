"""The command ``init`` on models of ten traits, each with the pytest run that it asks for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("long-runs")

MODELS = (
    *("numbers", "strings", "images", "several_inputs", "several_signatures"),
    *("tf1", "ragged", "int64", "half", "no_batch"),
)
FIRST_VERDICT_S = 60


@pytest.mark.parametrize("model", MODELS)
def test_the_written_tests_give_a_verdict_without_an_edit(newcomer: Path, model: str) -> None:
    """The trial and the run are real, and shorter than a newcomer's."""
    start_s = time.monotonic()
    options = ("perf_tests", "--tfserving-run-time=2", "--tfserving-users=1", "--tfserving-json=o.json")
    for command, codes in (
        (["-m", "pytest_tfserving.cli", "init", f"models/{model}", "--trial=2"], (0,)),
        (["-m", "pytest", "-p", "no:locust", *options], (0, 1)),
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=newcomer, capture_output=True, text=True, check=False
        )
        assert done.returncode in codes, done.stdout + done.stderr

    results = json.loads((newcomer / "o.json").read_text(encoding="utf-8"))["results"]
    assert results
    for result in results:
        assert result["metrics"]["requests"] > 0, result
        assert result["errors"] == {}
        assert result["verdict"] in {"PASS", "FAIL", "INCONCLUSIVE", "INVALID"}
    assert time.monotonic() - start_s < FIRST_VERDICT_S
