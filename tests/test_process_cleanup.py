"""However a run ends, no process is left, and what was measured is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from harness import FEW_PLUGINS, PATIENCE_S, Project, until
from kept_records import descendants, has_recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

TWO = """
defaults: {model: ./models/half, payload: request.json, profile: long}
profiles:
  long:
    {users: 2, spawn_rate: 2, run_time_s: 60, early_stop: false, think_time_s: 0.01, max_lag_ms: 2000,
     max_cpu_wait: 1}
  short: {users: 2, spawn_rate: 20, run_time_s: 2.5, think_time_s: 0.01, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, profile: short, slo: ["max<60s"]}
  - {shape: 1cpu-1gb-1n, inter_op: 2, slo: ["rps>=1"]}
"""
ONE = TWO.replace("  - {shape: 1cpu-1gb-1n, inter_op: 1, profile: short", "  # ")
FIFTEEN = TWO.replace("inter_op: 2", f"inter_op: {list(range(2, 16))}")


def is_running(process: psutil.Process) -> bool:
    """Whether a process is there and not only waits to be reaped."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_frozen(process: psutil.Process) -> bool:
    """Whether a process is stopped."""
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


class Running:
    """A pytest run in the background that is loading the second server that it started."""

    def __init__(self, project: Project, *options: str, experiments: str = TWO) -> None:
        self.folder = project.pytester.path
        project.behave(pid_file=str(self.folder / "pids"))
        project.write(experiments)
        self.output = self.folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pytest", *FEW_PLUGINS, "--tfserving-json=out.json"),
                    *("--tfserving-server", str(project.server), *options),
                ],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(lambda: len(self.servers()) == 2, "the second server")
        until(self.has_recorded, "requests to it")
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def servers(self) -> list[int]:
        """The process ids of the servers that were started."""
        pids = self.folder / "pids"
        return [int(line.split()[0]) for line in pids.read_text().splitlines()] if pids.exists() else []

    def children(self, name: str) -> list[psutil.Process]:
        """The descendants of pytest whose command line has ``name``."""
        return descendants(self.process.pid, name)

    def has_recorded(self) -> bool:
        """Whether each load generator has written requests."""
        return has_recorded(self.process.pid)

    def results(self) -> dict[str, Any]:
        """The JSON that was written."""
        document: dict[str, Any] = json.loads((self.folder / "out.json").read_text(encoding="utf-8"))
        return document

    def nothing_is_left(self) -> None:
        """Fail unless every process of the run ends."""
        until(lambda: not any(map(is_running, self.family)), f"the end of {self.family}")


@pytest.fixture
def running(project: Project) -> Iterator[Running]:
    run = Running(project)
    yield run
    run.process.kill()
    run.process.wait()


def test_after_success_no_process_is_left(project: Project) -> None:
    project.behave(pid_file=str(project.pytester.path / "pids"))

    project.run().assert_outcomes(passed=1)

    (pid,) = [int(line.split()[0]) for line in (project.pytester.path / "pids").read_text().splitlines()]
    assert not psutil.pid_exists(pid)


def test_after_failure_no_process_is_left(project: Project) -> None:
    project.behave(pid_file=str(project.pytester.path / "pids"), mode="http500")

    project.run().assert_outcomes(failed=1)

    (pid,) = [int(line.split()[0]) for line in (project.pytester.path / "pids").read_text().splitlines()]
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_measured(running: Running, number: signal.Signals) -> None:
    running.process.send_signal(number)

    assert running.process.wait(PATIENCE_S) == pytest.ExitCode.INTERRUPTED
    running.nothing_is_left()
    document = running.results()
    assert document["interrupted"] is True
    verdicts = {result["experiment"]: result["verdict"] for result in document["results"]}
    assert verdicts["1cpu-1gb-1n-interop1"] == "PASS"
    assert verdicts["1cpu-1gb-1n-interop2"] != "PASS"
    partial = document["results"][-1]
    assert partial["incomplete"] == "the run was interrupted"
    output = running.output.read_text()
    assert "serving performance, incomplete: the run was interrupted" in output


def test_a_killed_pytest_leaves_no_process(running: Running) -> None:
    running.process.kill()
    running.process.wait()

    running.nothing_is_left()
    assert [result["verdict"] for result in running.results()["results"]] == ["PASS"]


@pytest.fixture
def alternating(project: Project) -> Iterator[Running]:
    """A pytest run in the background whose load alternates between two servers."""
    run = Running(project, f"--tfserving-against=server:{project.server}", experiments=ONE)
    until(lambda: any(map(is_frozen, run.children("worker.py"))), "the first turn of the baseline server")
    until(run.has_recorded, "requests to both")
    yield run
    run.process.kill()
    run.process.wait()


def test_a_pytest_that_is_killed_while_load_alternates_leaves_neither_server(alternating: Running) -> None:
    alternating.process.kill()
    alternating.process.wait()

    alternating.nothing_is_left()


def test_an_interrupted_alternation_keeps_what_it_measured(alternating: Running) -> None:
    alternating.process.send_signal(signal.SIGINT)

    assert alternating.process.wait(PATIENCE_S) == pytest.ExitCode.INTERRUPTED
    alternating.nothing_is_left()
    document = alternating.results()
    assert document["interrupted"] is True
    (partial,) = document["results"]
    assert partial["incomplete"] == "the run was interrupted"
    assert partial["total_requests"] > 0
    assert partial["comparison"]["result"]["total_requests"] > 0


def test_a_dead_generator_is_invalid(running: Running) -> None:
    (worker,) = running.children("worker.py")
    worker.kill()

    assert running.process.wait(PATIENCE_S) == pytest.ExitCode.TESTS_FAILED
    running.nothing_is_left()
    assert "INVALID: the load generator was killed by signal 9" in running.output.read_text()
    assert [result["verdict"] for result in running.results()["results"]] == ["PASS", "INVALID"]


def test_a_dead_server_fails(running: Running) -> None:
    os.kill(running.servers()[-1], signal.SIGKILL)

    assert running.process.wait(PATIENCE_S) == pytest.ExitCode.TESTS_FAILED
    running.nothing_is_left()
    assert "FAIL: replica 0 was killed by signal 9" in running.output.read_text()


def test_every_report_of_an_interrupted_run_has_what_was_measured(project: Project) -> None:
    reports = ["--tfserving-html=out.html", "--tfserving-markdown=out.md", "--junit-xml=out.xml"]
    run = Running(project, *reports, experiments=FIFTEEN)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(PATIENCE_S) == pytest.ExitCode.INTERRUPTED
    run.nothing_is_left()

    document = run.results()
    assert document["interrupted"] is True
    (name,) = [each["experiment"] for each in document["results"] if each["verdict"] == "PASS"]
    assert name == "1cpu-1gb-1n-interop1"
    assert len(document["results"]) == 2
    page, text = (run.folder / "out.html").read_text(), (run.folder / "out.md").read_text()
    assert "Incomplete: the run was interrupted." in page
    assert "(incomplete: the run was interrupted)" in text
    assert f'<tr data-name="{name}">' in page
    assert f"| `{name}` | ✅ PASS |" in text
    assert "serving performance, incomplete: the run was interrupted" in run.output.read_text()
