"""``--tfserving-image``, and that options of targets that start an image are for those targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


@pytest.mark.parametrize("option", ["image=tensorflow/serving:2.19.1", "keep=always"])
def test_a_target_without_images_refuses_it(project: Project, option: str) -> None:
    run = project.run(f"--tfserving-{option}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        [
            f"ERROR: --tfserving-{option.partition('=')[0]} goes with --tfserving-target=docker or "
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
