"""The target docker on a real engine: how runs end, what is kept, what is baked in, what goes wrong."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from harness import PATIENCE_S, TESTS, until
from kept_records import has_recorded
from needs import IMAGE
from pytest_tfserving.targets.common.ownership import EXPERIMENT, MANAGED_BY, OWNER, RUN, US, OwnershipLabels

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker
    from docker.models.containers import Container

    from harness import Project

pytestmark = pytest.mark.needs("docker")

ROOT = Path(__file__).parents[2]
EXPERIMENTS = """
defaults: {model: ./models/half_plus_two, payload: request.json, profile: tiny}
profiles:
  tiny:
    {users: 2, spawn_rate: 2, run_time_s: 5, think_time_s: 0.01, request_timeout_s: 5, max_lag_ms: 2000,
     max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["rps>=1"]}
"""
FAILING = "def test_gate(load):\n    assert load().rps > 1e9\n"
DOCKER = "--tfserving-target=docker"
OPTIONS = (DOCKER, f"--tfserving-image={IMAGE}")


@pytest.fixture
def real(project: Project, half_plus_two: Path) -> Project:
    """A project with a real model."""
    (project.pytester.path / "models" / "half_plus_two").symlink_to(half_plus_two)
    (project.pytester.path / "request.json").write_text('{"instances": [[1.0], [2.0], [5.0]]}')
    project.write(EXPERIMENTS)
    return project


@pytest.fixture
def made(engine: docker.DockerClient) -> Iterator[list[str]]:
    """Names of images and containers that a test makes, which are removed after it."""
    names: list[str] = []
    yield names
    import docker

    for name in names:
        for remove in (_remove_container, _remove_image):
            try:
                remove(engine, name)
            except docker.errors.APIError:
                continue


def _remove_container(engine: docker.DockerClient, name: str) -> None:
    engine.containers.get(name).remove(force=True)


def _remove_image(engine: docker.DockerClient, name: str) -> None:
    engine.images.remove(name, force=True)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_tfserving.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def of_process(engine: docker.DockerClient, pid: int) -> list[Container]:
    """The containers that a process has made."""
    ours = engine.containers.list(all=True, filters={"label": f"{MANAGED_BY}={US}"}, ignore_removed=True)
    return [each for each in ours if json.loads(each.labels.get(OWNER, '{"pid": 0}'))["pid"] == pid]


def start_loading(project: Project, engine: docker.DockerClient, *options: str) -> subprocess.Popen[Any]:
    """A pytest run that has its container and goes on for long."""
    for_long = ("--tfserving-run-time=5m", "--tfserving-early-stop=no")
    program = [sys.executable, "-m", "pytest", "-p", "no:locust", *for_long, *OPTIONS, *options]
    with (project.pytester.path / "output").open("wb") as output:
        process = subprocess.Popen(
            program,
            cwd=project.pytester.path,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    until(lambda: of_process(engine, process.pid) or process.poll() is not None, "the container")
    assert process.poll() is None, (project.pytester.path / "output").read_text()
    return process


@pytest.mark.usefixtures("engine")
def test_the_reference_experiments_run(tmp_path: Path) -> None:
    document = tmp_path / "out.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:locust", "perf_tests", "-k", "1cpu-2gb-1n", *OPTIONS),
            *(f"--tfserving-json={document}", "--tfserving-run-time=3s"),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    results = json.loads(document.read_text())["results"]
    assert len(results) == 3, done.stdout
    for result in results:
        assert result["target"] == "docker"
        assert result["total_errors"] == 0
        assert result["aborted"] == "", done.stdout
        assert result["environment"]["image"]["id"].startswith("sha256:")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_interrupted_leaves_nothing(
    real: Project, engine: docker.DockerClient, number: signal.Signals
) -> None:
    process = start_loading(real, engine)

    process.send_signal(number)
    process.wait(PATIENCE_S)

    assert of_process(engine, process.pid) == []


def test_what_a_killed_run_left_goes_at_the_next_start_and_a_strangers_stays(
    real: Project, engine: docker.DockerClient, made: list[str]
) -> None:
    process = start_loading(real, engine)
    process.kill()
    process.wait()
    (left,) = of_process(engine, process.pid)
    strangers = [
        {},
        {MANAGED_BY: "somebody", RUN: left.labels[RUN], EXPERIMENT: left.labels[EXPERIMENT]},
        {MANAGED_BY: US},
        {**OwnershipLabels("living").labels, **OwnershipLabels("living").annotations},
    ]
    for number, labels in enumerate(strangers):
        made.append(f"tfserving-{left.labels[RUN]}-stranger{number}")
        engine.containers.create(IMAGE, name=made[-1], labels=labels)

    real.run(*OPTIONS, server=False).assert_outcomes(passed=1)

    assert of_process(engine, process.pid) == []
    assert all(engine.containers.get(name) for name in made)


def test_the_command_cleans_up_what_a_killed_run_left(real: Project, engine: docker.DockerClient) -> None:
    process = start_loading(real, engine)
    process.kill()
    process.wait()
    (left,) = of_process(engine, process.pid)

    done = command("cleanup", "--target", "docker")

    assert done.returncode == 0, done.stderr
    assert f"docker: deleted container {left.name} of run {left.labels[RUN]}" in done.stdout
    assert of_process(engine, process.pid) == []


def test_a_run_that_is_killed_while_load_alternates_leaves_neither_server(
    real: Project, engine: docker.DockerClient
) -> None:
    process = start_loading(real, engine, f"--tfserving-against=image:{IMAGE}")
    until(lambda: any(map(is_frozen, of_process(engine, process.pid))), "the first turn")
    both = of_process(engine, process.pid)
    process.kill()
    process.wait()

    done = command("cleanup", "--target", "docker")

    assert len({each.attrs["HostConfig"]["CpusetCpus"] for each in both}) == 1
    assert len(both) == 2
    assert done.returncode == 0, done.stderr
    assert of_process(engine, process.pid) == []


def test_a_run_that_is_interrupted_while_load_alternates_leaves_neither_server(
    real: Project, engine: docker.DockerClient
) -> None:
    process = start_loading(real, engine, f"--tfserving-against=image:{IMAGE}", "--tfserving-json=out.json")
    until(lambda: any(map(is_frozen, of_process(engine, process.pid))), "the first turn")
    until(lambda: has_recorded(process.pid), "requests to both")

    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE_S)

    assert of_process(engine, process.pid) == []
    (result,) = json.loads((real.pytester.path / "out.json").read_text())["results"]
    assert result["incomplete"] == "the run was interrupted"


def is_frozen(container: Container) -> bool:
    """Whether a container's process is stopped, or the container is paused."""
    container.reload()
    state = container.attrs["State"]
    try:
        stopped = psutil.Process(state["Pid"]).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False
    return bool(stopped or state["Paused"])


@pytest.mark.parametrize(
    ("keep", "tests", "stays"),
    [("on-failure", FAILING, "kept"), ("on-failure", TESTS, ""), ("always", TESTS, "kept")],
)
def test_a_deployment_is_kept(  # noqa: PLR0913, PLR0917 - two fixtures beside the table
    real: Project, engine: docker.DockerClient, made: list[str], keep: str, tests: str, stays: str
) -> None:
    real.write(EXPERIMENTS, tests)

    run, (result,) = real.results(*OPTIONS, f"--tfserving-keep={keep}", server=False)

    name, told = f"tfserving-{result['environment']['run']}-0", result["environment"]["run"]
    made.append(name)
    kept = engine.containers.list(filters={"name": name})
    assert bool(kept) == bool(stays)
    if stays:
        run.stdout.fnmatch_lines(
            [f"kept 1cpu-1gb-1n-interop1: look at it with `docker logs {name}`; delete it with *{told}`"]
        )
        command("cleanup", "--run", told)
        assert engine.containers.list(filters={"name": name}) == []


def test_a_baked_model_is_served_from_the_image(
    real: Project, engine: docker.DockerClient, made: list[str]
) -> None:
    made.append("pytest-tfserving-e2e-baked:1")

    done = command("bake", IMAGE, str(real.pytester.path / "models" / "half_plus_two"), made[0])
    run, (result,) = real.results(DOCKER, f"--tfserving-image={made[0]}", server=False)

    assert done.returncode == 0, done.stderr
    assert f"{made[0]} serves the model half_plus_two ({engine.images.get(made[0]).id})" in done.stdout
    run.assert_outcomes(passed=1)
    assert result["environment"]["model"] == "in the image"


@pytest.mark.parametrize(
    ("image", "folder", "tag", "message"),
    [
        (IMAGE, "none", "x:1", "the model folder none does not exist; a SavedModel lies in *"),
        (IMAGE, "empty", "x:1", "the model folder empty has no version in it; a SavedModel lies in *"),
        ("localhost:1/none:1", "model", "x:1", "the image localhost:1/none:1 is not on the engine at *"),
        (IMAGE, "model", "Not:A:Tag", "Not:A:Tag could not be built from *: invalid *"),
    ],
)
@pytest.mark.usefixtures("engine")
def test_what_cannot_be_baked_is_said_in_one_sentence(
    tmp_path: Path, image: str, folder: str, tag: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model" / "1").mkdir(parents=True)

    done = subprocess.run(
        [sys.executable, "-m", "pytest_tfserving.cli", "bake", image, folder, tag],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    pytest.LineMatcher(done.stderr.splitlines()).fnmatch_lines([f"pytest-tfserving: {message}"])
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.usefixtures("engine")
def test_a_missing_image_is_named(real: Project) -> None:
    run = real.run(DOCKER, "--tfserving-image=localhost:1/none:1", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["the image localhost:1/none:1 is not on the engine at *, and pulling it failed: *"]
    )
    run.stdout.no_fnmatch_line("*Traceback*")


def test_a_container_that_exits_is_said_with_its_last_line(
    real: Project, engine: docker.DockerClient, made: list[str]
) -> None:
    made.append("pytest-tfserving-e2e-broken:1")
    text = f'FROM {IMAGE}\nENTRYPOINT ["sh", "-c", "echo no licence; exit 3"]\n'
    engine.images.build(fileobj=io.BytesIO(text.encode()), tag=made[0], rm=True)

    run = real.run(DOCKER, f"--tfserving-image={made[0]}", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["replica 0 exited with code 3 (no licence)"])


def test_a_model_above_the_limit_is_killed_before_it_is_loaded(
    real: Project, engine: docker.DockerClient, made: list[str]
) -> None:
    made.append("pytest-tfserving-e2e-hungry:1")
    hungry = "python3 -c 'x = bytearray(2 << 30); x[::4096] = b\"x\" * len(x[::4096])'"
    text = f"FROM {IMAGE}\nENTRYPOINT {json.dumps(['sh', '-c', hungry])}\n"
    engine.images.build(fileobj=io.BytesIO(text.encode()), tag=made[0], rm=True)

    run = real.run(DOCKER, f"--tfserving-image={made[0]}", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["replica 0 needed more RAM than its node's 1 GB and was killed (OOMKilled)"])


@pytest.mark.usefixtures("engine")
def test_a_model_that_only_its_owner_may_read_is_served(real: Project) -> None:
    (real.pytester.path / "models" / "half_plus_two").resolve().chmod(0o700)

    real.run(*OPTIONS, server=False).assert_outcomes(passed=1)
