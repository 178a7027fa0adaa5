"""``--tfserving-load-in-cluster``; tests/e2e/test_load_in_cluster.py loads from Pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_a_target_without_a_cluster_refuses_it(project: Project) -> None:
    run = project.run("--tfserving-load-in-cluster")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: --tfserving-load-in-cluster goes with --tfserving-target=kubernetes, not with *'local'."]
    )


def test_it_takes_no_value(project: Project) -> None:
    run = project.run("--tfserving-load-in-cluster=maybe")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*--tfserving-load-in-cluster: ignored explicit argument 'maybe'"])


def test_the_ini_files_is_yes_or_no(project: Project) -> None:
    project.pytester.makeini("[pytest]\ntfserving_load_in_cluster = maybe\n")

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: tfserving_load_in_cluster in */tox.ini: 'maybe' is not one of: yes, no."]
    )


def test_a_switch_that_is_off_is_no_use_of_it(project: Project) -> None:
    planted.instead_of_load(project)
    project.pytester.makeini("[pytest]\ntfserving_load_in_cluster = no\n")

    project.run().assert_outcomes(passed=1)
