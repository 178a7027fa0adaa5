"""``--tfserving-max-lag-ms``; what verdicts make of it is in load/test_bounds.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_it_beats_the_profile(project: Project) -> None:
    planted.instead_of_load(project)

    run, (result,) = project.results("--tfserving-max-lag-ms=50")

    run.assert_outcomes(passed=1)
    assert result["profile"]["max_lag_ms"] == 50


@pytest.mark.parametrize("value", ["0", "-1", "late", "inf", ""])
def test_a_mistake_is_named(project: Project, value: str) -> None:
    run = project.run(f"--tfserving-max-lag-ms={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*argument --tfserving-max-lag-ms: '{value}' is not a number above 0."])
