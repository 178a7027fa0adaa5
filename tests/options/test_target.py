"""``--tfserving-target``; what each target does is in tests/targets and e2e/test_target_contract.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ([], "local"),
        (["--tfserving-target=url", "--tfserving-url=http://127.0.0.1:1/v1/models/m"], "url"),
    ],
)
def test_it_is_shown_and_in_every_result(project: Project, options: list[str], target: str) -> None:
    planted.instead_of_load(project)

    run, (result,) = project.results(*options, server=False)

    run.stdout.fnmatch_lines([f"tfserving: 1 experiment, target {target}: *"])
    assert result["target"] == target


def test_one_that_does_not_exist_is_named(project: Project) -> None:
    run = project.run("--tfserving-target=cloud", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["*argument --tfserving-target: 'cloud' is not one of: local, docker, kubernetes, url."]
    )
