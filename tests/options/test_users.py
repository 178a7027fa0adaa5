"""``--tfserving-users``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_it_changes_the_profile(project: Project) -> None:
    run, (result,) = project.results("--tfserving-users=3", "--tfserving-spawn-rate=3")

    run.assert_outcomes(passed=1)
    assert result["users"] == 3


def test_workers_take_it(project: Project) -> None:
    planted.in_every_process(project.pytester, project.monkeypatch)

    run, (result,) = project.results("--tfserving-users=1", "-n", "1")

    run.assert_outcomes(passed=1)
    assert result["users"] == 1


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", ""])
def test_what_is_no_count(project: Project, value: str) -> None:
    run = project.run(f"--tfserving-users={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*argument --tfserving-users: '{value}' is not a whole number of 1 or more."])


def test_more_users_than_the_run_time_lets_start(project: Project) -> None:
    run = project.run("--tfserving-users=50")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["load profile 'tiny' never reaches its 50 users: at 20 a second they take 2.5 s*"]
    )
