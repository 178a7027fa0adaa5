"""All that a run sends to a cluster, against the schemas of each current version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubernetes_schemas import problems, versions
from pytest_tfserving.targets.common.ownership import OwnershipLabels
from pytest_tfserving.targets.kubernetes.manifests import balanced_service, replica_service

if TYPE_CHECKING:
    from harness import Project
    from idle_cluster import IdleCluster

EXPERIMENTS = """
nodes:
  1cpu-1gb:
    selector: {pool: fast}
    tolerations:
      - {key: measurements, operator: Exists, effect: NoSchedule}
defaults: {model: ./models/half, payload: request.json}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, batching: true, slo: ["rps>=1"]}
"""
TAGS = OwnershipLabels("an-experiment")
OPTIONS = ("--tfserving-target=kubernetes", "--tfserving-image=mine:1", "--tfserving-ready-timeout=0.1")


def test_all_that_a_deployment_sends_is_valid(project: Project, cluster: IdleCluster) -> None:
    project.run(*OPTIONS, server=False).assert_outcomes(failed=1)

    assert {each["kind"] for each in cluster.sent} == {
        "Lease",
        "Namespace",
        "Deployment",
        "Service",
        "ConfigMap",
    }
    assert problems(cluster.sent) == []


def test_all_that_every_field_of_an_experiment_adds_is_valid(project: Project, cluster: IdleCluster) -> None:
    project.write(EXPERIMENTS)

    project.run(*OPTIONS, "--tfserving-against=image:other:1", server=False).assert_outcomes(failed=1)

    (sent,) = [each for each in cluster.sent if each["kind"] == "Deployment"]
    pod = sent["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "fast"}
    assert pod["tolerations"] == [{"key": "measurements", "operator": "Exists", "effect": "NoSchedule"}]
    assert "batching" in str(pod["volumes"])
    assert problems(cluster.sent) == []


def test_the_schemas_are_of_every_version_from_the_oldest_to_the_newest() -> None:
    oldest, *_, newest = versions()
    minors = range(int(oldest.partition(".")[2]), int(newest.partition(".")[2]) + 1)

    assert list(versions()) == [f"1.{minor}" for minor in minors]
    assert oldest == "1.31"


def test_the_services_that_load_goes_to_are_valid() -> None:
    services = [replica_service(3, TAGS, "a-namespace"), balanced_service(TAGS, "a-namespace")]

    assert problems(services) == []
