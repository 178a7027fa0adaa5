"""Under pytest-xdist measurements wait for each other and are shared."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project

TWO = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 20, run_time_s: 2.5, think_time_s: 0.01, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: [1, 2], slo: ["max<60s"]}
"""
TESTS = "def test_one(load):\n    load().check()\ndef test_two(load):\n    load().check()\n"


def test_tests_of_one_experiment_share_its_run_and_measurements_wait_for_each_other(project: Project) -> None:
    project.write(TWO, TESTS)

    run, results = project.results("-n", "2", "--dist=load")

    run.assert_outcomes(passed=4)
    assert sorted(result["experiment"] for result in results) == [
        "1cpu-1gb-1n-interop1",
        "1cpu-1gb-1n-interop2",
    ]
    assert all(len({slo["test"] for slo in result["slos"]}) == 2 for result in results)
    starts = sorted((datetime.fromisoformat(result["started_at"]), result["run_s"]) for result in results)
    (first, run_s), (second, _) = starts
    assert first + timedelta(seconds=run_s) <= second
    run.stderr.fnmatch_lines(
        ["*waits for its turn on this machine: process * is measuring 1cpu-1gb-1n-interop*"]
    )


def test_workers_say_what_they_wait_for_and_for_how_long(project: Project) -> None:
    project.write()

    run = project.run("-n", "1", "--tfserving-run-time=3")

    run.stderr.fnmatch_lines(
        [
            "  gw0: 1cpu-1gb-1n-interop1: starting a replica of 1 vCPU, at most 120 s",
            "  gw0: 1cpu-1gb-1n-interop1: first requests, at most 15 s",
            "  gw0: 1cpu-1gb-1n-interop1: * s of at most 3 s, 2 users, * rps, *",
            "  gw0: 1cpu-1gb-1n-interop1: stopping",
        ]
    )


@pytest.mark.parametrize("option", ["-q", "--tfserving-ui=none"])
def test_workers_that_are_to_say_nothing_do(project: Project, option: str) -> None:
    planted.in_every_process(project.pytester, project.monkeypatch)

    run = project.run("-n", "1", option)

    run.assert_outcomes(passed=1)
    assert "gw0" not in run.stderr.str()


def test_the_controller_writes_the_table(project: Project) -> None:
    planted.in_every_process(project.pytester, project.monkeypatch)
    project.write(TWO, TESTS)

    run = project.run("-n", "2")

    run.stdout.fnmatch_lines(["*serving performance*"])
    run.stdout.fnmatch_lines_random(["1cpu-1gb-1n-interop1 * PASS", "1cpu-1gb-1n-interop2 * PASS"])
