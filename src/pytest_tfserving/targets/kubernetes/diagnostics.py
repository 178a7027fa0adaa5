"""Diagnostics of a failed deployment: events, Pod states, CPU limits, container logs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.targets.kubernetes.cluster import PODS, PermissionMissingError
from pytest_tfserving.targets.kubernetes.kubelet import throttling
from pytest_tfserving.targets.kubernetes.pull_error import pull_cause, repeats
from pytest_tfserving.targets.kubernetes.readiness import current_pods, is_ready, restarts, when
from pytest_tfserving.text.foreign_text import LONGEST_REASON, lines, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.deployment.deployment import Diagnostics
    from pytest_tfserving.targets.kubernetes.cluster import Cluster
    from pytest_tfserving.targets.kubernetes.kubelet_statistics import Throttling
    from pytest_tfserving.targets.kubernetes.objects import Event, Pod
    from pytest_tfserving.targets.kubernetes.readiness import Doomed, Snapshot

_LOG_LINES = 30
# Texts of a kubelet in the place of a log whose file is gone, or not there yet.
_NO_LOG = ("failed to try resolving symlinks in path", "unable to retrieve container logs for")
# Reasons of events that occur at every start of a Pod.
_USUAL = ("Started", "Created", "Scheduled", "Pulling", "Pulled", "SuccessfulCreate", "ScalingReplicaSet")


def with_last_words(cluster: Cluster, namespace: str, found: Doomed) -> str:
    """Return why a deployment is doomed, with the last line of its container's log.

    While a container restarts, only the log of the container before or after the restart may be there.
    """
    if not found.pod:
        return found.reason
    logs = (
        container_log(cluster, namespace, found.pod, found.container, previous=previous)
        for previous in (found.previous, not found.previous)
    )
    line = next(filter(None, map(str.strip, logs)), "").splitlines()[-1:]
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
        text = cluster.text(f"{PODS.path(namespace, pod)}/log", **query)
        return "" if text.startswith(_NO_LOG) else lines(text)
    return ""


def evidence(
    cluster: Cluster, namespace: str, snapshot: Snapshot, seen: dict[str, Throttling], told: str = ""
) -> Diagnostics:
    """Return the events, the state of Pods, their throttling by CPU limits, and the last lines of logs.

    Args:
        cluster: the cluster.
        namespace: the namespace of the deployment.
        snapshot: the state of the deployment.
        seen: the throttling known so far, also of containers that are gone; the current one is added.
        told: the error that the evidence is shown below, which the events do not repeat.
    """
    found = [("events", events_text(snapshot, told)), ("Pods", pods_text(snapshot))]
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


def events_text(snapshot: Snapshot, told: str = "") -> str:
    """Return a line for each message of events, without the usual ones.

    Args:
        snapshot: the state of the deployment.
        told: an error that is shown above the events; its reason is not repeated.
    """
    groups: dict[tuple[str, str, str], list[Event]] = {}
    for each in sorted(filter(_says_something, snapshot.events), key=when):
        about = each["involvedObject"]
        message = _message(each).replace(about.get("name", ""), "").replace(about.get("uid", ""), "")
        key = (each.get("reason", ""), about.get("kind", ""), message)
        groups.setdefault(key, []).append(each)
    ordered = sorted(groups.values(), key=lambda group: when(group[-1]))
    return "\n".join(_event_line(group, told) for group in ordered)


def _says_something(event: Event) -> bool:
    """Return whether an event is not usual, and says more than that a pull failed."""
    message = event.get("message", "")
    return event.get("reason") not in _USUAL and not (message and not pull_cause(message))


def _message(event: Event) -> str:
    return one_line(event.get("message", ""), LONGEST_REASON)


def _event_line(group: Sequence[Event], told: str) -> str:
    """Return the line of events that differ only in their objects and times, oldest first."""
    last = group[-1]
    about, message = last["involvedObject"], _message(last)
    others = len({each["involvedObject"].get("name") for each in group}) - 1
    objects = f"{about.get('kind')}/{about.get('name')}" + (f" and {others} more" if others else "")
    count = sum(map(_count, group))
    times = f" ({count} times)" if count > 1 else ""
    text = "the error above" if repeats(message, told) else message
    return f"{when(last)} {last.get('reason')} {objects}: {text}{times}"


def _count(event: Event) -> int:
    return event.get("count") or (event.get("series") or {}).get("count", 1)


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
