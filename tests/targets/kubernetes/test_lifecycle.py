"""When a deployment is gone: its end waits for every Pod, also for those that controllers make meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import PROFILES
from pytest_tfserving.settings import Settings
from pytest_tfserving.targets.common.ownership import RUN, OrphanRule, Owner, OwnershipLabels
from pytest_tfserving.targets.common.request import DeploymentRequest
from pytest_tfserving.targets.kubernetes.cluster import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    ResourceKind,
)
from pytest_tfserving.targets.kubernetes.lifecycle import DeployedObjects, sweep
from pytest_tfserving.targets.kubernetes.names import LOAD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfserving.targets.kubernetes.objects import KubernetesObject

# The objects of each kind at one moment.
Moment: TypeAlias = "dict[ResourceKind[KubernetesObject], list[dict[str, Any]]]"

TAGS = OwnershipLabels("e", owner=Owner("this machine", 1, 0.0))
NAMESPACE = f"pytest-tfserving-{TAGS.run}"
RUNS: dict[str, Any] = {"running": {}}
STARTS: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
ENDS: dict[str, Any] = {"terminated": {"exitCode": 0}}


def thing(
    name: str, labels: Mapping[str, str], state: dict[str, Any] | None = None, *, goes: bool = False
) -> dict[str, Any]:
    """An object; a Pod if it has a container's state."""
    meta = {"name": name, "namespace": NAMESPACE, "labels": dict(labels), "annotations": TAGS.annotations}
    status = {"containerStatuses": [{"name": "serving", "state": state}]} if state else {}
    return {"metadata": meta | ({"deletionTimestamp": "now"} if goes else {}), "status": status}


class Scripted:
    """A cluster that is in its next moment each time its Pods are asked for, and notes what is deleted."""

    def __init__(self, *moments: Moment) -> None:
        self._moments = list(moments)
        self.deleted: list[str] = []

    def items(
        self, kind: ResourceKind[KubernetesObject], _: str = "", labels: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """The objects of a kind with those labels, at this moment."""
        found = [
            each
            for each in self._moments[0].get(kind, [])
            if (labels or {}).items() <= each["metadata"]["labels"].items()
        ]
        if kind is PODS and len(self._moments) > 1 and LOAD not in (labels or {RUN: ""}):
            self._moments.pop(0)
        return found

    def delete(self, kind: ResourceKind[KubernetesObject], _: str, name: str, **__: object) -> bool:
        """Note it; namespaces with what was left at that moment."""
        pods = [each["metadata"]["name"] for each in self._moments[0].get(PODS, [])]
        self.deleted.append(f"{kind.plural}/{name}" + (f" with {pods}" if kind is NAMESPACES else ""))
        return True


REPLICA_SET: Moment = {REPLICA_SETS: [thing("maker", TAGS.labels)]}
OLD_POD_GOES: Moment = {PODS: [thing("old", TAGS.labels, ENDS, goes=True)]}
NEW_POD_RUNS: Moment = {PODS: [thing("new", TAGS.labels, RUNS)]}
NEW_POD_STARTS: Moment = {PODS: [thing("new", TAGS.labels, STARTS, goes=True)]}
LOAD_POD_RUNS: Moment = {PODS: [thing("load", {LOAD: TAGS.run}, RUNS, goes=True)]}


@pytest.fixture
def order(tmp_path: Path) -> DeploymentRequest:
    experiment = Experiment(
        "e", Shape(1, 1, 1), ServingOptions(1, 1), "model", "json", PROFILES["smoke"], target="kubernetes"
    )
    return DeploymentRequest(
        experiment=experiment,
        settings=Settings.__new__(Settings),
        model_paths=dict,
        payloads=lambda: pytest.fail("nothing is sent"),
        folder=tmp_path,
        progress=print,
        note=print,
        failed=lambda: False,
    )


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([NEW_POD_RUNS, {}], id="a Pod"),
        pytest.param(
            [REPLICA_SET | OLD_POD_GOES, REPLICA_SET | NEW_POD_RUNS, NEW_POD_RUNS, {}],
            id="one that is replaced meanwhile",
        ),
        pytest.param([LOAD_POD_RUNS, LOAD_POD_RUNS, {}], id="one that loads"),
        pytest.param([NEW_POD_STARTS, {}], id="one that was just being started"),
    ],
)
def test_the_namespace_goes_when_no_pod_runs_and_none_will_be_made(
    order: DeploymentRequest, moments: list[Moment]
) -> None:
    cluster: Any = Scripted(*moments)

    with DeployedObjects(cluster, order, TAGS):
        pass

    assert cluster.deleted[-1] == f"namespaces/{NAMESPACE} with []"


def test_a_pod_that_has_ended_is_not_waited_for(order: DeploymentRequest) -> None:
    cluster: Any = Scripted(OLD_POD_GOES)

    with DeployedObjects(cluster, order, TAGS):
        pass

    assert cluster.deleted == ["pods/old", f"namespaces/{NAMESPACE} with ['old']"]


@pytest.mark.parametrize("maker", [DEPLOYMENTS, JOBS])
def test_a_sweep_waits_likewise(maker: ResourceKind[KubernetesObject]) -> None:
    namespace: Moment = {NAMESPACES: [thing(NAMESPACE, TAGS.labels)]}
    made: Moment = namespace | {maker: [thing("x", TAGS.labels)]}
    cluster: Any = Scripted(
        made | REPLICA_SET | OLD_POD_GOES,
        namespace | REPLICA_SET | NEW_POD_RUNS,
        namespace | NEW_POD_RUNS,
        namespace,
    )

    sweep(cluster, OrphanRule(run=TAGS.run))

    assert cluster.deleted[0] == f"{maker.plural}/x"
    assert cluster.deleted[-1] == f"namespaces/{NAMESPACE} with []"
