"""Target kubernetes when things go wrong around it: its API server, other runs, its own end."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from harness import PATIENCE_S, TESTS, until
from kubectl import carried
from needs import API_SERVER, run_given
from pytest_tfserving.experiments.experiment import BYTES_PER_GB
from pytest_tfserving.experiments.quantity import quantity
from pytest_tfserving.targets.common.ownership import MANAGED_BY, OWNER, RUN, US, Owner, OwnershipLabels
from pytest_tfserving.targets.kubernetes.cluster_lock import NAME, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import Project
    from kubectl import Kubectl

pytestmark = pytest.mark.needs("docker", "kubernetes")

EXPERIMENTS = """
defaults: {model: ./models/half_plus_two, payload: request.json, profile: tiny}
profiles:
  tiny:
    {users: 2, spawn_rate: 2, run_time_s: 5, think_time_s: 0.01, request_timeout_s: 20, max_lag_ms: 2000,
     max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["rps>=1"]}
"""
AWAY_S = 20
# What pytest says when the model is ready, and when it has been loaded for some seconds.
DEPLOYED, LOADED = "first requests", " rps"
# Takes the API server away the moment that load is over, and has it brought back.
AWAY_FROM_THE_END_ON = """
import subprocess

def pytest_tfserving_result(result):
    subprocess.run(["sh", "-c", "{command} stop"], check=True, capture_output=True)
    subprocess.Popen(
        ["sh", "-c", "sleep {away_s}; {command} start"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
"""
# Has a Pod's readiness probe fail from some seconds after its first success on, and writes after load whether
# the Pod is ready and what a new connection to it says.
READY_FOR_A_WHILE = """
import json
import pathlib
import subprocess
import urllib.request
from pytest_tfserving.targets.kubernetes.kustomize import kubectl

SINCE = "[ -e /tmp/since ] || date +%s > /tmp/since; [ $(($(date +%s) - $(cat /tmp/since))) -lt 6 ]"

def pytest_tfserving_manifests(manifests):
    (deployment,) = [each for each in manifests if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    probe = {"exec": {"command": ["sh", "-c", SINCE]}, "periodSeconds": 1, "failureThreshold": 1}
    container["readinessProbe"] = probe

def pytest_tfserving_result(result):
    seen = result.environment
    where = [f"--context={seen['context']}", f"--namespace={seen['namespace']}"]
    ready = "{.items[*].status.conditions[?(@.type == 'Ready')].status}"
    look = [kubectl(), *where, "get", "pods", f"--output=jsonpath={ready}"]
    said = subprocess.run(look, check=True, capture_output=True, text=True).stdout
    url = f"{result.endpoints[0]}/v1/models/half_plus_two"
    try:
        answer = urllib.request.urlopen(url, timeout=5).status
    except OSError as error:
        answer = str(error)
    pathlib.Path("seen.json").write_text(json.dumps([said, answer]))
"""


class Run:
    """A pytest process in the project's folder."""

    def __init__(self, project: Project, cluster: Kubectl, options: tuple[str, ...], name: str) -> None:
        self._output = project.pytester.path / name
        # Runs of one machine take turns by a file in its folder for temporary ones.
        own = project.pytester.path / f"{name}-temporary"
        own.mkdir()
        program = [sys.executable, "-u", "-m", "pytest", "-p", "no:locust", *cluster.options, *options]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                program,
                cwd=project.pytester.path,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(own)},
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text(errors="replace")

    def until(self, text: str) -> None:
        """Wait until it has printed ``text``."""
        until(lambda: text in self.output or self.process.poll() is not None, f"{text!r} in the output")
        assert text in self.output, self.output

    def end(self, number: signal.Signals | None = None) -> int:
        """Its exit code, after a signal if one is to be sent."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(3 * PATIENCE_S)


@pytest.fixture
def small(project: Project) -> Project:
    (project.pytester.path / "request.json").write_text('{"instances": [[1.0], [2.0], [5.0]]}')
    project.write(EXPERIMENTS)
    return project


@pytest.fixture
def started(small: Project, cluster: Kubectl) -> Iterator[Callable[..., Run]]:
    """Starts pytest; what still runs at the end of the test is ended."""
    runs: list[Run] = []

    def start(*options: str) -> Run:
        runs.append(Run(small, cluster, options, f"output{len(runs)}"))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.end(signal.SIGTERM)


@pytest.fixture
def strangers(cluster: Kubectl) -> Iterator[list[dict[str, Any]]]:
    """Objects that a test makes, which are deleted after it."""
    made: list[dict[str, Any]] = []
    yield made
    for each in made:
        where = each["metadata"].get("namespace")
        within = [f"--namespace={where}"] if where else []
        cluster("delete", each["kind"], each["metadata"]["name"], "--ignore-not-found", *within)


def cleanup(project: Project, cluster: Kubectl, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command that deletes what is left over."""
    allowed = f"[pytest]\ntfserving_allowed_contexts = {cluster.context}\n"
    (project.pytester.path / "pytest.ini").write_text(allowed)
    program = [sys.executable, "-m", "pytest_tfserving.cli", "cleanup", "--target", "kubernetes"]
    command = [*program, "--context", cluster.context, *options]
    return subprocess.run(command, cwd=project.pytester.path, capture_output=True, text=True, check=False)


def config_map(name: str, labels: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default", "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


@pytest.mark.needs("api-server")
def test_an_api_server_that_is_away_during_load_changes_nothing(
    started: Callable[..., Run], small: Project, cluster: Kubectl
) -> None:
    run_given(API_SERVER, "start")
    run = started("--tfserving-json=out.json", "--tfserving-early-stop=no", "--tfserving-run-time=32s")
    run.until(LOADED)
    try:
        run_given(API_SERVER, "stop")
        time.sleep(AWAY_S)  # the outage itself
        assert run.process.poll() is None, run.output
    finally:
        run_given(API_SERVER, "start")

    assert run.end() == 0, run.output
    (result,) = json.loads((small.pytester.path / "out.json").read_text())["results"]
    assert (result["verdict"], result["total_errors"]) == ("PASS", 0)
    assert cluster.of_process(run.process.pid) == []


@pytest.mark.needs("api-server")
def test_an_api_server_that_is_away_during_teardown_leaves_nothing(small: Project, cluster: Kubectl) -> None:
    run_given(API_SERVER, "start")
    command = shlex.join(shlex.split(os.environ[API_SERVER]))
    hook = AWAY_FROM_THE_END_ON.format(command=command, away_s=AWAY_S)
    (small.pytester.path / "conftest.py").write_text(hook)

    run = small.run(*cluster.options, server=False)

    run.assert_outcomes(passed=1)
    run.stdout.no_fnmatch_line("*not all is deleted*")
    assert cluster.left() == []


def test_a_replica_that_fails_its_readiness_probe_is_loaded_all_the_same(
    small: Project, cluster: Kubectl
) -> None:
    (small.pytester.path / "conftest.py").write_text(READY_FOR_A_WHILE)

    run, (result,) = small.results(
        *cluster.options, "--tfserving-early-stop=no", "--tfserving-run-time=12s", server=False
    )

    run.assert_outcomes(passed=1)
    assert (result["verdict"], result["total_errors"]) == ("PASS", 0)
    assert json.loads((small.pytester.path / "seen.json").read_text()) == ["False", 200]


def test_a_second_run_waits_and_says_for_whom(started: Callable[..., Run], cluster: Kubectl) -> None:
    first = started("--tfserving-early-stop=no", "--tfserving-run-time=5m")
    first.until(DEPLOYED)
    second = started()

    second.until("waits for its turn on cluster")

    lease = cluster(
        "get", "lease", NAME, f"--namespace={NAMESPACE}", "--output=jsonpath={.spec.holderIdentity}"
    )
    holder = lease.rsplit("-", 1)[0]
    assert f"{holder} is measuring 1cpu-1gb-1n-interop1 (its lease ends in " in second.output
    assert cluster.of_process(second.process.pid) == []
    first.end(signal.SIGTERM)
    assert second.end() == 0, second.output
    assert cluster.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_interrupted_leaves_nothing(
    started: Callable[..., Run], cluster: Kubectl, number: signal.Signals
) -> None:
    run = started("--tfserving-early-stop=no", "--tfserving-run-time=5m")
    run.until(LOADED)

    run.end(number)

    assert cluster.of_process(run.process.pid) == []


def test_ctrl_c_twice_leaves_nothing(started: Callable[..., Run], cluster: Kubectl) -> None:
    run = started("--tfserving-early-stop=no", "--tfserving-run-time=5m")
    run.until(LOADED)
    run.process.send_signal(signal.SIGINT)
    run.until("KeyboardInterrupt")

    run.end(signal.SIGINT)

    def gone() -> bool:
        return all("deletionTimestamp" in each["metadata"] for each in cluster.of_process(run.process.pid))

    until(gone, "the deletion of everything")


def test_what_a_killed_run_left_goes_at_the_next_start_and_a_strangers_stays(
    started: Callable[..., Run], small: Project, cluster: Kubectl, strangers: list[dict[str, Any]]
) -> None:
    killed = started("--tfserving-early-stop=no", "--tfserving-run-time=5m")
    killed.until(DEPLOYED)
    killed.end(signal.SIGKILL)
    (left,) = [each for each in cluster.of_process(killed.process.pid) if each["kind"] == "Namespace"]
    run = carried(left)[RUN]
    elsewhere = Owner("another machine", 1, 0.0)
    living = OwnershipLabels("living", owner=elsewhere)
    expired = OwnershipLabels("expired", owner=elsewhere, lifetime=timedelta(seconds=-1))
    strangers += [
        config_map("nobodys", {}, {}),
        config_map("somebodys", {MANAGED_BY: "somebody", RUN: run}, {OWNER: carried(left)[OWNER]}),
        config_map("unknown", {MANAGED_BY: US}, {}),
        config_map("living", living.labels, living.annotations),
        config_map("expired", expired.labels, expired.annotations),
    ]
    cluster.apply(*strangers)

    small.run(*cluster.options, server=False).assert_outcomes(passed=1)

    until(lambda: cluster.of_process(killed.process.pid) == [], "the end of what was left")
    stayed = {each["metadata"]["name"] for each in cluster.items("configmaps", "--namespace=default")}
    assert {"nobodys", "somebodys", "unknown", "living"} <= stayed
    assert "expired" not in stayed


def test_the_command_cleans_up_what_a_killed_run_left(
    started: Callable[..., Run], small: Project, cluster: Kubectl
) -> None:
    killed = started("--tfserving-early-stop=no", "--tfserving-run-time=5m")
    killed.until(DEPLOYED)
    killed.end(signal.SIGKILL)

    done = cleanup(small, cluster)

    assert done.returncode == 0, done.stderr
    assert "deleted namespaces/pytest-tfserving-" in done.stdout
    until(lambda: cluster.of_process(killed.process.pid) == [], "the end of what was left")


def test_a_run_that_is_killed_while_load_alternates_leaves_neither_server(
    started: Callable[..., Run], small: Project, cluster: Kubectl
) -> None:
    against = f"--tfserving-against=image:{cluster.image}"
    killed = started("--tfserving-early-stop=no", "--tfserving-run-time=5m", against)
    killed.until(" rps, p95 ")
    pods = [each for each in cluster.of_process(killed.process.pid) if each["kind"] == "Pod"]
    killed.end(signal.SIGKILL)

    done = cleanup(small, cluster)

    assert len(pods) == 2
    assert len({each["spec"]["nodeName"] for each in pods}) == 1
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("deleted namespaces/pytest-tfserving-") == 2
    until(lambda: cluster.of_process(killed.process.pid) == [], "the end of what was left")


def test_a_given_namespace_is_refused_for_two_servers(small: Project, cluster: Kubectl) -> None:
    run = small.run(
        *cluster.options,
        "--tfserving-namespace=default",
        f"--tfserving-against=image:{cluster.image}",
        server=False,
    )

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*: the namespace 'default' cannot hold two servers, whose objects have *"])
    assert cluster.left() == []


def test_two_servers_without_room_for_both_are_refused(small: Project, cluster: Kubectl) -> None:
    most = max(quantity(node["status"]["allocatable"]["memory"]) for node in cluster.items("nodes"))
    shape = f"1cpu-{int(0.8 * most / BYTES_PER_GB)}gb-1n"
    small.write(EXPERIMENTS.replace("1cpu-1gb-1n", shape))

    run = small.run(*cluster.options, f"--tfserving-against=image:{cluster.image}", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([f"*: both servers have to fit: {shape} needs a node with *, and as much RAM *"])
    assert cluster.left() == []


def test_a_deployment_is_kept_with_how_to_look_and_how_to_delete(small: Project, cluster: Kubectl) -> None:
    small.write(EXPERIMENTS, TESTS)

    run, (result,) = small.results(*cluster.options, "--tfserving-keep=always", server=False)

    seen = result["environment"]
    look = f"kubectl --context {cluster.context} --namespace {seen['namespace']}"
    run.stdout.fnmatch_lines([f"kept 1cpu-1gb-1n-interop1: look at it with `{look} get all,events` *"])
    assert cluster.items("pods", f"--namespace={seen['namespace']}")
    told = next(line for line in run.outlines if line.startswith("kept 1cpu"))
    command = f"pytest-tfserving cleanup --run {seen['run']}"
    assert f"; delete it with `{command}`" in told
    done = cleanup(small, cluster, *command.split()[2:])
    assert done.returncode == 0, done.stderr
    assert cluster.left() == []
