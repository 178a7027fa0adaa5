"""Several replicas, and several clusters: who serves what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project
    from kubectl import Kubectl

pytestmark = pytest.mark.needs("docker", "kubernetes")

EXPERIMENTS = """
defaults: {model: ./models/half_plus_two, payload: request.json, profile: tiny, slo: ["rps>=1"]}
profiles:
  tiny:
    {users: 8, spawn_rate: 8, run_time_s: 8, think_time_s: 0.01, request_timeout_s: 20, max_lag_ms: 2000,
     max_cpu_wait: 1, early_stop: false}
experiments:
"""
ON_TWO_NODES = "  - {shape: 1cpu-1gb-2n, inter_op: 1, protocol: %s}\n"
ONE_AFTER_THE_OTHER = "  - {shape: 1cpu-1gb-1n, inter_op: [1, 2]}\n"
GATE = "def test_gate(load):\n    load().check()\n"
# Writes how many requests each replica has served of the run.
COUNTED = """
import json
import pathlib
import requests
from pytest_tfserving.server_side.prometheus import PATH, parse_metrics

def counts(serving):
    with requests.Session() as session:
        session.trust_env = False
        pages = [session.get(f"{each}{PATH}", timeout=20).text for each in serving.endpoints]
    return [parse_metrics(page).get("request_count", 0) for page in pages]

def test_gate(serving, load):
    before = counts(serving)
    load().check()
    served = [last - first for first, last in zip(before, counts(serving))]
    pathlib.Path("served.json").write_text(json.dumps(served))
"""


@pytest.fixture
def small(project: Project) -> Project:
    (project.pytester.path / "request.json").write_text('{"instances": [[1.0], [2.0], [5.0]]}')
    return project


@pytest.fixture
def two_contexts(cluster: Kubectl, project: Project) -> Path:
    """A kubeconfig with two local contexts; one cluster answers to both."""
    found = json.loads(cluster("config", "view", "--raw", "--minify", "--output=json"))
    context = found["contexts"][0]["context"]
    found["contexts"] = [{"name": name, "context": context} for name in ("kind-one", "kind-two")]
    path = project.pytester.path / "two.yaml"
    path.write_text(yaml.safe_dump({**found, "current-context": "kind-one"}))
    return path


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_replicas_on_two_nodes_serve_half_of_the_requests_each(
    small: Project, cluster: Kubectl, protocol: str
) -> None:
    small.write(EXPERIMENTS + ON_TWO_NODES % protocol, COUNTED)

    run, (result,) = small.results(*cluster.options, server=False)

    run.assert_outcomes(passed=1)
    assert len(set(result["environment"]["replica_nodes"])) == 2
    served = json.loads((small.pytester.path / "served.json").read_text())
    assert len(served) == 2
    assert sum(served) == pytest.approx(result["total_requests"], rel=0.02)
    assert min(served) == pytest.approx(sum(served) / 2, rel=0.1)


def test_each_worker_of_xdist_has_a_cluster_of_its_own(
    small: Project, cluster: Kubectl, two_contexts: Path
) -> None:
    small.write(EXPERIMENTS + ONE_AFTER_THE_OTHER, GATE)
    contexts = ("kind-one", "kind-two")
    options = [
        f"--tfserving-kubeconfig={two_contexts}",
        *(f"--tfserving-context={each}" for each in contexts),
    ]
    options += ["--tfserving-target=kubernetes", f"--tfserving-image={cluster.image}"]

    run, results = small.results(*options, "-n2", "--dist=load", server=False)

    run.assert_outcomes(passed=2)
    assert sorted(result["environment"]["context"] for result in results) == list(contexts)
    # It is one cluster all the same, which the Lease in it knows.
    run.stderr.fnmatch_lines(["* waits for its turn on cluster kind-*: * is measuring 1cpu-1gb-1n-interop*"])
    run.stderr.no_fnmatch_line("*waits for its turn on this machine*")
    assert cluster.left() == []
