"""Permissions that a user lacks: all of them at once, with the line that grants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project
    from idle_cluster import IdleCluster

OPTIONS = ("--tfserving-target=kubernetes", "--tfserving-image=mine:1", "--tfserving-ready-timeout=0.1")
GRANT = "an administrator grants what a run needs with `pytest-tfserving rbac --user ann"


def said(project: Project, *options: str) -> pytest.LineMatcher:
    """What a run says that may not deploy."""
    run = project.run(*OPTIONS, *options, server=False)
    assert run.ret != 0
    lines = pytest.LineMatcher([*run.outlines, *run.errlines])
    lines.no_fnmatch_line("*Traceback*")
    return lines


def test_all_that_are_missing_are_named_by_the_first_that_is_missed(
    project: Project, cluster: IdleCluster
) -> None:
    missing = {("list", "nodes"), ("create", "leases"), ("get", "pods/log")}
    missing |= {("create", "deployments"), ("patch", "deployments")}
    cluster.forbidden = lambda verb, resource: (verb, resource) in missing

    said(project).fnmatch_lines(
        [
            "*the user of context 'kind-one' lacks permissions: list nodes, "
            "create leases.coordination.k8s.io in namespace 'default', create/patch deployments.apps, "
            "get pods/log; "
            f"{GRANT} | kubectl apply --filename -`*"
        ]
    )
    assert not cluster.applied


def test_one_that_is_missing_while_objects_are_made_is_named_too(
    project: Project, cluster: IdleCluster
) -> None:
    cluster.create_namespace("mine")
    cluster.forbidden = lambda verb, resource: (verb, resource) == ("patch", "deployments")

    said(project, "--tfserving-namespace=mine").fnmatch_lines(
        [
            "*the user of context 'kind-one' lacks a permission: patch deployments.apps in namespace 'mine'; "
            f"{GRANT} --namespace mine | kubectl apply --filename -`*"
        ]
    )


@pytest.mark.parametrize("resource", ["nodes/proxy", "jobs", "pods/attach", "namespaces"])
def test_one_that_a_run_does_not_need_is_not_named(
    project: Project, cluster: IdleCluster, resource: str
) -> None:
    cluster.create_namespace("mine")
    cluster.forbidden = lambda verb, asked: asked == resource or (verb, asked) == ("list", "nodes")

    said(project, "--tfserving-namespace=mine").fnmatch_lines(["*lacks a permission: list nodes; *"])


def test_the_one_that_is_missed_is_named_where_the_cluster_answers_no_questions(
    project: Project, cluster: IdleCluster
) -> None:
    refused = {"nodes", "selfsubjectaccessreviews"}
    cluster.forbidden = lambda _verb, resource: resource in refused

    said(project).fnmatch_lines([f"*lacks a permission: list nodes; {GRANT} | kubectl apply --filename -`*"])
