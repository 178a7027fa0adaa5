"""The whole way, with TensorFlow: the embedded server and the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.models.store import exported

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from harness import Project

HALF = """
defaults: {model: half_plus_two, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 2, run_time_s: 60, think_time_s: 0.02, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-2gb-1n, inter_op: 1, slo: ["rps>=1", "efficiency>=0.001%", "p95<100000x"]}
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


def test_a_model_that_was_exported_is_not_exported_again(
    half_plus_two: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_TFSERVING_CACHE", str(model_cache))
    told: list[str] = []

    assert exported("half_plus_two", told.append) == half_plus_two
    assert told == []
