"""What the kubelets of a deployment's nodes tell of its Pods."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pytest_tfserving.kube.readiness import restarts
from pytest_tfserving.kube.statistics import cpu_reading_of, throttling_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfserving.kube.cluster import Cluster, Object
    from pytest_tfserving.kube.statistics import Throttling
    from pytest_tfserving.targets.usage import CpuReading


def throttling(cluster: Cluster, pods: Sequence[Object]) -> dict[str, Throttling]:
    """What CPU limits did to each Pod's server until now, by its key, where the nodes tell."""
    return seen_by_kubelets(cluster, pods)[0]


def seen_by_kubelets(
    cluster: Cluster, pods: Sequence[Object]
) -> tuple[dict[str, Throttling], dict[str, CpuReading]]:
    """Return what CPU limits did to each Pod's server, and the CPU it used, by its key."""
    limited: dict[str, Throttling] = {}
    used: dict[str, CpuReading] = {}
    for pod, page in _pages(cluster, pods):
        key = container_key(pod)
        if found := throttling_of(page, pod):
            limited[key] = found
        if reading := cpu_reading_of(page, pod, key):
            used[key] = reading
    return limited, used


def _pages(cluster: Cluster, pods: Sequence[Object]) -> Iterator[tuple[Object, str]]:
    """Yield each Pod with what the kubelet of its node tells of all containers there."""
    for node, here in by_node(pods).items():
        page = cluster.text(f"/api/v1/nodes/{node}/proxy/metrics/cadvisor")
        for pod in here:
            yield pod, page


def container_key(pod: Object) -> str:
    """What tells apart all containers that a deployment's servers have been, in words."""
    count = restarts(pod)
    return f"Pod {pod['metadata']['name']}" + (f" after {count} restarts" if count else "")


def by_node(pods: Sequence[Object]) -> dict[str, list[Object]]:
    """Pods by the node they are on, less those that are on none yet."""
    found: defaultdict[str, list[Object]] = defaultdict(list)
    for pod in pods:
        if node := pod["spec"].get("nodeName"):
            found[node].append(pod)
    return found
