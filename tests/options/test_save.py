"""``--tfserving-save``: the figures of a session, kept in the project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import planted_results
import stored_sessions
from pytest_tfserving.measurement.environment import this_machine

if TYPE_CHECKING:
    from harness import Project


def test_a_session_is_kept_with_its_machine_commit_and_date(project: Project) -> None:
    content = stored_sessions.saved(project, "before-upgrade")

    (result,) = content["results"]
    assert content["stored_version"] == 1
    assert content["name"] == "before-upgrade"
    assert content["commit"] == "0123abc"
    assert content["saved_at"][:2] == "20"
    assert result["environment"]["machine"] == this_machine()
    assert result["intervals"]["p95_ms"][0] < result["metrics"]["p95_ms"] < result["intervals"]["p95_ms"][1]
    assert set(result["identity"]) >= {"server", "model", "payload"}
    assert "recording" not in result


def test_each_session_has_a_file_of_its_own_and_the_terminal_names_it(project: Project) -> None:
    stored_sessions.measure(project)

    runs = [project.run("--tfserving-save=main") for _ in range(2)]

    files = {line for run in runs for line in run.outlines if line.startswith("results: .tfserving/")}
    assert len(files) == 2
    assert all(line.endswith("-main.json") or "-main" in line for line in files)


def test_the_scatter_between_runs_is_kept_if_the_machine_is_calibrated(project: Project) -> None:
    from pytest_tfserving.calibration.file import calibration_path, this_machine, write_calibration

    write_calibration(calibration_path(), {**planted_results.calibration(), "machine": this_machine()})

    content = stored_sessions.saved(project)

    assert content["scatter"]["measured_at"] == planted_results.calibration()["measured_at"]
    assert content["scatter"]["wall"]["level_sd"] == 0.1


@pytest.mark.parametrize("name", ["last", "a/b", "", "a b", "x.json", ".hidden"])
def test_a_name_that_is_none_is_refused(project: Project, name: str) -> None:
    run = project.run(f"--tfserving-save={name}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*--tfserving-save: '{name}' is not a name for a stored run: it has *"])


def test_a_session_without_results_keeps_nothing(project: Project) -> None:
    project.write(tests="def test_it():\n    pass\n")

    project.run("--tfserving-save=main").assert_outcomes(passed=1)

    assert not (project.pytester.path / ".tfserving").exists()


def test_workers_are_one_session(project: Project) -> None:
    planted_results.in_every_process(project.pytester, project.monkeypatch)

    project.run("-n", "2", "--tfserving-save=main").assert_outcomes(passed=1)

    (path,) = (project.pytester.path / ".tfserving").iterdir()
    assert len(json.loads(path.read_text(encoding="utf-8"))["results"]) == 1
