"""Open loop: requests start when they are due, and latencies count from then on."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project

RATE = 100
OPEN = f"""
defaults: {{model: ./models/half, payload: request.json, profile: steady}}
profiles:
  steady:
    rate: {RATE}
    arrivals: constant
    run_time_s: 6
    max_lag_ms: 2000
    max_cpu_wait: 1
    early_stop: false
experiments:
  - {{shape: 1cpu-1gb-1n, inter_op: 1}}
"""
# In the second half of a run, which is never taken for warm-up.
FREEZE = {"freeze_after": 4 * RATE, "freeze_s": 1.0}
JUST_LOAD = "def test_load(load):\n    load()\n"


@pytest.fixture
def frozen(project: Project) -> Project:
    """A project whose server is frozen for a second in mid-load."""
    program = (Path(__file__).parents[3] / "servers" / "prompt_server.py").read_text(encoding="utf-8")
    project.server.write_text(f"#!{sys.executable}\n{program}", encoding="utf-8")
    project.monkeypatch.setenv("PROMPT_SERVER", json.dumps(FREEZE))
    return project


def p99_of_a_frozen_second(requests: int) -> float:
    """By arithmetic: every 10 ms of the frozen second a request is due, which waits for its end."""
    frozen_ms = [1000 - 1000 * number / RATE for number in range(RATE)]
    ordered = sorted([0.0] * (requests - RATE) + frozen_ms)
    return ordered[math.ceil(0.99 * requests) - 1]


def test_a_frozen_second_is_in_the_percentiles(frozen: Project) -> None:
    frozen.write(OPEN, JUST_LOAD)

    _, (result,) = frozen.results()

    expected_ms = p99_of_a_frozen_second(result["metrics"]["requests"])
    assert result["metrics"]["p99_ms"] == pytest.approx(expected_ms, rel=0.25)
    assert result["errors"] == {}


def test_a_closed_loop_hides_the_same_second(frozen: Project) -> None:
    """Ten users with a pace of 100 ms are as many requests a second, of which ten meet the frozen second."""
    closed = OPEN.replace(f"rate: {RATE}\n    arrivals: constant", "users: 10\n    pace_s: 0.1")
    frozen.write(closed, JUST_LOAD)

    _, (result,) = frozen.results()

    expected_ms = p99_of_a_frozen_second(result["metrics"]["requests"])
    corrected = result["alternatives"]["corrected"]
    assert result["metrics"]["p95_ms"] < corrected["p95_ms"] / 2
    assert corrected["p99_ms"] == pytest.approx(expected_ms, rel=0.25)


def test_requests_beyond_those_in_flight_fail_and_are_counted(frozen: Project) -> None:
    frozen.write(OPEN.replace("run_time_s: 6", "run_time_s: 6\n    max_in_flight: 40"), JUST_LOAD)

    _, (result,) = frozen.results()

    assert result["arrivals"]["dropped"] == pytest.approx(60, abs=30)
    assert result["errors"] == {
        "not sent: 40 requests were under way, the profile's most": result["arrivals"]["dropped"]
    }


def test_steps_go_up_and_the_last_one_is_judged(project: Project) -> None:
    project.write(OPEN.replace(f"rate: {RATE}", "rate: 80\n    shape: steps 20:80:x2"), JUST_LOAD)

    _, (result,) = project.results()

    counted = [second["successes"] for second in result["series"]]
    assert counted[1] == pytest.approx(20, abs=9)
    assert counted[3] == pytest.approx(40, abs=19)
    assert result["window"]["start_s"] >= 4
    assert result["metrics"]["rps"] == pytest.approx(80, abs=39)


def test_users_follow_a_shape_too(project: Project) -> None:
    project.write(
        OPEN.replace(f"rate: {RATE}\n    arrivals: constant", "shape: steps 1:4:x2\n    pace_s: 0.1"),
        JUST_LOAD,
    )

    _, (result,) = project.results()

    users = [second["users"] for second in result["series"]]
    assert (users[1], users[3], users[-1]) == (1, 2, 4)


def test_a_spike_is_judged_as_a_whole(project: Project) -> None:
    spike = OPEN.replace(f"rate: {RATE}", "rate: 200\n    shape: spike 20:200")
    project.write(spike.replace("inter_op: 1}", "inter_op: 1, slo: [p95<5s]}"), JUST_LOAD)

    _, (result,) = project.results()

    assert result["verdict"] == "PASS"
    assert result["window"]["start_s"] < 2
    assert result["metrics"]["rps"] == pytest.approx(80, rel=0.4)
