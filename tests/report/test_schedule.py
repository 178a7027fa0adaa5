"""What the progress says: what is awaited, for how long at most, and how far the session is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from pytest_tfserving.report.schedule import Schedule, length_text

if TYPE_CHECKING:
    from harness import Project

TWO = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 2, run_time_s: 50, think_time_s: 0.01, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: [1, 2], slo: ["max<60s"]}
"""


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (
            [],
            [
                "tfserving: profile tiny: 2 users, 2 started a second, 0.01 s from *; for 50 s at most",
                "tfserving: 2 runs of load, at most about 3 min in all",
            ],
        ),
        (
            ["-k", "interop1", "--tfserving-rate=50", "--tfserving-run-time=20"],
            [
                "tfserving: profile tiny: 50 requests a second, due *; for 20 s at most",
                "tfserving: 1 run of load, at most about 35 s in all",
            ],
        ),
    ],
    ids=["profile", "options"],
)
def test_the_header_has_the_load_and_the_longest_time(
    project: Project, options: list[str], lines: list[str]
) -> None:
    project.write(TWO)

    run = project.run("--collect-only", *options)

    run.stdout.fnmatch_lines(lines)


def test_an_experiment_without_a_profile_is_quick(project: Project) -> None:
    project.write(TWO.replace(", profile: tiny", ""))

    run = project.run("--collect-only", "-k", "interop1")

    run.stdout.fnmatch_lines(["tfserving: profile quick: 4 users, 4 started a second; for 30 s at most"])


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_it_says_how_far_and_how_long() -> None:
    first, second, third = planted.STUDY[:3]
    clock = Clock()
    schedule = Schedule([(first, [60.0]), (second, [60.0]), (third, [300.0])], clock)
    said = [str(schedule)]

    schedule.begin(first)
    said.append(str(schedule))
    clock.now_s += 30
    said.append(str(schedule))
    schedule.begin_load(60.0)
    clock.now_s += 50
    schedule.go_on(10.0)
    said.append(str(schedule))
    clock.now_s += 10
    schedule.end_load()
    clock.now_s += 10
    schedule.begin(second)
    said.append(str(schedule))
    schedule.begin(third)
    clock.now_s += 15
    said.append(str(schedule))

    # The first took 40 s beside its load, the second, which never ran, nothing.
    assert said == [
        "",
        "1 of 3, about 8 min left",
        "1 of 3, at least 7 min left",
        "1 of 3, about 6 min left",
        "2 of 3, about 7 min left",
        "3 of 3, about 5 min left",
    ]


def test_of_one_experiment_there_is_only_the_time() -> None:
    schedule = Schedule([(planted.STUDY[0], [20.0])], Clock())

    schedule.begin(planted.STUDY[0])

    assert str(schedule) == "about 30 s left"


def test_a_start_that_takes_longer_than_usual_makes_the_time_a_lower_bound() -> None:
    clock = Clock()
    schedule = Schedule([(planted.STUDY[0], [20.0])], clock)

    schedule.begin(planted.STUDY[0])
    clock.now_s += 100

    assert str(schedule) == "at least 20 s left"


def test_load_that_is_not_planned_counts_with_its_own_run_time() -> None:
    clock = Clock()
    schedule = Schedule([(planted.STUDY[0], [20.0])], clock)
    schedule.begin(planted.STUDY[0])
    said = []
    for run_time_s in (20.0, 60.0):
        schedule.begin_load(run_time_s)
        for left_s in (15.0, 5.0):
            clock.now_s += 10
            schedule.go_on(left_s)
            said.append(str(schedule))
        schedule.end_load()

    # All with the 10 s that are usual beside the load.
    assert said == ["about 25 s left", "about 15 s left"] * 2


def test_a_time_that_nobody_knows_is_not_said() -> None:
    clock = Clock()
    alone, last = (Schedule([(each, [20.0]) for each in planted.STUDY[:n]], clock) for n in (1, 2))
    for schedule, experiment in ((alone, planted.STUDY[0]), (last, planted.STUDY[1])):
        schedule.begin(experiment)
        schedule.begin_load(20.0)
        schedule.end_load()
    clock.now_s += 60

    assert [str(alone), str(last)] == ["", "2 of 2"]


def test_an_experiment_that_is_not_planned_changes_nothing() -> None:
    schedule = Schedule([(planted.STUDY[0], [20.0])], Clock())

    schedule.begin(planted.STUDY[1])

    assert str(schedule) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "5 s"),
        (12, "15 s"),
        (55, "55 s"),
        (56, "1 min"),
        (100, "2 min"),
        (3000, "50 min"),
        (5400, "1.5 h"),
    ],
)
def test_lengths(seconds: float, text: str) -> None:
    assert length_text(seconds) == text


@pytest.mark.parametrize(
    ("mark", "options", "left"),
    [
        ("", ["--tfserving-run-time=10m"], "20 min"),
        ("@pytest.mark.load_profile(run_time_s=1200)\n", [], "40 min"),
        ("@pytest.mark.load_profile('nothing')\n", [], "2 min"),
    ],
)
def test_the_load_that_was_asked_for_counts(
    project: Project, mark: str, options: list[str], left: str
) -> None:
    planted.instead_of_load(project)
    project.write(TWO, f"import pytest\n{mark}def test_gate(serving, load):\n    load()\n")

    run = project.run("--tfserving-ui=simple", *options)

    run.stdout.fnmatch_lines([f"*1 of 2, about {left} left: 1cpu-1gb-1n-interop1: stopping"])


def test_each_wait_says_how_long_it_lasts_at_most(project: Project) -> None:
    run = project.run("--tfserving-ui=simple", "--tfserving-run-time=3")

    run.stdout.fnmatch_lines(
        [
            "*about * s left: 1cpu-1gb-1n-interop1: starting a replica of 1 vCPU, at most 120 s",
            "* s left: 1cpu-1gb-1n-interop1: first requests, at most 15 s",
            "*1cpu-1gb-1n-interop1: * s of at most 3 s, 2 users, * rps, *",
        ]
    )
