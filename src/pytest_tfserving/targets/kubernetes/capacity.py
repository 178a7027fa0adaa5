"""Allocation of nodes to a shape, and of resources to its replicas. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.experiments.experiment import BYTES_PER_GB
from pytest_tfserving.experiments.quantity import quantity
from pytest_tfserving.targets.kubernetes.kustomize import Resources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_tfserving.experiments.experiment import NodeRequirements, Shape
    from pytest_tfserving.targets.kubernetes.objects import Container, Node, Pod, PodSpec, Taint

# The firmware and the kernel reserve some of a machine's RAM: a node with 4 GB reports 3.9.
_RAM_TOLERANCE = 0.9
# System Pods and reservations are expected overhead; other workloads are not.
_LEAST_SHARE = 0.9
_SYSTEM_NAMESPACES = ("kube-system",)
_FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Allocation:
    """Allocation for a shape.

    Attributes:
        replicas: the number of replicas; 0 if no node is usable.
        resources: the resources of each replica.
        unfit: what the cluster lacks for the shape; empty if it lacks nothing.
        nodes: the names of the nodes with enough room; empty if the scheduler may choose.
    """

    replicas: int
    resources: Resources
    unfit: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of the cluster, with its CPUs and its bytes of RAM.

    Attributes:
        name: the name of the node.
        cpus: the CPUs of the machine.
        ram_bytes: the RAM of the machine.
        free_cpus: the allocatable CPUs without the requests of all Pods.
        free_bytes: the allocatable RAM without the requests of all Pods.
        undisturbed_cpus: the allocatable CPUs without the requests of system Pods.
        undisturbed_bytes: the allocatable RAM without the requests of system Pods.
    """

    name: str
    cpus: float
    ram_bytes: float
    free_cpus: float
    free_bytes: float
    undisturbed_cpus: float
    undisturbed_bytes: float

    def gives(self, shape: Shape) -> Resources:
        """Return the resources that a replica of ``shape`` can get on this node."""
        return Resources(min(shape.vcpus, self.free_cpus), int(min(shape.ram_bytes, self.free_bytes)))

    def is_big_enough(self, shape: Shape) -> bool:
        return round(self.cpus, 3) >= shape.vcpus and self.ram_bytes >= _RAM_TOLERANCE * shape.ram_bytes

    def has_room_for_two(self, shape: Shape) -> bool:
        """Return whether two servers find their RAM on this node; they take turns on its CPUs."""
        return self.free_bytes >= 2 * self.gives(shape).memory_bytes

    def is_taken(self, shape: Shape) -> bool:
        """Return whether other workloads use resources that a replica of ``shape`` would get."""
        cpus = min(shape.vcpus, self.undisturbed_cpus)
        memory = min(shape.ram_bytes, self.undisturbed_bytes)
        given = self.gives(shape)
        return given.cpus < _LEAST_SHARE * cpus or given.memory_bytes < _LEAST_SHARE * memory


def allocate(  # noqa: PLR0913 - a shape, and what a cluster has
    shape: Shape,
    requirements: NodeRequirements,
    nodes: Sequence[Node],
    pods: Sequence[Pod],
    is_ours: Callable[[Pod], bool] = lambda _: False,
    *,
    for_two: bool = False,
) -> Allocation:
    """Return the allocation for ``shape``.

    If the cluster is unfit for the shape, there is one replica on the node with the most free resources, to
    see that it works.

    Args:
        shape: the shape of the experiment.
        requirements: labels and tolerations of the nodes.
        nodes: the cluster's nodes.
        pods: the cluster's Pods.
        is_ours: returns whether a Pod is of this process, and does not count.
        for_two: take only nodes with room for a second server of the shape.
    """
    counted = [pod for pod in pods if not is_ours(pod)]
    usable = [_node(each, counted) for each in nodes if _is_usable(each, requirements)]
    if not usable:
        return Allocation(0, Resources(0, 0), _no_node(shape, requirements, len(nodes)))
    big = [node for node in usable if node.is_big_enough(shape)]
    if len(big) < shape.nodes:
        return _unfit(shape, usable, f"{_needs(shape)}; the cluster has {_have(usable)}{_of(requirements)}")
    free = [node for node in big if not node.is_taken(shape)]
    if len(free) < shape.nodes:
        taken = _left([node for node in big if node.is_taken(shape)])
        return _unfit(shape, usable, f"{_needs(shape)} to itself; other Pods use some: {taken}")
    roomy = [node for node in free if node.has_room_for_two(shape)] if for_two else free
    if len(roomy) < shape.nodes:
        return _unfit(
            shape, usable, f"{_needs(shape)}, and as much RAM again for the second server; {_left(free)}"
        )
    chosen = sorted((node.gives(shape) for node in roomy), key=lambda each: (each.cpus, each.memory_bytes))
    best = chosen[-shape.nodes :]
    same = Resources(min(each.cpus for each in best), min(each.memory_bytes for each in best))
    some = tuple(node.name for node in roomy) if len(roomy) < len(usable) else ()
    return Allocation(shape.nodes, same, nodes=some if for_two else ())


def _unfit(shape: Shape, usable: Sequence[_Node], text: str) -> Allocation:
    most = max((node.gives(shape) for node in usable), key=lambda each: (each.cpus, each.memory_bytes))
    return Allocation(1, most, text)


def _needs(shape: Shape) -> str:
    count = f"{shape.nodes} nodes" if shape.nodes > 1 else "a node"
    return f"{shape.name} needs {count} with {_machine(shape.vcpus, shape.ram_gb)}"


def _machine(cpus: float, ram_gb: float) -> str:
    return f"{cpus:.3g} {'vCPU' if cpus == 1 else 'vCPUs'} and {ram_gb:.3g} GB"


def _have(nodes: Sequence[_Node]) -> str:
    machines = Counter(_machine(node.cpus, node.ram_bytes / BYTES_PER_GB) for node in nodes)
    return ", ".join(f"{count} with {machine}" for machine, count in machines.items())


def _of(requirements: NodeRequirements) -> str:
    if not requirements.selector:
        return ""
    return f" among nodes labelled {_selector(requirements)}"


def _selector(requirements: NodeRequirements) -> str:
    return ",".join(f"{name}={value}" for name, value in requirements.selector.items())


def _no_node(shape: Shape, requirements: NodeRequirements, known: int) -> str:
    which = f" labelled {_selector(requirements)}" if requirements.selector else ""
    return f"{_needs(shape)}; of the cluster's {known} nodes none{which} is ready and takes Pods"


def _left(nodes: Sequence[_Node]) -> str:
    return "; ".join(
        f"{node.name} has {_machine(node.free_cpus, node.free_bytes / BYTES_PER_GB)} left" for node in nodes
    )


def _is_usable(node: Node, requirements: NodeRequirements) -> bool:
    spec, labels = node.get("spec", {}), node["metadata"].get("labels") or {}
    conditions = node.get("status", {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    selected = all(labels.get(name) == value for name, value in requirements.selector.items())
    repelled = any(
        taint["effect"] != "PreferNoSchedule" and not _tolerated(taint, requirements.tolerations)
        for taint in spec.get("taints") or ()
    )
    return ready and selected and not repelled and not spec.get("unschedulable")


def _tolerated(taint: Taint, tolerations: Sequence[Mapping[str, str]]) -> bool:
    return any(
        each.get("effect") in (None, "", taint["effect"])
        and each.get("key") in (None, "", taint["key"])
        and (each.get("operator") == "Exists" or each.get("value", "") == taint.get("value", ""))
        for each in tolerations
    )


def _node(node: Node, pods: Sequence[Pod]) -> _Node:
    status = node["status"]
    allocatable = status.get("allocatable") or status["capacity"]
    there = [
        pod
        for pod in pods
        if pod["spec"].get("nodeName") == node["metadata"]["name"]
        and pod.get("status", {}).get("phase") not in _FINISHED
    ]
    cpus, memory = quantity(allocatable["cpu"]), quantity(allocatable["memory"])
    own = [pod for pod in there if _belongs_to_cluster(pod)]
    return _Node(
        name=node["metadata"]["name"],
        cpus=quantity(status["capacity"]["cpu"]),
        ram_bytes=quantity(status["capacity"]["memory"]),
        free_cpus=cpus - _requested(there, "cpu"),
        free_bytes=memory - _requested(there, "memory"),
        undisturbed_cpus=cpus - _requested(own, "cpu"),
        undisturbed_bytes=memory - _requested(own, "memory"),
    )


def _belongs_to_cluster(pod: Pod) -> bool:
    meta = pod["metadata"]
    daemon = any(owner["kind"] in ("DaemonSet", "Node") for owner in meta.get("ownerReferences") or ())
    return daemon or meta.get("namespace") in _SYSTEM_NAMESPACES


def _requested(pods: Sequence[Pod], resource: str) -> float:
    return sum(_request(pod["spec"], resource) for pod in pods)


def _request(spec: PodSpec, resource: str) -> float:
    """Return the request that the scheduler counts.

    This is the containers' sum, or the largest init container's request if that is more, plus the overhead.
    """

    def of(containers: Sequence[Container]) -> list[float]:
        return [
            quantity((each.get("resources", {}).get("requests") or {}).get(resource, 0))
            for each in containers
        ]

    running = sum(of(spec["containers"]))
    starting = max(of(spec.get("initContainers") or ()), default=0.0)
    return max(running, starting) + quantity((spec.get("overhead") or {}).get(resource, 0))
