"""Planted regressions against a baseline server: each is found and named, its twin without the fault is not.

On an engine the faults are large, so that verdicts come within seconds.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from control_groups import cpu_limit
from harness import FAKE_SERVER, TESTS
from needs import LOAD_IMAGE, run_given

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import docker

    from harness import Project
    from kubectl import Kubectl

    # Makes a server that behaves in some way, and returns its name in options.
    Making = Callable[[dict[str, Any]], str]

EXPERIMENTS = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
batching_parameters: {max_batch_size: 64, batch_timeout_micros: 100}
profiles:
  tiny: {users: %d, spawn_rate: 8, run_time_s: 90, think_time_s: %g, request_timeout_s: 5,
    max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, batching: %s, slo: %s}
"""
LIMITS = {
    "p50": "p50<=+5%",
    "p99": "p99<=+100%",
    "rps": "rps>=-5%",
    "errors": "errors<=+0.1%",
}
WIDE_LIMITS = {
    "p50": "p50<=+100%",
    "p95": "p95<=+200%",
    "p99": "p99<=+200%",
    "rps": "rps>=-60%",
    "errors": "errors<=+1%",
}
# The faults are far larger than what the machine does to latencies, however long it remembers.
SHORT_MEMORY = "--tfserving-noise-memory=1"
GOOD = {"latencies_ms": [20]}
# How a server behaves, and its verdict on each metric.
FAULTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "all requests are 10 % slower": ({"latencies_ms": [22]}, {"p50": "FAIL", "rps": "FAIL"}),
    "one request in twenty is slower": (
        {"latencies_ms": [*[20] * 19, 100]},
        {"p50": "PASS", "p99": "FAIL"},
    ),
    "one request in 200 fails": (
        {"mode": "http500", "after": 50, "every": 200},
        {"p50": "PASS", "errors": "FAIL"},
    ),
    "no fault": ({}, {"p50": "PASS"}),
}
LARGE_FAULTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "all requests are slower": ({"latencies_ms": [100]}, {"p50": "FAIL", "rps": "FAIL"}),
    "one request in ten is slower": ({"latencies_ms": [*[20] * 9, 100]}, {"p50": "PASS", "p99": "FAIL"}),
    "one request in eight fails": (
        {"mode": "http500", "after": 50, "every": 8},
        {"p50": "PASS", "errors": "FAIL"},
    ),
    "no fault": ({}, {"p50": "PASS", "p95": "PASS", "rps": "PASS"}),
}
OTHER_VALUES = {"mode": "other_values", "after": 50, "every": 100}
LOCK = {"lock": True}
COLD = {"cold": [100, 0.3]}
THROTTLED = {"throttle": [30, 120]}
BATCHES_WAIT = "max_batch_size { value: 64 } batch_timeout_micros { value: 20000 }"
TWO_MODELS = """
model_config_list {
  config { name: "half" base_path: "%s" model_platform: "tensorflow" }
  config { name: "other" base_path: "%s" model_platform: "tensorflow" }
}
"""
# A server that computes all the time, and a twentieth of a core for it.
BUSY = {"latencies_ms": [0]}
PERIOD_US, QUOTA_US = 100_000, 5_000
LIMITING = f"""
import docker

def test_gate(serving, load):
    for each in docker.from_env().containers.list(filters={{{{"ancestor": "{{}}"}}}}):
        each.update(cpu_period={PERIOD_US}, cpu_quota={QUOTA_US})
    load().check()
"""
# A second model of the server gets a new version again and again.
NEW_VERSIONS = """
(n=1
while sleep 4; do n=$((n + 1)); cp -r {model} {folder}/.next; mv {folder}/.next {folder}/$n; done) &
"""
# The embedded server, whose loads of models take the cores from requests.
GREEDY_LOADS = """
import os, runpy

os.setpriority = lambda *_: None
runpy.run_module("pytest_tfserving.model_server", run_name="__main__", alter_sys=True)
"""
DOCKERFILE = """
FROM python:3.11-slim-bookworm
COPY fake_server.py /
ENV FAKE_SERVER='%s'
ENTRYPOINT ["python3", "/fake_server.py"]
"""


def write(  # noqa: PLR0913 - what differs from test to test
    project: Project,
    metrics: Iterable[str],
    users: int = 2,
    think_s: float = 0.0,
    *,
    limits: Mapping[str, str] = WIDE_LIMITS,
    batching: bool = False,
    tests: str = TESTS,
) -> None:
    """Write the experiment with the SLOs on these metrics."""
    slos = json.dumps([limits[each] for each in metrics])
    project.write(EXPERIMENTS % (users, think_s, json.dumps(batching), slos), tests)


def verdicts(result: dict[str, Any]) -> dict[str, str]:
    """The verdict on each SLO on a change, by its metric."""
    names = {slo: metric for limits in (LIMITS, WIDE_LIMITS) for metric, slo in limits.items()}
    return {names[each["slo"]]: each["verdict"] for each in result["slos"] if each["slo"] in names}


class Servers:
    """Servers of a target of which two are compared."""

    def __init__(self, project: Project, kind: str, making: Making, *options: str) -> None:
        self.project = project
        self.making = making
        self._kind = kind
        self._options = options

    def compared(self, candidate: str, baseline: str) -> dict[str, Any]:
        """Return the result of a comparison."""
        option = f"--tfserving-{self._kind}={candidate}"
        against = f"--tfserving-against={self._kind}:{baseline}"
        _, (result,) = self.project.results(*self._options, option, against, SHORT_MEMORY, server=False)
        assert isinstance(result, dict)
        return result

    def found(self, fault: dict[str, Any], behaving: dict[str, Any]) -> dict[str, Any]:
        """Return the result of a faulty candidate."""
        return self.compared(self.making(behaving | fault), self.making(behaving))


def program(project: Project, before: str, *command: str) -> str:
    """Write a shell script that ends in a command of this Python; return its path."""
    folder = project.pytester.path
    path = folder / f"program{len([*folder.glob('program*')])}"
    path.write_text(f"#!/bin/sh\n{before}\nexec {sys.executable} {' '.join(command)}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def embedded(project: Project, before: str = "", *flags: str) -> str:
    """Return the path of the embedded server with further flags."""
    return program(project, before, "-m pytest_tfserving.model_server", '"$@"', *flags)


class Images:
    """Images of stand-in servers, each built once and removed at the end."""

    def __init__(self, engine: docker.DockerClient, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        self._tags: dict[str, str] = {}
        self._in_cluster: set[str] = set()

    def tag(self, how: dict[str, Any]) -> str:
        """Return the tag of the image of a server that behaves so."""
        behaviour = json.dumps({**how, "host": "0.0.0.0"})
        if behaviour not in self._tags:
            shutil.copy(FAKE_SERVER, self._folder)
            (self._folder / "Dockerfile").write_text(DOCKERFILE % behaviour, encoding="utf-8")
            # Tests of two engines run at the same time, and each removes its images.
            self._tags[behaviour] = f"pytest-tfserving-e2e-fake:{secrets.token_hex(4)}"
            self._engine.images.build(path=str(self._folder), tag=self._tags[behaviour], rm=True)
        return self._tags[behaviour]

    def tag_in_cluster(self, how: dict[str, Any]) -> str:
        """Return the tag of an image that the cluster's nodes have."""
        tag = self.tag(how)
        if tag not in self._in_cluster:
            run_given(LOAD_IMAGE, tag)
            self._in_cluster.add(tag)
        return tag

    def remove(self) -> None:
        """Remove all images from the engine."""
        for tag in self._tags.values():
            self._engine.images.remove(tag, force=True)


@pytest.fixture(scope="module")
def images(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    made = Images(engine, tmp_path_factory.mktemp("image"))
    yield made
    made.remove()


@pytest.fixture
def servers(request: pytest.FixtureRequest, project: Project) -> Servers:
    """Servers of the target that the test is parametrised by."""
    if request.param == "local":
        return local_servers(project)
    images: Images = request.getfixturevalue("images")
    if request.param == "docker":
        return Servers(project, "image", images.tag, "--tfserving-target=docker")
    cluster: Kubectl = request.getfixturevalue("cluster")
    return Servers(project, "image", images.tag_in_cluster, *cluster.options)


def local_servers(project: Project) -> Servers:
    """Stand-in servers on this machine."""

    def made(how: dict[str, Any]) -> str:
        return program(project, f"export FAKE_SERVER='{json.dumps(how)}'", str(FAKE_SERVER), '"$@"')

    return Servers(project, "server", made)


@pytest.fixture
def local(project: Project) -> Servers:
    return local_servers(project)


@pytest.fixture
def real(project: Project, half_plus_two: Path) -> Project:
    """A project with a real model."""
    models = project.pytester.path / "models"
    (models / "half" / "1").rmdir()
    (models / "half").rmdir()
    (models / "half").symlink_to(half_plus_two)
    (project.pytester.path / "request.json").write_text('{"instances": [[1.0], [2.0], [5.0]]}')
    return project


TARGETS = [
    pytest.param("local", marks=pytest.mark.needs("long-runs")),
    pytest.param("docker", marks=pytest.mark.needs("docker")),
    pytest.param("kubernetes", marks=pytest.mark.needs("docker", "kubernetes")),
]


@pytest.mark.needs("long-runs")
@pytest.mark.parametrize(("fault", "expected"), FAULTS.values(), ids=FAULTS)
def test_only_what_is_worse_by_more_than_five_percent_fails(
    local: Servers, fault: dict[str, Any], expected: dict[str, str]
) -> None:
    write(local.project, expected, limits=LIMITS, users=16 if "errors" in expected else 2)

    result = local.found(fault, GOOD)

    assert verdicts(result) == expected, result["slos"]


@pytest.mark.parametrize("servers", TARGETS[1:], indirect=True)
@pytest.mark.parametrize(("fault", "expected"), LARGE_FAULTS.values(), ids=LARGE_FAULTS)
def test_only_what_is_worse_fails(servers: Servers, fault: dict[str, Any], expected: dict[str, str]) -> None:
    write(servers.project, expected)

    result = servers.found(fault, GOOD)

    assert verdicts(result) == expected, result["slos"]
    if "errors" in expected:
        assert "0 on the baseline server: HTTP 500: out of cheese" in str(result["comparison"]["differences"])


@pytest.mark.parametrize("servers", TARGETS, indirect=True)
def test_one_other_response_in_a_hundred_fails_with_an_example(servers: Servers) -> None:
    write(servers.project, ["errors"])

    result = servers.found(OTHER_VALUES, GOOD)

    assert result["verdict"] == "FAIL"
    assert result["aborted"].endswith(", as [5.0, 6.0, 9.0] for [2.5, 3.0, 4.5]")


@pytest.mark.needs("long-runs")
@pytest.mark.parametrize(("users", "verdict"), [(8, "FAIL"), (1, "PASS")])
def test_a_lock_is_found_only_by_several_users(local: Servers, users: int, verdict: str) -> None:
    write(local.project, ["p50"], users)

    assert verdicts(local.found(LOCK, GOOD)) == {"p50": verdict}


@pytest.mark.needs("long-runs")
@pytest.mark.parametrize(("think_s", "verdict"), [(0.3, "FAIL"), (0.0, "PASS")])
def test_a_slow_request_after_idleness_is_found_only_by_load_with_pauses(
    local: Servers, think_s: float, verdict: str
) -> None:
    write(local.project, ["p50"], users=1, think_s=think_s)

    assert verdicts(local.found(COLD, GOOD)) == {"p50": verdict}


@pytest.mark.needs("long-runs")
def test_a_server_that_often_stands_still_is_found(local: Servers) -> None:
    write(local.project, ["p95"])

    assert verdicts(local.found(THROTTLED, GOOD)) == {"p95": "FAIL"}


@pytest.fixture
def limited() -> Iterator[str]:
    """A command that moves a shell into a control group with a CPU limit."""
    with cpu_limit(QUOTA_US, PERIOD_US) as group:
        yield f"echo $$ > {group / 'cgroup.procs'}"


@pytest.mark.needs("long-runs", "cpu-limit")
def test_a_cpu_limit_that_throttles_is_found_and_named(project: Project, limited: str) -> None:
    write(project, ["rps"])
    behaves = f"export FAKE_SERVER='{json.dumps(BUSY)}'"
    candidate, baseline = (
        program(project, f"{behaves}\n{first}", str(FAKE_SERVER), '"$@"') for first in (limited, "")
    )
    servers = Servers(project, "server", str)

    result, same = servers.compared(candidate, baseline), servers.compared(baseline, baseline)

    assert verdicts(result) == {"rps": "FAIL"}
    assert "its CPU limit throttled the candidate in " in str(result["comparison"]["differences"])
    assert verdicts(same) == {"rps": "PASS"}
    assert "throttled" not in str(same["comparison"]["differences"])


@pytest.mark.parametrize("servers", [TARGETS[1]], indirect=True)
def test_a_cpu_limit_of_a_container_is_found_and_named(servers: Servers) -> None:
    candidate, baseline = (servers.making(BUSY | {"name": name}) for name in ("ours", "theirs"))
    write(servers.project, ["rps"], tests=LIMITING.format(candidate))

    result = servers.compared(candidate, baseline)

    assert verdicts(result) == {"rps": "FAIL"}
    assert "its CPU limit throttled the candidate in " in str(result["comparison"]["differences"])


@pytest.mark.needs("long-runs")
def test_memory_that_grows_is_named(local: Servers) -> None:
    write(local.project, ["p50"])

    result = local.found({"leak_mb_per_s": 1}, GOOD)

    assert verdicts(result) == {"p50": "PASS"}
    assert "the candidate's memory grew by " in str(result["comparison"]["differences"])


@pytest.mark.needs("long-runs")
def test_a_long_wait_for_batches_is_found_and_named(real: Project) -> None:
    write(real, ["p50"], batching=True)
    waits = real.pytester.path / "batching.txt"
    waits.write_text(BATCHES_WAIT, encoding="utf-8")
    servers = Servers(real, "server", str)

    result = servers.compared(embedded(real, "", f"--batching_parameters_file={waits}"), embedded(real))
    same = servers.compared(embedded(real), embedded(real))

    assert verdicts(result) == {"p50": "FAIL"}
    assert "median wait for a batch: " in str(result["comparison"]["differences"])
    assert verdicts(same) == {"p50": "PASS"}
    assert "median wait for a batch: " not in str(same["comparison"]["differences"])


@pytest.mark.needs("long-runs")
def test_loads_of_another_model_are_found_and_named(real: Project, resnet50: Path) -> None:
    """Versions of ResNet50 are loaded while half_plus_two is asked, as fast as the cores allow."""
    write(real, ["p99"])
    experiments = real.pytester.path / "experiments.yaml"
    experiments.write_text(experiments.read_text(encoding="utf-8").replace("1gb", "4gb"), encoding="utf-8")
    path = real.pytester.path
    server = path / "greedy_loads.py"
    server.write_text(GREEDY_LOADS, encoding="utf-8")
    programs = []
    for name, before in (("ours", NEW_VERSIONS), ("theirs", "")):
        folder = path / name
        shutil.copytree(resnet50 / "1", folder / "1")
        config = path / f"{name}.txt"
        config.write_text(TWO_MODELS % (path / "models" / "half", folder), encoding="utf-8")
        loop = before.format(model=folder / "1", folder=folder)
        flags = (f"--model_config_file={config}", "--file_system_poll_wait_seconds=1")
        programs.append(program(real, loop, str(server), '"$@"', *flags))

    result = Servers(real, "server", str).compared(*programs)

    assert verdicts(result) == {"p99": "FAIL"}
    assert "models loaded while load ran: " in str(result["comparison"]["differences"])
