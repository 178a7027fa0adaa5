"""``pytest-tfserving doctor``: a line for each part, and the command that mends what does not work."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from harness import PATIENCE_S
from pytest_tfserving.calibration import pieces
from pytest_tfserving.cli import doctor_checks, main
from pytest_tfserving.cli.doctor_checks import Finding
from pytest_tfserving.errors import ConfigurationError, missing_extra
from pytest_tfserving.models import store
from pytest_tfserving.system import processes
from pytest_tfserving.system.machine_lock import MachineLock
from pytest_tfserving.targets.docker import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness import Project
    from idle_cluster import IdleCluster

# Ten seconds are promised. A busy machine starts Python later; what hangs does so for much longer.
LATEST_S = 15
measured_noise = doctor_checks._noise
NAMES = ["cores", "memory", "TensorFlow", "engine", "kubectl", "context", "permissions", "steal", "gate"]


def no_engine() -> None:
    """Find no engine, without a socket that stays open."""
    raise ConfigurationError("no container engine answers at unix:///nowhere (No such file).")


def no_noise(_: float) -> list[Finding]:
    """Measure nothing."""
    return [Finding("steal", True, "none"), Finding("gate", True, "soon")]


@pytest.fixture
def doctor(
    project: Project,
    cluster: IdleCluster,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., dict[str, str]]:
    """What the doctor says of each part, by its name; the measurement is short."""
    assert cluster.address
    monkeypatch.chdir(project.pytester.path)
    monkeypatch.setattr(doctor_checks, "_noise", no_noise)
    monkeypatch.setattr(engine, "connect", no_engine)
    monkeypatch.setattr(processes, "available_cores", lambda: [0, 1])

    def said(*options: str, code: int | None = None) -> dict[str, str]:
        ended = main(["doctor", *options])
        lines = capsys.readouterr().out.splitlines()
        assert code in (None, ended), lines
        found: dict[str, str] = {}
        for line in lines[:-2]:
            if line.startswith(" "):
                found[list(found)[-1]] += f" {line.strip()}"
            else:
                found[line[4:].split()[0]] = line
        assert list(found) == NAMES
        return found

    return said


def test_every_part_has_a_line_that_is_good_or_says_what_mends_it(
    doctor: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_checks, "_noise", measured_noise)
    monkeypatch.setattr(doctor_checks, "_MEASURED_S", 3.0)

    found = doctor()

    assert all(
        line.startswith("ok  ") or (line.startswith("no  ") and " mend: " in line) for line in found.values()
    )
    assert found["cores"] == "ok  cores       2: 1 for servers, 1 for the load"
    assert found["kubectl"].startswith("ok  kubectl     v1.")
    assert " Kubernetes v1.37.0" in found["context"]
    assert found["permissions"] == "ok  permissions all 34 that a run needs"
    assert "on a p95 that is 5 % off its limit" in found["gate"]


def test_permissions_that_are_missing_are_all_named_with_what_grants_them(
    doctor: Callable[..., dict[str, str]], cluster: IdleCluster
) -> None:
    missing = {("list", "nodes"), ("create", "leases")}
    cluster.forbidden = lambda verb, resource: (verb, resource) in missing

    line = doctor("--target=kubernetes", code=1)["permissions"]

    assert "2 of 34 are missing: list nodes, create leases.coordination.k8s.io in namespace 'default'" in line
    assert line.endswith(" mend: pytest-tfserving rbac --user ann | kubectl apply --filename -")


def test_a_context_that_is_not_allowed_says_what_allows_it(doctor: Callable[..., dict[str, str]]) -> None:
    line = doctor("--context=far", "--target=kubernetes", code=1)["context"]

    assert "context 'far' may not be deployed to: " in line
    assert " mend: to allow it, add -o tfserving_allowed_contexts=far to the command, " in line


def test_a_machine_with_nothing_says_what_to_install(
    doctor: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(*_: object) -> None:
        raise missing_extra("TensorFlow", "embedded", "a model")

    monkeypatch.setattr(store, "tensorflow_version", lacks)
    monkeypatch.setattr(processes, "available_cores", lambda: [0])
    monkeypatch.setenv("PATH", "/nowhere")

    found = doctor("--target=local", code=1)

    assert found["TensorFlow"].endswith(" mend: pip install 'pytest-tfserving[embedded]'")
    assert "no container engine answers at unix:///nowhere" in found["engine"]
    assert found["engine"].endswith((" as sudo apt-get install docker.io", " mend: open -a Docker"))
    assert " mend: measure what runs elsewhere: " in found["cores"]


def test_what_does_not_answer_is_given_up(
    doctor: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    def hangs() -> None:
        may_end.wait()
        no_engine()

    monkeypatch.setattr(doctor_checks, "_CHECK_S", 0.2)
    monkeypatch.setattr(engine, "connect", hangs)

    found = doctor()

    may_end.set()
    for thread in threading.enumerate():
        if thread.name.startswith("doctor-"):
            thread.join()  # what goes on must not reach into other tests
    assert found["engine"].startswith("no  engine      no answer within 0.2 s")


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of an environment in which the engine and kubectl do not answer."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "kubectl").write_text("#!/bin/sh\nexec sleep 60\n")
    (programs / "kubectl").chmod(0o755)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "engine.sock"))
        silent.listen()
        yield {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "DOCKER_HOST": f"unix://{tmp_path / 'engine.sock'}",
        }


def test_it_ends_in_time_whatever_hangs(
    project: Project,
    cluster: IdleCluster,
    hanging: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    add_property: Callable[[str, object], None],
) -> None:
    """The cluster says its version, and nothing of permissions."""
    may_answer = threading.Event()

    def hangs(body: object) -> object:
        may_answer.wait(PATIENCE_S)
        return body

    monkeypatch.setattr(cluster, "review", hangs)
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest_tfserving.cli", "doctor", "--target=kubernetes"],
        cwd=project.pytester.path,
        env={**os.environ, **hanging},
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = time.monotonic() - began_s
    may_answer.set()

    add_property("doctor_s", round(took_s, 1))
    sys.stdout.write(f"doctor took {took_s:.1f} s\n{done.stdout}")
    assert done.returncode == 1, done.stderr
    late = [line.split()[1] for line in done.stdout.splitlines() if "no answer within 4 s" in line]
    assert {"engine", "kubectl"} <= set(late)
    assert "\nok  context " in done.stdout
    assert "\nno  permissions " in done.stdout
    assert done.stdout.count("mend:") == done.stdout.count("\nno ")
    assert took_s < LATEST_S


def test_it_measures_nothing_beside_another_measurement(
    doctor: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(doctor_checks, "_noise", measured_noise)
    monkeypatch.setattr(pieces, "measure_pieces", never)
    with MachineLock().turn("a test", lambda _: None):
        found = doctor()

    for name in ("steal", "gate"):
        assert found[name].startswith(f"no  {name:<12}not measured: process ")
        assert "is measuring a test" in found[name]
