"""``--tfserving-max-cpu-wait``; what verdicts make of it is in load/test_bounds.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_it_beats_the_profile(project: Project) -> None:
    planted.instead_of_load(project)

    run, (result,) = project.results("--tfserving-max-cpu-wait=30%")

    run.assert_outcomes(passed=1)
    assert result["profile"]["max_cpu_wait"] == 0.3


@pytest.mark.parametrize("value", ["0", "130%", "-1", "much", ""])
def test_a_mistake_is_named(project: Project, value: str) -> None:
    run = project.run(f"--tfserving-max-cpu-wait={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    problem = f"'{value}' is not a share above 0 and up to 1; write it as 20%."
    run.stderr.fnmatch_lines([f"*argument --tfserving-max-cpu-wait: {problem}"])
