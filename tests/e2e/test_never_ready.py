"""Deployments on a real cluster that never become ready: each ends with its reason, and at once.

With ``TFSERVING_E2E_RECORD`` they write what the cluster said into that folder, as tests/recorded has it.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness import Project
    from kubectl import Kubectl

pytestmark = pytest.mark.needs("docker", "kubernetes")

EXPERIMENTS = """
defaults: {model: ./models/half_plus_two, payload: request.json}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, batching: BATCHING, slo: ["rps>=1"]}
"""
# Changes the manifests by the test's patch, and writes down when the failure was told.
CONFTEST = """
import json
import time
from pathlib import Path

PATCH = json.loads(Path(__file__).with_name("patch.json").read_text())

def merge(into, patch):
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value

def pytest_tfserving_manifests(manifests):
    for each in manifests:
        if each["kind"] == "ConfigMap":
            each["data"].update(PATCH["config"])
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            merge(pod, PATCH["pod"])
            merge(pod["containers"][0], PATCH["container"])

def pytest_runtest_logreport(report):
    if report.failed:
        Path(__file__).with_name("told").write_text(str(time.time()))
"""
TOLD_WITHIN_S = 5
# The cluster tells times in whole seconds, the one in which something happened.
CLOCK_S = 1
EXIT_3 = ["python3", "-c", "print('the disk is full'); raise SystemExit(3)"]
NO_PAGE = {
    "httpGet": {"path": "/nowhere", "port": "rest"},
    "tcpSocket": None,
    "periodSeconds": 1,
    "failureThreshold": 2,
}
KEY = {"configMapKeyRef": {"name": "absent", "key": "level"}}
# A server whose model is too large may read its own code from disk again and again before that.
TAKE_MEMORY = ["python3", "-c", "held = [b'x' * 2**24 for _ in range(10**4)]"]
LITTLE = {"cpu": "1", "memory": "140Mi"}
ABSENT = [{"name": "tmp", "emptyDir": {}}, {"name": "monitoring", "configMap": {"name": "absent"}}]

# Which part of the manifests is changed and how, the event or end that tells the cluster, and what is told.
STATES: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing image": (
        {"container": {"image": "localhost:1/nothing:1"}},
        "Failed",
        "image 'localhost:1/nothing:1' cannot be pulled: *",
    ),
    "crashing container": (
        {"container": {"command": EXIT_3}},
        "BackOff",
        "container 'serving' of Pod * crashes again and again (exit code 3): the disk is full",
    ),
    "too little memory": (
        {"container": {"command": TAKE_MEMORY, "resources": {"requests": LITTLE, "limits": LITTLE}}},
        "OOMKilled",
        "container 'serving' of Pod * ran out of memory (OOMKilled, its limit is 140Mi)*",
    ),
    "unschedulable": (
        {"pod": {"nodeSelector": {"disk": "none-such"}}},
        "FailedScheduling",
        "Pod * cannot be scheduled: 0/2 nodes are available: * node(s) didn't match *",
    ),
    "a ConfigMap that is not there": (
        {"container": {"env": [{"name": "LEVEL", "valueFrom": KEY}]}},
        "Failed",
        "container 'serving' of Pod * cannot be configured: configmap \"absent\" not found",
    ),
    "a volume that is not there": (
        {"pod": {"volumes": ABSENT}},
        "FailedMount",
        'Pod * cannot start: *configmap "absent" not found',
    ),
    "a batching file that does not parse": (
        {"config": {"batching_config.txt": "max_batch_size { value: many }"}},
        "BackOff",
        "container 'serving' of Pod * crashes again and again (exit code *): *batching_config.txt*",
    ),
    "a probe that fails": (
        {"container": {"startupProbe": None, "livenessProbe": NO_PAGE, "readinessProbe": NO_PAGE}},
        "Killing",
        "Pod *: Container serving failed liveness probe, will be restarted (*404)*",
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_the_reason_is_told_at_once(project: Project, cluster: Kubectl, state: str) -> None:
    patch, sign, reason = STATES[state]
    folder = project.pytester.path
    project.write(EXPERIMENTS.replace("BATCHING", "true" if "config" in patch else "false"))
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "patch.json").write_text(json.dumps({"config": {}, "pod": {}, "container": {}, **patch}))
    (folder / "request.json").write_text('{"instances": [[1.0]]}')
    before = {each["metadata"]["uid"] for each in cluster.ours()}

    run = project.run(*cluster.options, "--tfserving-keep=always", server=False)

    kept = [each for each in cluster.ours() if each["metadata"]["uid"] not in before]
    try:
        run.assert_outcomes(failed=1)
        run.stdout.fnmatch_lines([f"*{reason}"])
        told_s = float((folder / "told").read_text())
        (namespace,) = [each["metadata"]["name"] for each in kept if each["kind"] == "Namespace"]
        known_s = _known_s(cluster, namespace, sign)
        assert told_s - known_s < TOLD_WITHIN_S + CLOCK_S
        record(cluster, namespace, state.replace(" ", "_"))
    finally:
        for each in kept:
            if each["kind"] == "Namespace":
                cluster.drop(each["metadata"]["name"])


def test_one_that_is_ready(project: Project, cluster: Kubectl) -> None:
    project.write(EXPERIMENTS.replace("BATCHING", "false"), "def test_ready(serving):\n    assert serving\n")
    (project.pytester.path / "request.json").write_text('{"instances": [[1.0]]}')
    before = {each["metadata"]["uid"] for each in cluster.ours()}

    project.run(*cluster.options, "--tfserving-keep=always", server=False).assert_outcomes(passed=1)

    (kept,) = [
        each["metadata"]["name"]
        for each in cluster.ours()
        if each["metadata"]["uid"] not in before and each["kind"] == "Namespace"
    ]
    record(cluster, kept, "ready")
    cluster.drop(kept)


def record(cluster: Kubectl, namespace: str, name: str) -> None:
    """Write what the cluster says of a deployment, if that is asked for."""
    folder = os.environ.get("TFSERVING_E2E_RECORD")
    if not folder:
        return
    said = {
        kind: [_short(each) for each in cluster.items(kind, f"--namespace={namespace}")]
        for kind in ("deployments", "replicasets", "pods", "events")
    }
    if name == "ready":
        said["nodes"] = [_short(each) for each in cluster.items("nodes")]
    text = json.dumps(said, indent=1, sort_keys=True)
    (Path(folder) / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _short(thing: dict[str, Any]) -> dict[str, Any]:
    """An object without what nobody reads: who set which field, and the images a node has."""
    thing["metadata"].pop("managedFields", None)
    thing.get("status", {}).pop("images", None)
    return thing


def _known_s(cluster: Kubectl, namespace: str, sign: str) -> float:
    """When the cluster first told of an event, or of the end of a container, for this reason."""
    events = cluster.items("events", f"--namespace={namespace}")
    times = [each.get("firstTimestamp") or each.get("eventTime") for each in events if each["reason"] == sign]
    for pod in cluster.items("pods", f"--namespace={namespace}"):
        for status in pod["status"].get("containerStatuses") or ():
            ends = [status[when].get("terminated") or {} for when in ("state", "lastState")]
            times += [end["finishedAt"] for end in ends if end.get("reason") == sign]
    assert times, f"nothing of {sign} in {[each['reason'] for each in events]}"
    return min(_seconds(each) for each in times)


def _seconds(moment: object) -> float:
    return datetime.fromisoformat(str(moment)).astimezone(UTC).timestamp()
