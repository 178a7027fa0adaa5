"""Under pytest-xdist measurements wait for each other and are shared."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import Project

TWO = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 2, run_time_s: 2.5, think_time_s: 0.01, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: [1, 2], slo: ["max<60s"]}
"""
TESTS = "def test_one(load):\n    load().check()\ndef test_two(load):\n    load().check()\n"


def test_tests_of_one_experiment_share_its_run(project: Project) -> None:
    project.write(TWO, TESTS)

    run, results = project.results("-n", "2", "--dist=load")

    run.assert_outcomes(passed=4)
    assert sorted(result["experiment"] for result in results) == [
        "1cpu-1gb-1n-interop1",
        "1cpu-1gb-1n-interop2",
    ]
    assert all(len({slo["test"] for slo in result["slos"]}) == 2 for result in results)


def test_measurements_do_not_overlap_and_who_waits_says_so(project: Project) -> None:
    project.write(TWO, TESTS)

    run, results = project.results("-n", "2", "--dist=load")

    starts = sorted((datetime.fromisoformat(result["started_at"]), result["run_s"]) for result in results)
    (first, run_s), (second, _) = starts
    assert run.ret == 0
    assert first + timedelta(seconds=run_s) <= second
    run.stderr.fnmatch_lines(
        ["*waits for its turn on this machine: process * is measuring 1cpu-1gb-1n-interop*"]
    )


def test_the_controller_writes_the_table(project: Project) -> None:
    project.write(TWO, TESTS)

    run = project.run("-n", "2")

    run.stdout.fnmatch_lines(["*serving performance*"])
    run.stdout.fnmatch_lines_random(["1cpu-1gb-1n-interop1 * PASS", "1cpu-1gb-1n-interop2 * PASS"])
