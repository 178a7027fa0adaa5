"""``--tfserving-context``; several of them, for workers of xdist, are in e2e/test_replicas.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project
    from idle_cluster import IdleCluster


KUBERNETES = ("--tfserving-target=kubernetes", "--tfserving-image=mine:1", "--tfserving-ready-timeout=0.1")


def test_it_is_chosen_and_shown(project: Project, cluster: IdleCluster) -> None:
    allowed = "-otfserving_allowed_contexts=far"

    run = project.run(*KUBERNETES, "--tfserving-context=far", allowed, server=False)

    run.stdout.fnmatch_lines([f"tfserving: 1 experiment, * in context far at {cluster.address}"])
    assert cluster.applied


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kind-on", "no context 'kind-on' in *; did you mean 'kind-one'?*"),
        ("far", "context 'far' may not be deployed to: *: tfserving_allowed_contexts = far"),
    ],
)
def test_one_that_cannot_be_used_is_named(
    project: Project, cluster: IdleCluster, name: str, message: str
) -> None:
    run = project.run(*KUBERNETES, f"--tfserving-context={name}", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert not cluster.applied
