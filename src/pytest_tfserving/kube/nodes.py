"""What the kubelets of a deployment's nodes tell of its Pods."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pytest_tfserving.kube.readiness import restarts
from pytest_tfserving.kube.statistics import throttling_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.kube.cluster import Cluster, Object
    from pytest_tfserving.kube.statistics import Throttling


def throttling(cluster: Cluster, pods: Sequence[Object]) -> dict[str, Throttling]:
    """What CPU limits did to each Pod's server until now, by its key, where the nodes tell."""
    found: dict[str, Throttling] = {}
    for node, here in by_node(pods).items():
        page = cluster.text(f"/api/v1/nodes/{node}/proxy/metrics/cadvisor")
        found |= {container_key(pod): seen for pod in here if (seen := throttling_of(page, pod))}
    return found


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
