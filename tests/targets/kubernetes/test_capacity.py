"""Which nodes can be a shape's, and what a replica gets there; from what a cluster of two nodes said."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from cluster_snapshots import said
from pytest_tfserving.experiments.experiment import NodeRequirements, Shape
from pytest_tfserving.experiments.quantity import quantity
from pytest_tfserving.targets.kubernetes.capacity import allocate

if TYPE_CHECKING:
    from pytest_tfserving.targets.kubernetes.objects import Node, Pod

ANY = NodeRequirements()
SMALL = Shape.parse("1cpu-1gb-1n")


@pytest.fixture
def nodes() -> list[Node]:
    return copy.deepcopy(said("ready").nodes)


def pod(node: str, namespace: str = "default", **requests: str) -> Pod:
    return {
        "metadata": {"namespace": namespace},
        "spec": {"nodeName": node, "containers": [{"resources": {"requests": requests}}]},
        "status": {"phase": "Running"},
    }


def test_each_replica_has_a_node(nodes: list[Node]) -> None:
    found = allocate(Shape.parse("1cpu-1gb-2n"), ANY, nodes, [])

    assert (found.replicas, found.unfit) == (2, "")
    assert found.resources.quantities() == {"cpu": "1", "memory": "1024Mi"}


def test_what_a_cluster_lacks_is_said(nodes: list[Node]) -> None:
    found = allocate(Shape.parse("8cpu-16gb-2n"), ANY, nodes, [])

    assert found.replicas == 1
    assert found.unfit.startswith(
        "8cpu-16gb-2n needs 2 nodes with 8 vCPUs and 16 GB; the cluster has 2 with "
    )


def test_a_cluster_with_too_few_nodes(nodes: list[Node]) -> None:
    assert "needs 3 nodes" in allocate(Shape.parse("1cpu-1gb-3n"), ANY, nodes, []).unfit


def test_what_others_run_there_counts_and_what_we_run_does_not(nodes: list[Node]) -> None:
    name = nodes[0]["metadata"]["name"]
    busy = [
        pod(each["metadata"]["name"], cpu=str(quantity(each["status"]["capacity"]["cpu"]))) for each in nodes
    ]

    taken = allocate(SMALL, ANY, nodes, busy)

    assert f"other Pods use some: {name} has " in taken.unfit
    assert allocate(SMALL, ANY, nodes, busy, lambda _: True).unfit == ""


def test_a_clusters_own_pods_are_part_of_a_node(nodes: list[Node]) -> None:
    cpus = quantity(nodes[0]["status"]["capacity"]["cpu"])
    shape = Shape.parse(f"{cpus:.0f}cpu-1gb-1n")
    own = [pod(each["metadata"]["name"], "kube-system", cpu="250m") for each in nodes]

    found = allocate(shape, ANY, nodes, own)

    assert found.unfit == ""
    assert found.resources.cpus == pytest.approx(cpus - 0.25)


def test_finished_pods_take_nothing(nodes: list[Node]) -> None:
    busy = [pod(each["metadata"]["name"], cpu="64") for each in nodes]
    for each in busy:
        each["status"]["phase"] = "Succeeded"

    assert allocate(SMALL, ANY, nodes, busy).unfit == ""


@pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute"])
def test_a_taint_repels_unless_it_is_tolerated(nodes: list[Node], effect: str) -> None:
    for node in nodes:
        node["spec"]["taints"] = [{"key": "measurements", "value": "yes", "effect": effect}]

    assert "none is ready and takes Pods" in allocate(SMALL, ANY, nodes, []).unfit
    for toleration in (
        {"key": "measurements", "operator": "Exists"},
        {"key": "measurements", "value": "yes"},
    ):
        assert allocate(SMALL, NodeRequirements(tolerations=(toleration,)), nodes, []).unfit == ""


def test_only_labelled_nodes_count(nodes: list[Node]) -> None:
    nodes[1]["metadata"]["labels"]["pool"] = "measurements"
    wanted = NodeRequirements({"pool": "measurements"})

    assert allocate(SMALL, wanted, nodes, []).unfit == ""
    assert (
        "among nodes labelled pool=measurements"
        in allocate(Shape.parse("1cpu-1gb-2n"), wanted, nodes, []).unfit
    )


def test_nodes_that_are_not_ready_or_cordoned_do_not_count(nodes: list[Node]) -> None:
    nodes[0]["spec"]["unschedulable"] = True
    ready = next(each for each in nodes[1]["status"]["conditions"] if each["type"] == "Ready")
    ready["status"] = "Unknown"

    found = allocate(SMALL, ANY, nodes, [])

    assert found.replicas == 0
    assert found.unfit.endswith("of the cluster's 2 nodes none is ready and takes Pods")


def test_init_containers_and_overhead_are_requested_too(nodes: list[Node]) -> None:
    cpus = quantity(nodes[0]["status"]["capacity"]["cpu"])
    busy = [pod(each["metadata"]["name"], cpu="100m") for each in nodes]
    for each in busy:
        each["spec"]["initContainers"] = [{"resources": {"requests": {"cpu": f"{cpus - 1}"}}}]
        each["spec"]["overhead"] = {"cpu": "500m"}

    assert allocate(SMALL, ANY, nodes, busy).unfit.endswith(" GB left")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("250m", 0.25),
        ("2", 2.0),
        (4, 4.0),
        ("16Gi", 16 * 2**30),
        ("1k", 1000.0),
        ("3906252Ki", 3906252 * 1024),
        ("1e3", 1000.0),
        ("many", 0.0),
        ("", 0.0),
    ],
)
def test_quantities(text: object, number: float) -> None:
    assert quantity(text) == number


def test_two_servers_need_a_node_with_memory_for_both(nodes: list[Node]) -> None:
    first, second = (each["metadata"]["name"] for each in nodes)
    for each in nodes:
        each["status"]["allocatable"] = {"cpu": "1", "memory": "3Gi"}
        each["status"]["capacity"] = {"cpu": "1", "memory": "3Gi"}
    busy = [pod(first, memory="100Mi")]

    both, one = (
        allocate(Shape.parse(name), ANY, nodes, busy, for_two=True) for name in ("1cpu-1gb-2n", "1cpu-1gb-1n")
    )
    too_large = allocate(Shape.parse("1cpu-2gb-1n"), ANY, nodes, busy, for_two=True)

    assert (both.replicas, both.unfit, both.nodes) == (2, "", ())
    assert (one.replicas, one.unfit, one.nodes) == (1, "", ())
    assert too_large.unfit == (
        "1cpu-2gb-1n needs a node with 1 vCPU and 2 GB, and as much RAM again for the second server; "
        f"{first} has 1 vCPU and 2.9 GB left; {second} has 1 vCPU and 3 GB left"
    )


def test_two_servers_run_only_on_nodes_with_room_for_both(nodes: list[Node]) -> None:
    first, second = (each["metadata"]["name"] for each in nodes)
    for each in nodes:
        each["status"]["allocatable"] = each["status"]["capacity"] = {"cpu": "1", "memory": "2Gi"}

    found = allocate(SMALL, ANY, nodes, [pod(first, memory="100Mi")], for_two=True)

    assert found.nodes == (second,)
