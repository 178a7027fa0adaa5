"""``--tfserving-early-stop``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import EXPERIMENTS, LONG_ENOUGH

if TYPE_CHECKING:
    from harness import Project


def test_load_ends_when_all_is_decided(project: Project) -> None:
    project.decide_soon()

    run, (result,) = project.results(*LONG_ENOUGH)

    run.assert_outcomes(passed=1)
    assert result["run_s"] < 55
    assert result["decided"]["rps>=1"]["holds"] is True


def test_load_takes_its_whole_time(project: Project) -> None:
    project.decide_soon()
    project.write(EXPERIMENTS.replace("rps>=1", "errors<90%"))

    run, (result,) = project.results("--tfserving-early-stop=no", "--tfserving-run-time=3s")

    run.assert_outcomes(passed=1)
    assert result["run_s"] >= 3
    assert result["decided"]["errors<90%"]["after_s"] < result["window"]["end_s"]


def test_what_is_neither_yes_nor_no_is_refused(project: Project) -> None:
    run = project.run("--tfserving-early-stop=perhaps")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*argument --tfserving-early-stop: 'perhaps' is not one of: yes, no."])
