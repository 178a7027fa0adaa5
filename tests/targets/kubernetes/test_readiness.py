"""Whether a deployment is ready, will be or never will, by what a real cluster said of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

from cluster_snapshots import FOLDER, NEWER, said
from pytest_tfserving.targets.kubernetes.diagnostics import events_text
from pytest_tfserving.targets.kubernetes.readiness import Doomed, Ready, Snapshot, Waiting, doomed, state_of
from servers.odd_server import NASTY

if TYPE_CHECKING:
    from pytest_tfserving.targets.kubernetes.objects import Condition, Event, ObjectReference, WaitingState

REASONS = {
    "missing_image": (
        "image 'localhost:1/nothing:1' cannot be pulled: Head \"http://*\": dial tcp 127.0.0.1:1: connect: *"
    ),
    "crashing_container": "container 'serving' of Pod * crashes again and again (exit code 3)",
    "too_little_memory": ("container 'serving' of Pod * ran out of memory (OOMKilled, its limit is 140Mi)"),
    "unschedulable": "Pod * cannot be scheduled: 0/2 nodes are available: *",
    "a_ConfigMap_that_is_not_there": (
        "container 'serving' of Pod * cannot be configured: configmap \"absent\" not found"
    ),
    "a_volume_that_is_not_there": 'Pod * cannot start: *configmap "absent" not found',
    "a_batching_file_that_does_not_parse": (
        "container 'serving' of Pod * crashes again and again (exit code 1)"
    ),
    "a_probe_that_fails": "Pod *: Container serving failed liveness probe, will be restarted (*404)",
}
# In the words of kubelets, schedulers and autoscalers of Kubernetes 1.31 and later.
NEWER_DOOMED = {
    "a_registry_that_forbids_the_image": (
        "image 'ghcr.io/acme/resnet:1' cannot be pulled: failed to authorize: *: 403 Forbidden"
    ),
    "a_back_off_that_repeats_the_error": (
        "image 'registry.invalid/resnet:1' cannot be pulled: Head *: no such host"
    ),
    "a_signature_that_does_not_fit": (
        "image 'registry.example/resnet:1' cannot be pulled: SignatureValidationFailed: "
        "no signature of a trusted key"
    ),
    "unschedulable_without_victims": (
        "Pod * cannot be scheduled: 0/3 nodes are available: * no new claims to deallocate, preemption: *"
    ),
    "out_of_the_memory_of_the_pod": (
        "container 'serving' of Pod * ran out of memory (OOMKilled, its limit is 140Mi)"
    ),
    "a_probe_that_takes_too_long": (
        "Pod *: Container serving failed liveness probe, will be restarted (*context deadline exceeded*)"
    ),
    "a_startup_probe_with_an_error": (
        "Pod *: Container serving failed startup probe, will be restarted (Startup probe errored and *)"
    ),
}
NEWER_WAITING = {
    "a_registry_that_is_away": "*: Pod *: RegistryUnavailable: image pull failed for * 503 Service *",
    "unschedulable_until_victims_are_gone": "*: Pod *: 0/3 nodes are available: * preemption: *",
    "unschedulable_until_a_node_comes": "*: Pod *: 0/3 nodes are available: * preemption: *",
    "a_scheduling_gate": "*: Pod *: Scheduling is blocked due to non-empty scheduling gates",
}


@pytest.fixture
def ready() -> Snapshot:
    """A deployment of one replica that is ready, to be changed."""
    return copy.deepcopy(said("ready").snapshot)


def test_every_recording_is_looked_at() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {*REASONS, "ready"}
    assert {path.stem for path in NEWER.glob("*.json")} == {*NEWER_DOOMED, *NEWER_WAITING}


@pytest.mark.parametrize("name", REASONS)
def test_a_deployment_without_a_future(name: str) -> None:
    state = state_of(said(name).snapshot)

    assert isinstance(state, Doomed)
    assert fnmatchcase(state.reason, REASONS[name]), state.reason
    assert "\n" not in state.reason


@pytest.mark.parametrize("name", NEWER_DOOMED)
def test_a_deployment_without_a_future_in_the_words_of_newer_versions(name: str) -> None:
    state = state_of(said(name, NEWER).snapshot)

    assert isinstance(state, Doomed)
    assert fnmatchcase(state.reason, NEWER_DOOMED[name]), state.reason


@pytest.mark.parametrize("name", NEWER_WAITING)
def test_a_deployment_that_can_still_get_ready_in_the_words_of_newer_versions(name: str) -> None:
    state = state_of(said(name, NEWER).snapshot)

    assert isinstance(state, Waiting)
    assert fnmatchcase(state.reason, NEWER_WAITING[name]), state.reason


def test_a_repeated_event_of_the_newer_api_is_shown_once_with_its_last_time_and_its_count() -> None:
    (line,) = events_text(said("unschedulable_without_victims", NEWER).snapshot).splitlines()

    assert line.startswith("2026-11-24T15:41:02.118243Z FailedScheduling Pod/")
    assert line.endswith("(7 times)")


def test_a_probe_that_fails_later_does_not_hide_the_one_that_the_container_is_killed_for() -> None:
    snapshot = said("a_probe_that_fails").snapshot
    failed = next(each for each in snapshot.events if each["reason"] == "Unhealthy")
    later: Event = {**failed, "lastTimestamp": "9999-01-01T00:00:00Z"}
    later["message"] = "Readiness probe failed: connection refused"

    state = state_of(replace(snapshot, events=[*snapshot.events, later]))

    assert isinstance(state, Doomed)
    assert fnmatchcase(state.reason, REASONS["a_probe_that_fails"]), state.reason


def test_one_that_is_ready(ready: Snapshot) -> None:
    state = state_of(ready)

    assert state == Ready((ready.pods[0]["metadata"]["name"],))
    assert doomed(ready) is None


def test_a_deployment_that_the_cluster_has_not_seen(ready: Snapshot) -> None:
    ready.deployment["metadata"]["generation"] += 1

    assert state_of(ready) == Waiting("the cluster has not seen the Deployment yet")


def test_one_without_pods_yet(ready: Snapshot) -> None:
    assert state_of(replace(ready, pods=[])) == Waiting("0 of 1 replicas are ready: Pods are being made")


def test_one_whose_pod_is_not_ready_yet_and_why(ready: Snapshot) -> None:
    (pod,) = ready.pods
    next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")["status"] = "False"
    name = pod["metadata"]["name"]

    assert state_of(replace(ready, events=[])) == Waiting(
        f"0 of 1 replicas are ready: Pod {name} is starting"
    )
    (pod["status"]["containerStatuses"][0])["state"] = {"waiting": {"reason": "ContainerCreating"}}
    assert state_of(replace(ready, events=[])) == Waiting(
        f"0 of 1 replicas are ready: Pod {name}: ContainerCreating"
    )


def test_a_pod_on_its_way_out_does_not_count(ready: Snapshot) -> None:
    leaving = copy.deepcopy(ready.pods[0])
    leaving["metadata"] |= {"name": "old", "uid": "old", "deletionTimestamp": "2030-01-01T00:00:00Z"}

    assert isinstance(state_of(replace(ready, pods=[*ready.pods, leaving])), Ready)


def test_a_pod_that_waits_for_room_that_another_leaves(ready: Snapshot) -> None:
    stuck = said("unschedulable").snapshot
    leaving = copy.deepcopy(ready.pods[0])
    leaving["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"

    state = state_of(replace(stuck, pods=[*stuck.pods, leaving]))

    assert isinstance(state, Waiting)
    assert "nodes are available" in state.reason


def test_a_node_that_comes_is_waited_for() -> None:
    stuck = copy.deepcopy(said("unschedulable").snapshot)
    grows = copy.deepcopy(stuck.events[0])
    grows |= {"reason": "TriggeredScaleUp", "message": "pod triggered scale-up"}
    grows["involvedObject"]["uid"] = stuck.pods[0]["metadata"]["uid"]

    assert isinstance(state_of(replace(stuck, events=[*stuck.events, grows])), Waiting)


def test_a_pull_that_failed_once_is_tried_again() -> None:
    snapshot = copy.deepcopy(said("missing_image").snapshot)
    waiting: WaitingState = {"reason": "ErrImagePull", "message": "dial tcp: i/o timeout"}
    snapshot.pods[0]["status"]["containerStatuses"][0]["state"] = {"waiting": waiting}

    state = state_of(replace(snapshot, events=[]))

    assert isinstance(state, Waiting)
    assert "i/o timeout" in state.reason


@pytest.mark.parametrize("message", ["manifest unknown", "repository does not exist", "unauthorized"])
def test_a_pull_that_cannot_succeed_is_not(message: str) -> None:
    snapshot = copy.deepcopy(said("missing_image").snapshot)
    waiting: WaitingState = {"reason": "ErrImagePull", "message": message}
    snapshot.pods[0]["status"]["containerStatuses"][0]["state"] = {"waiting": waiting}

    assert isinstance(state_of(replace(snapshot, events=[])), Doomed)


def test_a_cluster_that_makes_no_pods(ready: Snapshot) -> None:
    quota: Condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: compute"}
    ready.replica_sets[0]["status"]["conditions"] = [quota]

    assert state_of(replace(ready, pods=[])) == Doomed("the cluster makes no Pods: exceeded quota: compute")


def test_a_server_that_waits_for_a_model_nobody_brings(ready: Snapshot) -> None:
    (pod,) = ready.pods
    line = "No versions of servable m found under base path /models/m"
    logs = {pod["metadata"]["name"]: f"starting\n{line}\n"}

    assert doomed(replace(ready, logs=logs)) == Doomed(
        f"the server in Pod {pod['metadata']['name']} has no model to load: {line}; `pytest-tfserving bake "
        f"{pod['spec']['containers'][0]['image']} MODEL_DIR NEW_IMAGE` makes an image with a model in it"
    )
    pod["spec"]["containers"].append({"name": "brings-the-model"})
    assert doomed(replace(ready, logs=logs)) is None


def test_what_others_wrote_into_events_and_logs_is_cleaned(ready: Snapshot) -> None:
    (pod,) = ready.pods
    about: ObjectReference = {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    event: Event = {
        "reason": "Killing",
        "message": f"probe {NASTY} will be restarted",
        "involvedObject": about,
        "metadata": {},
    }
    snapshot = replace(ready, events=[event], logs={about["name"]: f"No versions of servable {NASTY}"})

    state = state_of(snapshot)
    assert isinstance(state, Doomed)
    texts = [events_text(snapshot), state.reason]

    assert all("@octocat https://evil.invalid `x` |" in text for text in texts)
    assert all(text.isprintable() for text in texts)
