"""``--tfserving-keep``; that it keeps is shown on real engines, in tests/e2e."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project


def test_a_mistaken_value_is_named(project: Project) -> None:
    run = project.run("--tfserving-keep=sometimes")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["*argument --tfserving-keep: 'sometimes' is not one of: never, on-failure, always."]
    )


def test_a_target_without_images_refuses_it(project: Project) -> None:
    run = project.run("--tfserving-keep=always")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        [
            "ERROR: --tfserving-keep goes with --tfserving-target=docker or --tfserving-target=kubernetes, "
            "not with target 'local'."
        ]
    )
