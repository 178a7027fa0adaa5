"""``--tfserving-namespace``; that servers run in it is shown on a real cluster, in tests/e2e."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import Project
    from idle_cluster import IdleCluster


OPTIONS = (
    "--tfserving-target=kubernetes",
    "--tfserving-namespace=mine",
    "--tfserving-ready-timeout=0.1",
    "--tfserving-image=mine:1",
)


def test_all_objects_go_into_it_and_it_stays(project: Project, cluster: IdleCluster) -> None:
    cluster.create_namespace("mine")

    project.run(*OPTIONS, server=False).assert_outcomes(failed=1)

    assert cluster.applied
    assert all("/namespaces/mine/" in path for path in cluster.applied)
    assert cluster.namespaces == ["mine"]


def test_without_it_each_deployment_has_its_own(project: Project, cluster: IdleCluster) -> None:
    cluster.create_namespace("mine")

    project.run(*OPTIONS[::2], OPTIONS[3], server=False).assert_outcomes(failed=1)

    assert cluster.applied[0].startswith("/api/v1/namespaces/pytest-tfserving-")
    assert cluster.namespaces == ["mine"]


def test_one_that_does_not_exist_is_named(project: Project, cluster: IdleCluster) -> None:
    run = project.run(*OPTIONS, server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        [
            "there is no namespace 'mine' in context 'kind-one'; leave --tfserving-namespace out, *: "
            "kubectl --context kind-one create namespace mine"
        ]
    )
    assert not cluster.applied
