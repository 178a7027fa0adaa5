"""Load from Pods of a real cluster: what it measures, what it leaves, what becomes of it when Pods die."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from harness import TESTS
from needs import API_SERVER, run_given

if TYPE_CHECKING:
    from harness import Project
    from kubectl import Kubectl

pytestmark = pytest.mark.needs("docker", "kubernetes")

EXPERIMENTS = """
defaults: {model: ./models/half_plus_two, payload: request.json, profile: tiny}
load_pods: {cpu: 300m, memory: 512Mi}
profiles:
  tiny:
    {users: 8, spawn_rate: 8, run_time_s: 8, think_time_s: 0.2, request_timeout_s: 20, max_lag_ms: 2000,
     max_cpu_wait: 1, early_stop: false}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["rps>=1"]}
"""
IN_CLUSTER = "--tfserving-load-in-cluster"
LOCUSTFILE = """
import json
import os
from locust import FastHttpUser, constant, task

class Asks(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def predict(self):
        self.client.post("/v1/models/half_plus_two:predict", data=json.dumps({"instances": [[1.0]]}))
"""
# Kills the first load Pod, and says when.
KILLS_A_LOAD_POD = """
import subprocess
import threading
import time
from pytest_tfserving.targets.kubernetes.kustomize import kubectl

def kill(serving):
    seen = serving.environment
    where = [f"--context={seen['context']}", f"--namespace={seen['namespace']}"]
    which = f"--selector=pytest-tfserving/load-of={seen['run']}"
    look = [kubectl(), *where, "logs", which, "--tail=5"]
    while '"tick"' not in subprocess.run(look, check=False, capture_output=True, text=True).stdout:
        time.sleep(0.2)  # between two looks
    end = ["delete", "pods", which, "--grace-period=0", "--force"]
    subprocess.run([kubectl(), *where, *end], check=True, capture_output=True)

def test_gate(serving, load):
    killer = threading.Thread(target=kill, args=(serving,))
    killer.start()
    try:
        load(run_time_s=120).check()
    finally:
        killer.join()
"""


@pytest.fixture
def small(project: Project) -> Project:
    (project.pytester.path / "request.json").write_text('{"instances": [[1.0], [2.0], [5.0]]}')
    project.write(EXPERIMENTS)
    return project


def test_it_measures_what_load_from_here_measures(small: Project, cluster: Kubectl) -> None:
    """By two processes, with a master; one alone is that of a locustfile, below."""
    _, (here,) = small.results(*cluster.options, server=False)

    run, (there,) = small.results(*cluster.options, IN_CLUSTER, "--tfserving-load-processes=2", server=False)

    run.assert_outcomes(passed=1)
    assert there["via"].endswith("load from Pods of the cluster")
    assert there["generator"]["processes"] == 2
    assert (there["verdict"], there["total_errors"]) == ("PASS", 0)
    # The think time makes the rate: eight users, five times a second at most.
    assert there["metrics"]["rps"] == pytest.approx(here["metrics"]["rps"], rel=0.1)
    assert there["total_requests"] == pytest.approx(there["run_s"] * there["metrics"]["rps"], rel=0.15)
    assert cluster.left() == []


def test_users_of_a_locustfile_go_along(small: Project, cluster: Kubectl) -> None:
    path = small.pytester.path / "asks.py"
    path.write_text(LOCUSTFILE)

    options = [IN_CLUSTER, f"--tfserving-locustfile={path}", "--tfserving-run-time=5s"]
    run, (result,) = small.results(*cluster.options, *options, server=False)

    run.assert_outcomes(passed=1)
    assert result["generator"]["processes"] == 1
    assert result["total_requests"] > 100
    assert result["total_errors"] == 0


def test_a_locustfile_that_cannot_be_imported_shows_its_own_traceback(
    small: Project, cluster: Kubectl
) -> None:
    path = small.pytester.path / "asks.py"
    path.write_text("import nothing_of_the_kind\n")

    run = small.run(*cluster.options, IN_CLUSTER, f"--tfserving-locustfile={path}", server=False)

    run.stdout.fnmatch_lines(["*asks.py cannot be imported: ModuleNotFoundError: *nothing_of_the_kind*"])
    assert cluster.left() == []


def test_a_load_pod_that_dies_makes_the_run_invalid(small: Project, cluster: Kubectl) -> None:
    small.write(EXPERIMENTS, KILLS_A_LOAD_POD)

    run, (result,) = small.results(*cluster.options, IN_CLUSTER, server=False)

    run.assert_outcomes(failed=1)
    assert result["verdict"] == "INVALID"
    run.stdout.fnmatch_lines(["*the load Pod tfserving-load-* was lost*"])
    assert result["total_requests"] > 0
    assert cluster.left() == []


@pytest.mark.needs("api-server")
def test_an_api_server_that_is_away_loses_no_request(small: Project, cluster: Kubectl) -> None:
    run_given(API_SERVER, "start")
    small.write(EXPERIMENTS.replace("run_time_s: 8", "run_time_s: 30"), TESTS)
    hook = """
import subprocess, threading

def outage(command):
    subprocess.run(["sh", "-c", f"sleep 15; {command} stop; sleep 10; {command} start"], check=True)

def pytest_fixture_setup(fixturedef):
    if fixturedef.argname == "load":
        threading.Thread(target=outage, args=(COMMAND,)).start()
"""
    command = json.dumps(os.environ[API_SERVER])
    (small.pytester.path / "conftest.py").write_text(hook.replace("COMMAND", command))

    run, (result,) = small.results(*cluster.options, IN_CLUSTER, server=False)

    run_given(API_SERVER, "start")
    run.assert_outcomes(passed=1)
    assert (result["verdict"], result["total_errors"]) == ("PASS", 0)
    assert result["total_requests"] == pytest.approx(result["run_s"] * result["metrics"]["rps"], rel=0.1)
    # Kubelets count every ten to fifteen seconds, so that an outage can leave a single count.
    throttled = result["server"]["throttled"]
    assert throttled is None or 0 <= throttled <= 1
    assert cluster.left() == []


def test_an_image_without_us_is_said(small: Project, cluster: Kubectl) -> None:
    run = small.run(*cluster.options, IN_CLUSTER, "--tfserving-load-image=pause:local", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*no load from the cluster: *needs pytest-tfserving in it*"])
    assert cluster.left() == []
