"""``--tfserving-kubeconfig``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project
    from idle_cluster import IdleCluster


KUBERNETES = ("--tfserving-target=kubernetes", "--tfserving-image=mine:1", "--tfserving-ready-timeout=0.1")


def test_it_beats_the_environment(project: Project, cluster: IdleCluster) -> None:
    (project.pytester.path / "kubeconfig").rename(project.pytester.path / "other")

    project.run(*KUBERNETES, "--tfserving-kubeconfig=other", server=False).assert_outcomes(failed=1)

    assert cluster.applied


def test_a_file_that_is_not_there_is_named(project: Project, cluster: IdleCluster) -> None:
    run = project.run(*KUBERNETES, "--tfserving-kubeconfig=none", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: no kubeconfig at *none; name one with --tfserving-kubeconfig, or export KUBECONFIG=FILE."]
    )
    assert not cluster.applied
