"""``--tfserving-server``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_a_server_program_that_does_not_exist(project: Project) -> None:
    run = project.run("--tfserving-server=/no/such/server", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*cannot start /no/such/server: No such file or directory*"])


def test_it_is_started_and_shown(project: Project) -> None:
    planted.instead_of_load(project)

    run = project.run("--tfserving-server=./mine", server=False)

    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines(["tfserving: 1 experiment, target local: *mine on this machine's * cores"])


def test_it_is_for_target_local(project: Project) -> None:
    url = "http://127.0.0.1:1/v1/models/m"

    run = project.run(
        "--tfserving-target=url", f"--tfserving-url={url}", "--tfserving-server=x", server=False
    )

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: --tfserving-server goes with --tfserving-target=local, not with target 'url'."]
    )
