"""The whole way, with TensorFlow: the embedded server, the baseline, ResNet50."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.experiments.experiment import PAYLOADS
from pytest_tfserving.models.store import exported

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project

HALF = """
defaults: {model: half_plus_two, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 2, run_time_s: 60, think_time_s: 0.02, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-2gb-1n, inter_op: 1, slo: ["rps>=1", "efficiency>=0.001%", "p95<100000x"]}
"""
RESNET50 = """
profiles:
  tiny: {users: 1, spawn_rate: 1, run_time_s: 60, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - shape: 1cpu-2gb-1n
    inter_op: 1
    payload: json
    profile: tiny
    slo: ["errors<90%", "errors{jpeg}<90%", "errors{raw}<90%", "errors{json}<90%"]
"""
FORMS = """
import pytest
from pytest_tfserving.protocols.payload import picture_payload
from pytest_tfserving.protocols.payload_set import PayloadSet, SetEntry

@pytest.fixture(scope="session")
def request_payload():
    return PayloadSet([SetEntry(picture_payload(form), kind=form) for form in ("jpeg", "raw", "json")])

def test_gate(load):
    load().check()
"""


def test_the_embedded_server_is_judged_against_the_bare_session(project: Project) -> None:
    project.decide_soon()
    project.write(HALF)

    run, (result,) = project.results(server=False)

    run.assert_outcomes(passed=1)
    assert result["verdict"] == "PASS"
    assert len(result["baseline"]["rps"]) == len(result["baseline"]["at_s"]) > 2
    low, high = result["intervals"]["efficiency"]
    assert low <= result["metrics"]["efficiency"] <= high
    assert 0 < result["metrics"]["efficiency"] < 1
    assert result["errors"] == {}
    assert result["environment"]["server"] == "embedded"


def test_a_model_that_does_not_load_is_named_with_the_loaders_reason(project: Project) -> None:
    (project.pytester.path / "models" / "half" / "1" / "saved_model.pb").write_bytes(b"no model")

    run = project.run(server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["replica 0 exited with code 1 (*Failed to start server.*due to error: *"])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_where_tensorflow_is_missing_the_extra_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.pytester.path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorflow'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(project.pytester.path))

    run = project.run(server=False, apart=True)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["*the embedded server needs TensorFlow*pip install 'pytest-tfserving[[]embedded[]]'*"]
    )
    run.stdout.no_fnmatch_line("*Traceback*")


@pytest.fixture(scope="module")
def resnet50(model_cache: Path) -> Path:
    """The model, exported once for all processes of a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_TFSERVING_CACHE", str(model_cache))
        return exported("resnet50", print)


def test_a_model_that_was_exported_is_not_exported_again(
    resnet50: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_TFSERVING_CACHE", str(model_cache))
    told: list[str] = []

    assert exported("resnet50", told.append) == resnet50
    assert told == []


def test_resnet50_answers_rightly_in_every_form(project: Project, resnet50: Path) -> None:
    """One deployment serves all forms, and each answer is compared with the bare session's."""
    assert resnet50.is_dir()
    project.decide_soon()
    project.write(RESNET50, FORMS)

    run, (result,) = project.results(server=False)

    run.assert_outcomes(passed=1)
    assert result["baseline"], "nothing says what is right"
    assert (result["total_errors"], result["aborted"], result["errors"]) == (0, "", {})
    assert {kind for kind, each in result["kinds"].items() if each["metrics"]["requests"]} == {*PAYLOADS}
