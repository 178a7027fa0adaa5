"""``--tfserving-ui``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from pytest_tfserving.system import machine_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Project
    from pytest_tfserving.system.machine_lock import FileLock


TWO = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 2, run_time_s: 50, think_time_s: 0.01, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: [1, 2], slo: ["max<60s"]}
"""


def test_the_session_is_in_every_line(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(TWO)

    run = project.run("--tfserving-ui=simple")

    run.assert_outcomes(passed=2)
    run.stdout.fnmatch_lines(
        [
            "*1 of 2, about 2 min left: 1cpu-1gb-1n-interop1: stopping",
            "*2 of 2, * left: 1cpu-1gb-1n-interop2: stopping",
        ]
    )


def test_a_line_that_is_rewritten_fits_the_terminal(project: Project) -> None:
    planted.instead_of_load(project)
    project.monkeypatch.setenv("COLUMNS", "40")

    run = project.run("--tfserving-ui=live")

    lines = [part for line in run.outlines for part in line.split("\r") if "left: " in part]
    assert lines
    assert max(len(line.rstrip()) for line in lines) < 40


def test_quiet_progress(project: Project) -> None:
    run = project.run("--tfserving-ui=none")

    run.stdout.no_fnmatch_line("*first requests*")


@pytest.mark.parametrize(
    ("flags", "lines"),
    [([], 1), (["-q"], 1), (["-qq"], 1), (["-q", "--tfserving-ui=none"], 0)],
    ids=["default", "q", "qq", "none"],
)
def test_a_wait_for_another_measurement_is_shown_whatever_the_verbosity(
    project: Project, flags: list[str], lines: int
) -> None:
    def wait_for(lock: FileLock, say: Callable[[], None]) -> None:
        if lock.path.name == "lock":
            say()
        assert lock.take()

    planted.instead_of_load(project)
    project.monkeypatch.setattr(machine_lock, "_wait_for", wait_for)

    run = project.run(*flags)

    assert run.ret == pytest.ExitCode.OK
    waits = "1cpu-1gb-1n-interop1 waits for its turn on this machine: another measurement is running"
    assert sum(waits in line for line in run.outlines) == lines


def test_a_mistaken_value_is_named(project: Project) -> None:
    run = project.run("--tfserving-ui=web")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*argument --tfserving-ui: 'web' is not one of: live, simple, none."])
