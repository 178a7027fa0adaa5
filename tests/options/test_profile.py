"""``--tfserving-profile``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_it_replaces_the_experiments_profile(project: Project) -> None:
    planted.instead_of_load(project)

    _, (result,) = project.results("--tfserving-profile=smoke")

    assert result["profile"]["name"] == "smoke"


def test_an_unknown_profile_is_named(project: Project) -> None:
    run = project.run("--tfserving-profile=smok")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["no load profile 'smok'; did you mean 'smoke'? valid: quick, smoke, study, tiny."]
    )
