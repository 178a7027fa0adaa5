"""Readiness of a deployment: ready, waiting, or doomed. Decided from the cluster's objects, without I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from pytest_tfserving.targets.kubernetes.pull_error import PULL_REASONS, pull_cause
from pytest_tfserving.text.foreign_text import LONGEST_REASON, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfserving.targets.kubernetes.objects import (
        Condition,
        ContainerStatus,
        DeploymentObject,
        Event,
        KubernetesObject,
        Pod,
        ReplicaSet,
        TerminatedState,
    )

_TRANSIENT_EXIT = 128
# Waiting reasons of containers that never start.
_NEVER = ("InvalidImageName", "ErrImageNeverPull", "CreateContainerError", "RunContainerError")
_STARTS = ("ContainerCreating", "PodInitializing")
_NOT_THERE = re.compile(
    r"not found|does not exist|manifest unknown|access denied|unauthorized|forbidden|authorization failed"
    r"|signature validation failed",
    re.IGNORECASE,
)
# Events of the autoscalers that add a node for a Pod: Cluster Autoscaler, Karpenter.
_NODE_COMES = ("TriggeredScaleUp", "Nominated")
# Log lines of TF Serving, and of the embedded server, that wait for a missing model.
_NO_MODEL = re.compile(r"(?:No versions of servable|Could not find base path) .*")
_MISSING_VOLUME = re.compile(r'(configmap|secret|persistentvolumeclaim) "(?P<name>[^"]+)" not found')


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a deployment in the cluster at one moment.

    Attributes:
        deployment: the Deployment object.
        pods: the Pods of the deployment.
        replica_sets: the ReplicaSets of the deployment.
        events: the events of the namespace.
        logs: the last lines of the Pods that run and are not ready, by the Pod's name.
    """

    deployment: DeploymentObject
    pods: Sequence[Pod]
    replica_sets: Sequence[ReplicaSet] = ()
    events: Sequence[Event] = ()
    logs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ready:
    """State of a deployment whose replicas are all ready; ``pods`` are the names of its Pods, by age."""

    pods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """State of a deployment that may become ready; ``reason`` says what it waits for."""

    reason: str


@dataclass(frozen=True, slots=True)
class Doomed:
    """State of a deployment that can never become ready.

    Attributes:
        reason: a sentence.
        pod: the Pod whose log says more; empty if no log does.
        container: the container of this log; empty if the Pod has only one.
        previous: whether the log is that of the container before its restart.
        image: the image that cannot be pulled; empty for other reasons.
    """

    reason: str
    pod: str = ""
    container: str = ""
    previous: bool = field(default=False)
    image: str = ""


State: TypeAlias = Ready | Waiting | Doomed


def state_of(snapshot: Snapshot) -> State:
    """Return the state of a deployment: ready, waiting or doomed."""
    return next(_reasons(snapshot), None) or _progress(snapshot)


def doomed(snapshot: Snapshot) -> Doomed | None:
    """Return why the deployment can never become ready, or None."""
    return next(_reasons(snapshot), None)


def current_pods(snapshot: Snapshot) -> list[Pod]:
    """Return the Pods that are not being deleted, by age."""
    alive = [pod for pod in snapshot.pods if "deletionTimestamp" not in pod["metadata"]]
    return sorted(alive, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def is_ready(pod: Pod) -> bool:
    """Return whether a Pod is ready for requests."""
    return any(each["type"] == "Ready" and each["status"] == "True" for each in _conditions(pod))


def has_ended(pod: Pod) -> bool:
    """Return whether a Pod is being deleted, and no container of it runs or is just being started."""
    states = [each.get("state", {}) for each in _statuses(pod)]
    runs = any("running" in each or each.get("waiting", {}).get("reason") in _STARTS for each in states)
    is_taken_up = bool(pod.get("spec", {}).get("nodeName")) and not states
    return "deletionTimestamp" in pod["metadata"] and not runs and not is_taken_up


def has_started(pod: Pod) -> bool:
    """Return whether all containers of a Pod run or have ended."""
    states = [each.get("state", {}) for each in _statuses(pod)]
    return bool(states) and all("running" in each or "terminated" in each for each in states)


def ended(pod: Pod) -> str:
    """Return how a Pod with one container and without restarts has ended; empty while it runs."""
    for status in _statuses(pod):
        if end := status.get("state", {}).get("terminated"):
            if end.get("reason") == "OOMKilled":
                return f"ran out of memory (OOMKilled, its limit is {_limit(pod, status['name'])})"
            return f"ended with exit code {end.get('exitCode')}"
    return ""


def pod_doomed(pod: Pod, events: Sequence[Event]) -> Doomed | None:
    """Return why a Pod can never start, or None; ``events`` are those of its namespace."""
    uid = pod["metadata"]["uid"]
    own = sorted((each for each in events if each["involvedObject"].get("uid") == uid), key=when)
    return next(_pod_reasons(pod, own, leaving=False), None)


def restarts(pod: Pod) -> int:
    """Return how often a Pod's containers were restarted."""
    return sum(each.get("restartCount", 0) for each in _statuses(pod))


# --- doomed ---


def _reasons(snapshot: Snapshot) -> Iterator[Doomed]:
    for owner in (snapshot.deployment, *snapshot.replica_sets):
        for condition in _conditions(owner):
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                yield Doomed(f"the cluster makes no Pods: {_line(condition.get('message', ''))}")
    for pod in current_pods(snapshot):
        yield from _pod_reasons(pod, _events_of(snapshot, pod), leaving=_leaving(snapshot))
        yield from _log_reasons(pod, snapshot.logs.get(pod["metadata"]["name"], ""))


def _pod_reasons(pod: Pod, events: Sequence[Event], *, leaving: bool) -> Iterator[Doomed]:
    """Yield why a Pod can never start; while other Pods are ``leaving``, it may wait for their resources."""
    name = pod["metadata"]["name"]
    if pod["status"].get("phase") == "Failed":
        why = ": ".join(part for part in (pod["status"].get("reason"), pod["status"].get("message")) if part)
        yield Doomed(f"Pod {name} failed: {_line(why)}", name)
    for container in _statuses(pod):
        if reason := _container_reason(name, container, _limit(pod, container["name"]), events):
            yield reason
    for condition in _conditions(pod):
        unschedulable = condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
        if unschedulable and not (leaving or _place_comes(pod, events)):
            yield Doomed(f"Pod {name} cannot be scheduled: {_line(condition.get('message', ''))}")
    yield from _event_reasons(name, events)


def _place_comes(pod: Pod, events: Sequence[Event]) -> bool:
    """Return whether a Pod that cannot be scheduled gets a place: of preempted Pods, or on a new node."""
    is_nominated = bool(pod["status"].get("nominatedNodeName"))
    return is_nominated or any(event.get("reason") in _NODE_COMES for event in events)


def _container_reason(
    pod: str, status: ContainerStatus, memory_limit: str, events: Sequence[Event]
) -> Doomed | None:
    name = status["name"]
    where = f"container {name!r} of Pod {pod}"
    waiting = status.get("state", {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    ended = _ended(status)
    if ended.get("reason") == "OOMKilled":
        limit = f", its limit is {memory_limit}" if memory_limit else ""
        return Doomed(f"{where} ran out of memory (OOMKilled{limit})", pod, name, _previous(status))
    if reason in PULL_REASONS and (_backs_off(reason, events) or _NOT_THERE.search(message)):
        why = pull_cause(_last_failed_pull(events)) or pull_cause(message) or reason
        image = status.get("image", "")
        return Doomed(f"image {image!r} cannot be pulled: {why}", image=image)
    if reason == "CreateContainerConfigError" and "failed to sync" not in message:
        return Doomed(f"{where} cannot be configured: {_line(message)}")
    if reason in _NEVER:
        return Doomed(f"{where} cannot be started ({reason}): {_line(message)}", pod, name)
    again = status.get("restartCount", 0) > 0 and bool(status.get("state", {}).get("terminated"))
    if reason == "CrashLoopBackOff" or again:
        return _crash(where, pod, name, ended, previous=_previous(status))
    return None


def _crash(where: str, pod: str, container: str, ended: TerminatedState, *, previous: bool) -> Doomed:
    code = ended.get("exitCode", "unknown")
    text = f"{where} crashes again and again (exit code {code})"
    if ended.get("reason") in ("ContainerCannotRun", "StartError") or code == _TRANSIENT_EXIT:
        return Doomed(f"{text}: {_line(ended.get('message', ''))}")
    return Doomed(text, pod, container, previous)


def _event_reasons(pod: str, events: Sequence[Event]) -> Iterator[Doomed]:
    for event in events:
        message = _line(event.get("message", ""))
        if event.get("reason") == "Killing" and "probe" in message and "will be restarted" in message:
            why = _last_probe_failure(events, _kind_of_probe(message))
            yield Doomed(f"Pod {pod}: {message}" + (f" ({why})" if why else ""), pod)
        if event.get("reason") == "FailedMount" and _MISSING_VOLUME.search(message):
            yield Doomed(f"Pod {pod} cannot start: {message}")


def _log_reasons(pod: Pod, log: str) -> Iterator[Doomed]:
    """Yield the log's line on a missing model, if the Pod has no other container that could bring it."""
    if (line := _no_model(log)) and len(pod["spec"]["containers"]) == 1:
        image = next(iter(pod["spec"]["containers"])).get("image", "IMAGE")
        yield Doomed(
            f"the server in Pod {pod['metadata']['name']} has no model to load: {line}; "
            f"`pytest-tfserving bake {image} MODEL_DIR NEW_IMAGE` makes an image with a model in it"
        )


def _no_model(log: str) -> str:
    found = _NO_MODEL.findall(log)
    return _line(found[-1]) if found else ""


def _backs_off(reason: str, events: Sequence[Event]) -> bool:
    """Return whether a pull backs off. The event comes up to ten seconds before the container's state."""
    told = any(_line(each.get("message", "")) == "Error: ImagePullBackOff" for each in events)
    return told or reason == "ImagePullBackOff"


def _last_failed_pull(events: Sequence[Event]) -> str:
    """Return why the last pull failed, from events, since the state of a container in back-off lacks it."""
    messages = [_line(each.get("message", "")) for each in events if each.get("reason") == "Failed"]
    return next((text for text in reversed(messages) if text.startswith("Failed to pull image")), "")


def _last_probe_failure(events: Sequence[Event], kind: str = "") -> str:
    """Return the message of the last failed probe, of a ``kind`` if it is given."""
    messages = [_line(each.get("message", "")) for each in events if each.get("reason") == "Unhealthy"]
    return next((text for text in reversed(messages) if text.startswith(kind)), "")


def _kind_of_probe(killing: str) -> str:
    """Return the kind of probe that a container is killed for, as messages of failed probes begin."""
    return next((kind for kind in ("Liveness", "Startup") if kind.lower() in killing), "")


# --- waiting ---


def _progress(snapshot: Snapshot) -> State:
    meta, status = snapshot.deployment["metadata"], snapshot.deployment.get("status", {})
    if status.get("observedGeneration", 0) < meta.get("generation", 1):
        return Waiting("the cluster has not seen the Deployment yet")
    wanted = snapshot.deployment["spec"]["replicas"]
    pods = current_pods(snapshot)
    ready = [pod for pod in pods if is_ready(pod)]
    if len(ready) == wanted == len(pods):
        return Ready(tuple(pod["metadata"]["name"] for pod in ready))
    late = next((pod for pod in pods if not is_ready(pod)), None)
    why = _late_because(snapshot, late) if late else "Pods are being made"
    return Waiting(f"{len(ready)} of {wanted} replicas are ready: {why}")


def _late_because(snapshot: Snapshot, pod: Pod) -> str:
    line = _no_model(snapshot.logs.get(pod["metadata"]["name"], ""))
    waits = _pod_waits(pod, _events_of(snapshot, pod))
    return f"Pod {pod['metadata']['name']}: {line}" if line else waits


def _pod_waits(pod: Pod, events: Sequence[Event]) -> str:
    name = pod["metadata"]["name"]
    for container in _statuses(pod):
        state = container.get("state", {})
        if waiting := state.get("waiting"):
            reason, message = waiting.get("reason"), waiting.get("message", "")
            cause = pull_cause(message) if reason in PULL_REASONS else _line(message)
            return f"Pod {name}: {reason}" + (f": {cause}" if cause else "")
        if "running" in state:
            probe = _last_probe_failure(events)
            return f"Pod {name} is starting" + (f" ({probe})" if probe else "")
        if "terminated" in state:
            return (
                f"Pod {name} ended with exit code {state['terminated'].get('exitCode')} and is started again"
            )
    trouble = next((each for each in reversed(events) if each.get("type") == "Warning"), None)
    if trouble:
        return f"Pod {name}: {_line(trouble['message'])}"
    gate = next((each for each in _conditions(pod) if each.get("reason") == "SchedulingGated"), None)
    return f"Pod {name}: {_line(gate['message'])}" if gate else f"Pod {name} is being scheduled"


# --- looking into objects ---


def is_starting(pod: Pod) -> bool:
    """Return whether a container of a Pod runs, and the Pod is not ready for requests yet."""
    return not is_ready(pod) and any("running" in each.get("state", {}) for each in _statuses(pod))


def _leaving(snapshot: Snapshot) -> bool:
    return any("deletionTimestamp" in pod["metadata"] for pod in snapshot.pods)


def _statuses(pod: Pod) -> list[ContainerStatus]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _conditions(thing: Pod | DeploymentObject | ReplicaSet) -> list[Condition]:
    return thing.get("status", {}).get("conditions") or []


def _ended(status: ContainerStatus) -> TerminatedState:
    return (
        status.get("state", {}).get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    )


def _previous(status: ContainerStatus) -> bool:
    """Return whether a container that ended runs again, so that its log is the previous one."""
    return "terminated" not in status.get("state", {}) and "running" in status.get("state", {})


def _limit(pod: Pod, container: str) -> str:
    """Return the memory limit of a container, else that of its Pod; empty without one."""
    spec = pod["spec"]
    own = [
        each for each in (*spec.get("initContainers", ()), *spec["containers"]) if each["name"] == container
    ]
    limits = [(each.get("resources", {}).get("limits") or {}).get("memory") for each in (*own, spec)]
    return next((limit for limit in limits if limit), "")


def _events_of(snapshot: Snapshot, thing: KubernetesObject) -> list[Event]:
    """Return the events about an object, by time."""
    found = [
        event for event in snapshot.events if event["involvedObject"].get("uid") == thing["metadata"]["uid"]
    ]
    return sorted(found, key=when)


def when(event: Event) -> str:
    """Return when an event was last seen, in ISO 8601; empty if it is not known."""
    return str(
        event.get("lastTimestamp")
        or (event.get("series") or {}).get("lastObservedTime")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def _line(text: str) -> str:
    return one_line(text, LONGEST_REASON)
