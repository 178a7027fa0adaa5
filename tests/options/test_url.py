"""``--tfserving-url``; what target url does with it is in targets/test_url.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


URL = "http://127.0.0.1:1/v1/models/m"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tfserving-target=url"], "--tfserving-target=url needs --tfserving-url http*"),
        (
            [f"--tfserving-url={URL}"],
            "--tfserving-url goes with --tfserving-target=url, not with target 'local'.",
        ),
        (
            ["--tfserving-target=url", "--tfserving-url=host"],
            "--tfserving-url: 'host' is not the address of a model; write it as http*",
        ),
    ],
)
def test_a_mistake_is_named(project: Project, arguments: list[str], message: str) -> None:
    run = project.run(*arguments, server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_it_is_what_is_judged(project: Project) -> None:
    planted.instead_of_load(project)

    run, (result,) = project.results("--tfserving-target=url", f"--tfserving-url={URL}", server=False)

    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines([f"tfserving: 1 experiment, target url: {URL} (nothing is deployed; *"])
    assert result["target"] == "url"
