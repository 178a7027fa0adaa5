"""Diagnostics of a failed deployment: events, Pod states, CPU limits, container logs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.targets.kubernetes.cluster import PODS, PermissionMissingError
from pytest_tfserving.targets.kubernetes.kubelet import throttling
from pytest_tfserving.targets.kubernetes.readiness import current_pods, is_ready, restarts, when
from pytest_tfserving.text.foreign_text import LONGEST_REASON, lines, one_line

if TYPE_CHECKING:
    from pytest_tfserving.deployment.deployment import Diagnostics
    from pytest_tfserving.targets.kubernetes.cluster import Cluster
    from pytest_tfserving.targets.kubernetes.kubelet_statistics import Throttling
    from pytest_tfserving.targets.kubernetes.objects import Event, Pod
    from pytest_tfserving.targets.kubernetes.readiness import Doomed, Snapshot

_LOG_LINES = 30
# Reasons of events that occur at every start of a Pod.
_USUAL = ("Started", "Created", "Scheduled", "Pulling", "Pulled", "SuccessfulCreate", "ScalingReplicaSet")


def with_last_words(cluster: Cluster, namespace: str, found: Doomed) -> str:
    """Return why a deployment is doomed, with the last line of its container's log."""
    if not found.pod:
        return found.reason
    last = container_log(cluster, namespace, found.pod, found.container, previous=found.previous)
    line = last.strip().splitlines()[-1:]
    return f"{found.reason}: {one_line(line[0])}" if line else found.reason


def container_log(
    cluster: Cluster, namespace: str, pod: str, container: str = "", *, previous: bool = False
) -> str:
    """Return the last lines of a container's log; empty if there is no log.

    Args:
        cluster: the cluster.
        namespace: the Pod's namespace.
        pod: the name of the Pod.
        container: the name of the container; empty if the Pod has only one.
        previous: read the log of the container before its last restart.
    """
    query = {"tailLines": str(_LOG_LINES), "previous": "true" if previous else "false"}
    if container:
        query["container"] = container
    with suppress(TFServingError):
        return lines(cluster.text(f"{PODS.path(namespace, pod)}/log", **query))
    return ""


def evidence(
    cluster: Cluster, namespace: str, snapshot: Snapshot, seen: dict[str, Throttling]
) -> Diagnostics:
    """Return the events, the state of Pods, their throttling by CPU limits, and the last lines of logs.

    Args:
        cluster: the cluster.
        namespace: the namespace of the deployment.
        snapshot: the state of the deployment.
        seen: the throttling known so far, also of containers that are gone; the current one is added.
    """
    found = [("events", events_text(snapshot)), ("Pods", pods_text(snapshot))]
    found += [("CPU limits", _limits_text(cluster, snapshot, seen))]
    for pod in current_pods(snapshot):
        name = pod["metadata"]["name"]
        found += [(f"log of Pod {name}", container_log(cluster, namespace, name))]
        if restarts(pod):
            earlier = container_log(cluster, namespace, name, previous=True)
            found += [(f"log of Pod {name} before its restart", earlier)]
    return [(title, text.rstrip()) for title, text in found if text.strip()]


def _limits_text(cluster: Cluster, snapshot: Snapshot, seen: dict[str, Throttling]) -> str:
    """Return a line for each container."""
    try:
        seen |= throttling(cluster, current_pods(snapshot))
    except PermissionMissingError as error:
        return f"not known: {error}"
    except TFServingError:
        pass  # the last known values are shown
    return "\n".join(f"{name}: {each}" for name, each in seen.items())


def events_text(snapshot: Snapshot) -> str:
    """Return a line for each event, without the usual ones."""
    events = sorted((each for each in snapshot.events if each.get("reason") not in _USUAL), key=when)
    return "\n".join(_event_line(each) for each in events)


def _event_line(event: Event) -> str:
    about, count = event["involvedObject"], event.get("count") or 1
    times = f" ({count} times)" if count > 1 else ""
    message = one_line(event.get("message", ""), LONGEST_REASON)
    return f"{when(event)} {event.get('reason')} {about.get('kind')}/{about.get('name')}: {message}{times}"


def pods_text(snapshot: Snapshot) -> str:
    """Return a line for each Pod."""
    return "\n".join(_pod_line(pod) for pod in snapshot.pods)


def _pod_line(pod: Pod) -> str:
    meta, status = pod["metadata"], pod["status"]
    state = "ready" if is_ready(pod) else str(status.get("phase", "unknown")).lower()
    if "deletionTimestamp" in meta:
        state = "being deleted"
    node = pod["spec"].get("nodeName") or "no node"
    return f"{meta['name']} on {node}: {state}, {restarts(pod)} restarts"
