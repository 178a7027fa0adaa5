"""Metrics of a deployment's Pods from the kubelets of their nodes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pytest_tfserving.targets.kubernetes.kubelet_statistics import cpu_reading_of, throttling_of
from pytest_tfserving.targets.kubernetes.readiness import restarts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfserving.system.resource_usage import CpuReading
    from pytest_tfserving.targets.kubernetes.cluster import Cluster
    from pytest_tfserving.targets.kubernetes.kubelet_statistics import Throttling
    from pytest_tfserving.targets.kubernetes.objects import Pod


def throttling(cluster: Cluster, pods: Sequence[Pod]) -> dict[str, Throttling]:
    """Return the throttling of each Pod's server by its CPU limit so far, by `container_key`."""
    return seen_by_kubelets(cluster, pods)[0]


def seen_by_kubelets(
    cluster: Cluster, pods: Sequence[Pod]
) -> tuple[dict[str, Throttling], dict[str, CpuReading]]:
    """Return the throttling and the CPU time of each Pod's server, both by `container_key`."""
    limited: dict[str, Throttling] = {}
    used: dict[str, CpuReading] = {}
    for pod, page in _pages(cluster, pods):
        key = container_key(pod)
        if found := throttling_of(page, pod):
            limited[key] = found
        if reading := cpu_reading_of(page, pod, key):
            used[key] = reading
    return limited, used


def _pages(cluster: Cluster, pods: Sequence[Pod]) -> Iterator[tuple[Pod, str]]:
    """Yield each Pod with the metrics page of its node's kubelet, which has all containers of the node."""
    for node, here in by_node(pods).items():
        page = cluster.text(f"/api/v1/nodes/{node}/proxy/metrics/cadvisor")
        for pod in here:
            yield pod, page


def container_key(pod: Pod) -> str:
    """Return a name for a Pod's current container, which differs from those before its restarts."""
    count = restarts(pod)
    return f"Pod {pod['metadata']['name']}" + (f" after {count} restarts" if count else "")


def by_node(pods: Sequence[Pod]) -> dict[str, list[Pod]]:
    """Return Pods by their node, without Pods that have no node yet."""
    found: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        if node := pod["spec"].get("nodeName"):
            found[node].append(pod)
    return found
