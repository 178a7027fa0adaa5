"""``--tfserving-image``; that options of some targets are for these targets, wherever they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_a_target_without_images_refuses_it(project: Project) -> None:
    run = project.run("--tfserving-image=tensorflow/serving:2.19.1")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        [
            "ERROR: --tfserving-image goes with --tfserving-target=docker or "
            "--tfserving-target=kubernetes, not with target 'local'."
        ]
    )


def test_the_ini_files_may_stay_while_the_command_line_chooses_a_target_without(project: Project) -> None:
    planted.instead_of_load(project)
    project.pytester.makeini("[pytest]\ntfserving_image = mine:1\ntfserving_keep = on-failure\n")

    project.run("--tfserving-target=local").assert_outcomes(passed=1)


def test_the_ini_files_is_refused_beside_a_target_without(project: Project) -> None:
    project.pytester.makeini("[pytest]\ntfserving_image = mine:1\n")

    run = project.run()

    run.stderr.fnmatch_lines(["ERROR: --tfserving-image goes with *, not with target 'local'."])
