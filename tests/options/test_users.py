"""``--tfserving-users``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_it_changes_the_profile(project: Project, workers: list[str]) -> None:
    run, (result,) = project.results("--tfserving-users=3", "--tfserving-spawn-rate=3", *workers)

    run.assert_outcomes(passed=1)
    assert result["users"] == 3


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", ""])
def test_what_is_no_count(project: Project, value: str) -> None:
    run = project.run(f"--tfserving-users={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*argument --tfserving-users: '{value}' is not a whole number of 1 or more."])


def test_more_users_than_the_run_time_lets_start(project: Project) -> None:
    run = project.run("--tfserving-users=50")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["load profile 'tiny' never reaches its 50 users: at 2 a second they take 25 s*"]
    )
