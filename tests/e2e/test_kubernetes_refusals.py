"""What target kubernetes does not deploy into: said in one sentence, nothing of a stranger's touched."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfserving.targets.common.ownership import Owner, OwnershipLabels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Project
    from kubectl import Kubectl

pytestmark = pytest.mark.needs("docker", "kubernetes")

EXPERIMENTS = """
defaults: {model: ./models/half_plus_two, payload: request.json}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["rps>=1"]}
"""
TESTS = "def test_ready(serving):\n    assert serving\n"
STRANGER = {"kind": "Service", "apiVersion": "v1", "spec": {"ports": [{"port": 1}]}}


@pytest.fixture
def small(project: Project) -> Project:
    project.write(EXPERIMENTS, TESTS)
    return project


@pytest.fixture
def namespace(cluster: Kubectl) -> Iterator[str]:
    name = f"e2e-{secrets.token_hex(4)}"
    cluster("create", "namespace", name)
    yield name
    cluster.drop(name)


def refusal(project: Project, cluster: Kubectl, *options: str) -> pytest.LineMatcher:
    """What a run says that deploys nothing."""
    run = project.run(*cluster.options, *options, server=False)
    run.assert_outcomes(errors=1)
    run.stdout.no_fnmatch_line("*Traceback*")
    assert cluster.left() == []
    return run.stdout


def test_a_namespace_that_is_not_there(small: Project, cluster: Kubectl) -> None:
    said = refusal(small, cluster, "--tfserving-namespace=none-such")

    said.fnmatch_lines(
        [f"there is no namespace 'none-such' in context '{cluster.context}'; *: *create namespace none-such"]
    )


def test_a_namespace_of_another_run(small: Project, cluster: Kubectl, namespace: str) -> None:
    tags = OwnershipLabels("another", owner=Owner("another machine", 1, 0.0))
    meta = {"name": namespace, "labels": tags.labels, "annotations": tags.annotations}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})

    said = refusal(small, cluster, f"--tfserving-namespace={namespace}")

    said.fnmatch_lines([f"namespace '{namespace}' belongs to another run, which will delete it; *"])


def test_a_namespace_with_a_strangers_object_of_that_name(
    small: Project, cluster: Kubectl, namespace: str
) -> None:
    cluster.apply({**STRANGER, "metadata": {"name": "tfserving", "namespace": namespace}})

    said = refusal(small, cluster, f"--tfserving-namespace={namespace}")

    said.fnmatch_lines([f"namespace '{namespace}' has a Service 'tfserving' that this run did not make; *"])
    found: list[dict[str, Any]] = cluster.items("services,deployments", f"--namespace={namespace}")
    assert [each["spec"]["ports"][0]["port"] for each in found] == [1]


def test_a_base_without_our_deployment(small: Project, cluster: Kubectl) -> None:
    base = small.pytester.path / "base"
    base.mkdir()
    (base / "kustomization.yaml").write_text("resources: [service.yaml]\n")
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: tfserving}\nspec: {ports: [{port: 1}]}\n"
    (base / "service.yaml").write_text(service)

    said = refusal(small, cluster, f"--tfserving-base={base}")

    said.fnmatch_lines(
        ["*/base has no Deployment 'tfserving' for experiments to run in (it has none at all)."]
    )
