"""A pull that failed: its cause in the words of a cluster, which each report prints once."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from cluster_snapshots import NEWER, said
from pytest_tfserving.targets.kubernetes.diagnostics import events_text
from pytest_tfserving.targets.kubernetes.pull_error import pull_cause, repeats

if TYPE_CHECKING:
    from harness import Project
    from idle_cluster import IdleCluster
    from pytest_tfserving.targets.kubernetes.objects import Event

CAUSE = "dial tcp 127.0.0.1:1: connect: connection refused"
EXPERIMENTS = """
experiments:
  - {shape: 1cpu-1gb-3n, inter_op: 1, model: ./models/half, payload: request.json, slo: ["rps>=1"]}
"""
OPTIONS = (
    *("--tfserving-target=kubernetes", "--tfserving-image=localhost:1/nothing:1"),
    *("--tfserving-namespace=mine", "--tfserving-keep=always"),
)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            'Failed to pull image "a:1": rpc error: code = Unknown desc = failed to pull and unpack image '
            '"docker.io/library/a:1": failed to resolve reference "docker.io/library/a:1": failed to do '
            'request: Head "https://a/v2": dial tcp: i/o timeout',
            'Head "https://a/v2": dial tcp: i/o timeout',
        ),
        (
            'Back-off pulling image "a:1": ErrImagePull: failed to pull and unpack image "a:1": '
            'failed to resolve reference "a:1": a:1: not found',
            "a:1: not found",
        ),
        (
            "rpc error: code = NotFound desc = initializing source docker://a:1: reading manifest 1 in a: "
            "manifest unknown",
            "initializing source docker://a:1: reading manifest 1 in a: manifest unknown",
        ),
        (
            'Failed to pull image "a:1": Error response from daemon: pull access denied for a',
            "Error response from daemon: pull access denied for a",
        ),
        ('Failed to pull image "a:1": RegistryUnavailable: 503', "RegistryUnavailable: 503"),
        ('Back-off pulling image "a:1"', ""),
        ("Error: ErrImagePull", ""),
        ("Error: ImagePullBackOff", ""),
        ("", ""),
    ],
)
def test_the_cause_is_found_in_what_each_layer_repeats(message: str, cause: str) -> None:
    assert pull_cause(message) == cause


def test_a_message_is_repeated_if_its_cause_is_there_in_other_words() -> None:
    told = "last: Pod a: RegistryUnavailable: the registry of a:1 is unavailable: 503 Service Unavailable"

    assert repeats('Failed to pull image "a:1": RegistryUnavailable: 503 Service Unavailable', told)
    assert not repeats('Failed to pull image "a:1": 401 Unauthorized', told)
    assert not repeats('Back-off pulling image "a:1"', told)


def replicas(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Pods whose image cannot be pulled, one in the back-off of newer kubelets, and their events."""
    recorded = json.dumps([said("missing_image").pods, said("missing_image").events])
    pods: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number in range(count):
        named = recorded.replace("5857947c46-7wn7r", f"5857947c46-{number}")
        (pod,), own = json.loads(named.replace("219b2092", f"{number:08}"))
        pod["metadata"].update(labels={}, annotations={}, namespace="mine")
        waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
        if number == 1:
            again = 'Back-off pulling image "localhost:1/nothing:1": ErrImagePull: '
            waiting["message"] = f"{again}{waiting['message']}"
            waiting["reason"] = "ImagePullBackOff"
        for each in own:
            each["metadata"] |= {"name": f"{each['metadata']['name']}-{number}", "namespace": "mine"}
            each["count"] = 2
        pods.append(pod)
        events.extend(own)
    return pods, events


def test_each_report_has_the_cause_once(project: Project, cluster: IdleCluster) -> None:
    project.write(EXPERIMENTS)
    project.monkeypatch.setenv("COLUMNS", "400")
    cluster.create_namespace("mine")
    pods, events = replicas(3)
    for kind, things in (("pods", pods), ("events", events)):
        for each in things:
            cluster.objects[f"/api/v1/namespaces/mine/{kind}/{each['metadata']['name']}"] = each

    run = project.run(*OPTIONS, "-rf", "--junit-xml=out.xml", "--tfserving-json=out.json", server=False)

    run.assert_outcomes(failed=1)
    text = run.stdout.str()
    before, _, after = text.partition("serving performance")
    failure = before.partition("FAILURES")[2]
    table, _, last = after.partition("short test summary info")
    assert [part.count(CAUSE) for part in (failure, table, last)] == [1, 1, 1], text
    assert failure.count("localhost:1/nothing:1") == 2, "the image, and the command that brings it"
    assert "Failed Pod/tfserving-5857947c46-2 and 2 more: the error above (6 times)" in failure
    assert "ErrImagePull" not in failure
    assert failure.count("kubelet does not have ClusterDNS IP") == 1
    (case,) = ET.parse(project.pytester.path / "out.xml").iter("testcase")
    assert [failed.text.count(CAUSE) for failed in case.iter("failure") if failed.text] == [1]
    assert [failed.attrib["message"].count(CAUSE) for failed in case.iter("failure")] == [1]
    assert json.dumps(case.attrib).count(CAUSE) == 0
    (result,) = json.loads((project.pytester.path / "out.json").read_text())["results"]
    assert result["aborted"].count(CAUSE) == 1


def test_events_of_a_registry_that_is_away_repeat_nothing() -> None:
    snapshot = said("a_registry_that_is_away", NEWER).snapshot
    told = "image pull failed for registry.example/resnet:1: 503 Service Unavailable"

    assert "503" not in events_text(snapshot, told)
    assert "503" in events_text(snapshot)


def test_events_with_other_messages_keep_lines_of_their_own() -> None:
    snapshot = said("unschedulable").snapshot
    scheduling = next(each for each in snapshot.events if each["reason"] == "FailedScheduling")
    other: Event = copy.deepcopy(scheduling)
    other["message"] = "0/2 nodes are available: 2 Insufficient cpu."

    text = events_text(replace(snapshot, events=[scheduling, other]))

    assert len(text.splitlines()) == 2
