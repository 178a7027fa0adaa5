"""Addresses of replicas for load; never a port-forward, which would be the bottleneck."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_tfserving.deployment.deployment import Endpoint, addresses_of
from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.protocols import REST
from pytest_tfserving.targets.kubernetes.cluster import PODS, SERVICES
from pytest_tfserving.targets.kubernetes.manifests import balanced_service, replica_service
from pytest_tfserving.targets.kubernetes.names import PORTS, REPLICA, REST_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_tfserving.targets.common.ownership import OwnershipLabels
    from pytest_tfserving.targets.kubernetes.cluster import Cluster
    from pytest_tfserving.targets.kubernetes.objects import Pod, Service

WAYS = ("auto", "nodeport", "loadbalancer", "pod")
EXAMPLE = "http://host:8501"
_ADDRESS = re.compile(r"https?://[^/]+/?")
_CONNECT_S = 1.0
# The ports of nodes open a moment after the Service is created.
_PORT_OPENS_S = 5.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Exposure:
    """Addresses of the replicas of a deployment.

    Attributes:
        addresses: the addresses by protocol, one for each replica or one for all.
        inside: the addresses inside the cluster by protocol, one for each replica.
        how: the way to these addresses, in words.
        one_a_replica: each address leads to one replica, by a Service of its own.
    """

    addresses: Mapping[str, tuple[Endpoint, ...]]
    inside: Mapping[str, tuple[Endpoint, ...]]
    how: str
    one_a_replica: bool = False


@dataclass(frozen=True, slots=True)
class ReadyDeployment:
    """A deployment that is ready.

    Attributes:
        cluster: the cluster.
        namespace: the namespace of the deployment.
        tags: the labels of the deployment's objects.
        pods: the Pods, one for each replica, in the order of their addresses.
        timeout_s: the seconds to wait for an address or a model.
    """

    cluster: Cluster
    namespace: str
    tags: OwnershipLabels
    pods: tuple[Pod, ...]
    timeout_s: float


def is_way(text: str) -> bool:
    """Return whether ``text`` is a valid way to reach replicas: one of `WAYS`, or an address."""
    return text in WAYS or bool(_ADDRESS.fullmatch(text))


def expose(way: str, placed: ReadyDeployment) -> Exposure:
    """Return the addresses for load, by the requested way; ``auto`` takes a way that works.

    Raises:
        DeploymentError: if the requested way does not work, or no way does.
    """
    if way == "nodeport":
        return _required(_node_ports(placed), way, "no NodePort is reachable from this machine")
    if way == "loadbalancer":
        return _load_balancer(placed)
    if way == "pod":
        return _pods(placed)
    if way == "auto":
        return _node_ports(placed) or _load_balancer(placed)
    return _given(way, placed)


def _required(found: Exposure | None, way: str, problem: str) -> Exposure:
    if found is None:
        raise DeploymentError(f"--tfserving-access={way}: {problem}.")
    return found


def _given(address: str, placed: ReadyDeployment) -> Exposure:
    parts = urlsplit(address)
    tls = parts.scheme == "https"
    endpoint = Endpoint(parts.hostname or "", parts.port or (443 if tls else 80), tls)
    return Exposure({REST.name: (endpoint,)}, _of_pods(placed), f"the address given, {endpoint}")


def _pods(placed: ReadyDeployment) -> Exposure:
    return Exposure(_of_pods(placed), _of_pods(placed), "each Pod's own address")


def _of_pods(placed: ReadyDeployment) -> dict[str, tuple[Endpoint, ...]]:
    return _on_all_ports(pod["status"]["podIP"] for pod in placed.pods)


def _on_all_ports(hosts: Iterable[str]) -> dict[str, tuple[Endpoint, ...]]:
    return addresses_of(
        [Endpoint(host, port, protocol=protocol) for protocol, port in PORTS.items()] for host in hosts
    )


# --- a port of a node for each replica ---


def _node_ports(placed: ReadyDeployment) -> Exposure | None:
    """Create a NodePort Service for each replica; return the addresses at the first node that is reachable.

    If no node is reachable, delete the Services and return None.
    """
    services = []
    for index, pod in enumerate(placed.pods):
        adopt(placed.cluster, pod, index)
        manifest = replica_service(index, placed.tags, placed.namespace)
        services.append(placed.cluster.apply(manifest, placed.namespace))
    hosts = _node_addresses(placed)
    ports = [_ports(service) for service in services]
    deadline = time.monotonic() + _PORT_OPENS_S
    while time.monotonic() < deadline:
        for host in hosts:
            if all(_answers(host, port) for each in ports for port in each.values()):
                return Exposure(
                    addresses_of(
                        [Endpoint(host, port, protocol=name) for name, port in each.items()] for each in ports
                    ),
                    _on_all_ports(service["spec"]["clusterIP"] for service in services),
                    f"NodePort, one a replica, on node address {host}",
                    one_a_replica=True,
                )
        time.sleep(_LOOK_S)
    for service in services:
        placed.cluster.delete(SERVICES, placed.namespace, service["metadata"]["name"])
    return None


def adopt(cluster: Cluster, pod: Pod, index: int) -> None:
    """Label a Pod, so that the Service of replica ``index`` leads to it."""
    meta = pod["metadata"]
    change: Pod = {"metadata": {"labels": {REPLICA: str(index)}}}
    cluster.patch(PODS, meta["namespace"], meta["name"], change)


def _node_addresses(placed: ReadyDeployment) -> list[str]:
    """Return addresses to try: the nodes' external and internal addresses, and the API server's host."""
    from pytest_tfserving.targets.kubernetes.cluster import NODES

    wanted = [pod["spec"]["nodeName"] for pod in placed.pods]
    nodes = [each for each in placed.cluster.items(NODES) if each["metadata"]["name"] in wanted]
    found = [
        each["address"]
        for kind in ("ExternalIP", "InternalIP")
        for node in nodes
        for each in node["status"].get("addresses") or ()
        if each["type"] == kind
    ]
    server = urlsplit(placed.cluster.context.server).hostname
    return list(dict.fromkeys([*found, *([server] if server else [])]))


def _ports(service: Service) -> dict[str, int]:
    """Return the port of a node for each protocol, in their order."""
    by_name = {each["name"]: each["nodePort"] for each in service["spec"]["ports"]}
    return {protocol: by_name[protocol] for protocol in PORTS}


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except OSError:
        return False
    return True


# --- one address for all ---


def _load_balancer(placed: ReadyDeployment) -> Exposure:
    manifest = balanced_service(placed.tags, placed.namespace)
    name = placed.cluster.apply(manifest, placed.namespace)["metadata"]["name"]
    deadline = time.monotonic() + placed.timeout_s
    while time.monotonic() < deadline:
        service = placed.cluster.find(SERVICES, placed.namespace, name)
        for ingress in (service or {}).get("status", {}).get("loadBalancer", {}).get("ingress") or ():
            host = ingress.get("ip") or ingress.get("hostname")
            if host and _answers(host, REST_PORT):
                how = f"LoadBalancer {host}, which spreads connections over the replicas"
                return Exposure(_on_all_ports([host]), _of_pods(placed), how)
        time.sleep(_LOOK_S * 10)
    raise DeploymentError(
        "the replicas cannot be reached: no NodePort is reachable from this machine, and the cluster gave no "
        f"LoadBalancer address within {placed.timeout_s:g} s; choose a way with --tfserving-access."
    )


def restore(cluster: Cluster, alive: Sequence[Pod], replicas: int, say: Callable[[str], None]) -> None:
    """Label the Pods that replace lost ones, so that the Services of these replicas lead to them.

    Args:
        cluster: the cluster.
        alive: the Pods that run.
        replicas: the number of replicas.
        say: called with a sentence for each replaced Pod.
    """
    taken = {(pod["metadata"].get("labels") or {}).get(REPLICA) for pod in alive}
    free = [index for index in range(replicas) if str(index) not in taken]
    new = [pod for pod in alive if REPLICA not in (pod["metadata"].get("labels") or {})]
    for index, pod in zip(free, new, strict=False):
        adopt(cluster, pod, index)
        say(f"Pod {pod['metadata']['name']} took the place of replica {index}")
