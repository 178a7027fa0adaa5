"""``--tfserving-load-image``; tests/e2e/test_load_in_cluster.py loads from Pods that have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project


def test_it_is_for_target_kubernetes(project: Project) -> None:
    run = project.run("--tfserving-load-image=mine:1")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: --tfserving-load-image goes with --tfserving-target=kubernetes, not with target 'local'."]
    )


def test_credentials_in_it_are_refused_and_not_shown(project: Project) -> None:
    run = project.run("--tfserving-target=kubernetes", "--tfserving-load-image=user:hunter2@registry/mine:1")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*argument --tfserving-load-image: the image's name *"])
    run.stderr.no_fnmatch_line("*hunter2*")
