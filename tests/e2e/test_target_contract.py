"""What every target does for the same perf tests, on real servers, engines and clusters."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psutil
import pytest

from harness import until
from needs import IMAGE
from pytest_tfserving.targets.common.ownership import MANAGED_BY, US, OrphanRule
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker

    from harness import Project
    from kubectl import Kubectl

EXPERIMENTS = """
defaults: {model: ./models/half_plus_two, payload: request.json, profile: tiny}
profiles:
  tiny:
    {users: 2, spawn_rate: 2, run_time_s: 20, think_time_s: 0.01, request_timeout_s: 20, max_lag_ms: 2000,
     max_cpu_wait: 1}
batching_parameters: {max_batch_size: 4}
experiments:
  - shape: 1cpu-1gb-1n
    inter_op: 1
    batching: false
    slo: ["rps>=1", "errors<5%"]
"""
GATE = """
def test_gate(load):
    load().check()
"""
ROWS = """
import requests

def test_rows(serving):
    with requests.Session() as session:
        session.trust_env = False
        url = f"{serving.endpoints[0]}{serving.path}:predict"
        answer = session.post(url, json={"instances": [1.0, 2.0, 5.0]}, timeout=20)
    assert answer.json()["predictions"] == [2.5, 3.0, 4.5]
"""
# A request above the largest batch is refused, and only a server that has read the batching file knows how
# large that is.
ASKED = """
import requests
from pytest_tfserving.server_side.prometheus import read_metrics

def answer(serving, rows):
    url = f"{serving.endpoints[0]}{serving.path}:predict"
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, json={"instances": [[1.0]] * rows}, timeout=20)

def test_metrics(serving):
    assert read_metrics(serving) is not None

def test_four_rows(serving):
    assert answer(serving, 4).json()["predictions"] == [[2.5]] * 4

def test_five_rows(serving):
    refused = answer(serving, 5)
    assert refused.status_code == 400, refused.text
    assert "larger than maximum" in refused.text, refused.text
"""
# Kubelets count what CPU limits do every few seconds.
KEPT_BUSY = """
import time

def test_cpu(serving, load):
    load(users=8, spawn_rate=8, think_time_s=0.0, run_time_s=20 if LIMITS else 3)
    text, deadline = "", time.monotonic() + 60
    while LIMITS and not text and time.monotonic() < deadline:
        text = dict(serving.evidence()).get("CPU limits", "")
    assert not LIMITS or ": its CPU limit throttled it in " in text
"""
KILLED_WHILE_LOADED = """
import threading
import time
from pytest_tfserving.server_side.prometheus import read_metrics

%s

def kill_when_loaded(serving):
    while (read_metrics(serving) or {}).get("request_count", 0) < 50:
        time.sleep(0.05)
    kill(serving)

def test_gate(serving, load):
    killer = threading.Thread(target=kill_when_loaded, args=(serving,))
    killer.start()
    try:
        load(run_time_s=60, early_stop=False).check()
    finally:
        killer.join()
"""


class Target:
    """A target under test: its options, how its server is killed, and what it may leave."""

    name = ""
    # Python for a perf test: a function that kills the server behind a deployment.
    kill = ""
    # What is shown of a server that was killed, and beside it; of one above its RAM; of a model that is none.
    cause_of_death = ""
    evidence = "log of replica 0"
    out_of_memory = "*replica 0 * RAM*node's 1 GB*"
    does_not_load = "replica 0 exited with code 1 (*{name: broken version: 1} due to error: *)"

    def options(self) -> list[str]:
        """What pytest is given to run on it."""
        return [f"--tfserving-target={self.name}"]

    def left(self) -> list[str]:
        """What is left of runs that are over."""
        raise NotImplementedError


class Local(Target):
    """Processes of this machine."""

    name = "local"
    kill = """
import psutil
def kill(serving):
    family = psutil.Process().children(recursive=True)
    (server,) = [each for each in family if "pytest_tfserving.model_server" in each.cmdline()
                 and "-c" not in each.cmdline()]
    server.kill()
"""
    cause_of_death = "replica 0 was killed by signal 9*"

    def left(self) -> list[str]:
        """Servers whose files lie in the test's own temporary folder."""
        found = psutil.process_iter(["pid", "cmdline"])
        commands = {str(each.info["pid"]): " ".join(each.info["cmdline"] or ()) for each in found}
        ours = f"={os.environ['TMPDIR']}/"
        return [
            pid for pid, text in commands.items() if "pytest_tfserving.model_server" in text and ours in text
        ]


class Docker(Target):
    """Containers of an engine."""

    name = "docker"
    kill = """
import docker
def kill(serving):
    client = docker.from_env()
    label = f"pytest-tfserving/run={serving.environment['run']}"
    for container in client.containers.list(filters={"label": label}):
        container.kill()
    client.close()
"""
    cause_of_death = "replica 0 was killed by signal 9*"

    def __init__(self, engine: docker.DockerClient) -> None:
        self._engine = engine

    def options(self) -> list[str]:
        """With this project's image."""
        return [*super().options(), f"--tfserving-image={IMAGE}"]

    def left(self) -> list[str]:
        """Containers whose run is over."""
        ours = self._engine.containers.list(
            all=True, filters={"label": f"{MANAGED_BY}={US}"}, ignore_removed=True
        )
        return [str(each.name) for each in ours if OrphanRule(kept=True).include(each.labels)]


class Kubernetes(Target):
    """Pods of a cluster."""

    name = "kubernetes"
    kill = """
import subprocess
from pytest_tfserving.targets.kubernetes.kustomize import kubectl
def kill(serving):
    seen = serving.environment
    which = ["--selector=pytest-tfserving/run=" + seen["run"]]
    def run(*args):
        where = [f"--context={seen['context']}", f"--namespace={seen['namespace']}"]
        subprocess.run([kubectl(), *where, *args, *which], check=True, capture_output=True)
    # Else the next Pod may be there before one request in twenty has failed.
    run("scale", "deployment", "--replicas=0")
    run("delete", "pods", "--grace-period=0", "--force", "--ignore-not-found")
"""
    cause_of_death = "server: Pod tfserving-* was lost, seen at *"
    evidence = "events"
    out_of_memory = "*container 'serving' of Pod tfserving-* ran out of memory (OOMKilled, its limit is 1Gi)*"
    does_not_load = (
        "container 'serving' of Pod tfserving-* crashes again and again (exit code 1): "
        "*{name: broken version: 1} due to error: *"
    )

    def __init__(self, cluster: Kubectl) -> None:
        self._cluster = cluster

    def options(self) -> list[str]:
        """With the image that has the models."""
        return self._cluster.options

    def left(self) -> list[str]:
        """Objects whose run is over."""
        return self._cluster.left()


class Url(Target):
    """A server that somebody else has started."""

    name = "url"
    kill = """
import os, signal
def kill(serving):
    os.kill(int(os.environ["SERVER_PID"]), signal.SIGKILL)
"""
    cause_of_death = "* x cannot connect: connection refused"
    evidence = ""

    def __init__(self, project: Project, stack: ExitStack) -> None:
        self._project = project
        self._stack = stack

    def options(self) -> list[str]:
        """With the address of a server of the project's model."""
        folder = self._project.pytester.path / "models" / "half_plus_two"
        monitoring = self._project.pytester.path / "monitoring.txt"
        monitoring.write_text('prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }')
        flags = [f"--monitoring_config_file={monitoring}"]
        server = self._stack.enter_context(Server("half_plus_two", folder, *flags))
        self._project.monkeypatch.setenv("SERVER_PID", str(server.process.pid))
        return [*super().options(), f"--tfserving-url={server.model}"]

    def left(self) -> list[str]:
        """Nothing: nothing is deployed."""
        return []


DEPLOYING = (
    pytest.param("local", marks=pytest.mark.needs("long-runs")),
    pytest.param("docker", marks=pytest.mark.needs("docker")),
    pytest.param("kubernetes", marks=pytest.mark.needs("docker", "kubernetes")),
)
ALL = (*DEPLOYING, pytest.param("url", marks=pytest.mark.needs("long-runs")))


@pytest.fixture
def target(request: pytest.FixtureRequest, project: Project) -> Iterator[Target]:
    """The target that the test is parametrised by, if it is here."""
    with ExitStack() as stack:
        if request.param == "local":
            yield Local()
        elif request.param == "docker":
            yield Docker(request.getfixturevalue("engine"))
        elif request.param == "kubernetes":
            yield Kubernetes(request.getfixturevalue("cluster"))
        else:
            yield Url(project, stack)


@pytest.fixture
def real(project: Project, half_plus_two: Path) -> Project:
    """A project with a real model."""
    models = project.pytester.path / "models"
    (models / "half_plus_two").symlink_to(half_plus_two)
    (project.pytester.path / "request.json").write_text('{"instances": [[1.0], [2.0], [5.0]]}')
    project.write(EXPERIMENTS, GATE)
    return project


@pytest.mark.parametrize("target", ALL, indirect=True)
def test_it_serves_is_loaded_is_judged_and_leaves_nothing(target: Target, real: Project) -> None:
    """The signature says [-1, 1]; TensorFlow Serving holds neither requests nor answers to that."""
    real.write(EXPERIMENTS, GATE + ROWS)

    run, (result,) = real.results(*target.options(), server=False)

    run.assert_outcomes(passed=2)
    assert (result["target"], result["verdict"], result["total_errors"]) == (target.name, "PASS", 0)
    assert result["total_requests"] > 20
    assert result["via"]
    assert len(result["endpoints"]) == 1
    assert target.left() == []


@pytest.mark.parametrize("target", DEPLOYING, indirect=True)
def test_several_models_are_served_together(target: Target, real: Project, greedy: Path) -> None:
    (real.pytester.path / "models" / "greedy").symlink_to(greedy)
    (real.pytester.path / "greedy.json").write_text('{"instances": [4.0]}')
    single = "model: ./models/half_plus_two, payload: request.json"
    greedy_one = "model: ./models/greedy, payload: greedy.json"
    real.write(EXPERIMENTS.replace(single, f"models: [{{{single}}}, {{{greedy_one}}}]"), GATE)

    run, (result,) = real.results(*target.options(), "--tfserving-run-time=3", server=False)

    run.assert_outcomes(passed=1)
    assert (list(result["kinds"]), result["errors"]) == (["half_plus_two", "greedy"], {})
    assert target.left() == []


@pytest.mark.parametrize("target", DEPLOYING, indirect=True)
def test_flags_and_batching_are_in_effect(target: Target, real: Project) -> None:
    real.write(EXPERIMENTS.replace("batching: false", "batching: true"), ASKED)

    real.run(*target.options(), server=False).assert_outcomes(passed=3)


@pytest.mark.parametrize("target", DEPLOYING, indirect=True)
def test_a_replica_has_no_more_cores_than_its_node(target: Target, real: Project) -> None:
    real.write(EXPERIMENTS, KEPT_BUSY.replace("LIMITS", str(target.name == "kubernetes")))

    run, (result,) = real.results(*target.options(), server=False)

    run.assert_outcomes(passed=1)

    assert 0.1 < result["server"]["cores"] < 1.1, result["server"]


@pytest.mark.parametrize("target", DEPLOYING, indirect=True)
def test_a_replica_has_no_more_ram_than_its_node(target: Target, real: Project, greedy: Path) -> None:
    models = real.pytester.path / "models"
    (models / "greedy").symlink_to(greedy)
    (real.pytester.path / "request.json").write_text(json.dumps({"instances": [3e9]}))
    real.write(EXPERIMENTS.replace("half_plus_two", "greedy"), GATE)

    run = real.run(*target.options(), server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([target.out_of_memory])
    assert target.left() == []


@pytest.mark.parametrize("target", DEPLOYING, indirect=True)
def test_a_model_that_does_not_load_is_said_with_the_reason(target: Target, real: Project) -> None:
    broken = real.pytester.path / "models" / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"no model")
    real.write(EXPERIMENTS.replace("half_plus_two", "broken"), GATE)

    run = real.run(*target.options(), server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([target.does_not_load])
    assert target.left() == []


@pytest.mark.parametrize("target", ALL, indirect=True)
def test_a_server_that_dies_under_load_fails_the_test_with_its_end(target: Target, real: Project) -> None:
    real.write(EXPERIMENTS, KILLED_WHILE_LOADED % target.kill)

    run, (result,) = real.results(*target.options(), "--junit-xml=out.xml", server=False)

    run.assert_outcomes(failed=1)
    assert result["verdict"] == "FAIL"
    run.stdout.fnmatch_lines([f"*{target.cause_of_death}*"])
    junit = (real.pytester.path / "out.xml").read_text()
    if target.evidence:
        assert "\n".join(run.outlines).count(f" Captured {target.evidence}") == 1
        assert junit.count(f'name="{target.evidence}') == 1
    until(lambda: target.left() == [], "the end of what was deployed")
