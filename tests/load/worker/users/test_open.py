"""Open loop: requests start when they are due, and latencies count from then on."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import until
from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.load.generator.run import run
from server_process import Server, free_port, half_plus_two_plan

if TYPE_CHECKING:
    from harness import Project
    from pytest_tfserving.deployment.load_messages import MergedTick

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
# In the second half of a run of four seconds, which is never taken for warm-up.
FREEZE = {"freeze_after": int(2.4 * RATE), "freeze_s": 1.0}
FOUR_SECONDS = OPEN.replace("run_time_s: 6", "run_time_s: 4")
JUST_LOAD = "def test_load(load):\n    load()\n"


@pytest.fixture
def frozen(project: Project) -> Project:
    """A project whose server is frozen for a second in mid-load."""
    program = (Path(__file__).parents[3] / "servers" / "prompt_server.py").read_text(encoding="utf-8")
    project.server.write_text(f"#!{sys.executable}\n{program}", encoding="utf-8")
    project.monkeypatch.setenv("PROMPT_SERVER", json.dumps(FREEZE))
    return project


def accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def p99_of_a_frozen_second(requests: int) -> float:
    """By arithmetic: every 10 ms of the frozen second a request is due, which waits for its end."""
    frozen_ms = [1000 - 1000 * number / RATE for number in range(RATE)]
    ordered = sorted([0.0] * (requests - RATE) + frozen_ms)
    return ordered[math.ceil(0.99 * requests) - 1]


def test_a_frozen_second_is_in_the_percentiles(frozen: Project) -> None:
    frozen.write(FOUR_SECONDS, JUST_LOAD)

    _, (result,) = frozen.results()

    expected_ms = p99_of_a_frozen_second(result["metrics"]["requests"])
    assert result["metrics"]["p99_ms"] == pytest.approx(expected_ms, rel=0.25)
    assert result["errors"] == {}


def test_a_closed_loop_hides_the_same_second(frozen: Project) -> None:
    """Ten users with a pace of 100 ms are as many requests a second, of which ten meet the frozen second."""
    closed = FOUR_SECONDS.replace(f"rate: {RATE}\n    arrivals: constant", "users: 10\n    pace_s: 0.1")
    frozen.write(closed, JUST_LOAD)

    _, (result,) = frozen.results()

    expected_ms = p99_of_a_frozen_second(result["metrics"]["requests"])
    corrected = result["alternatives"]["corrected"]
    assert result["metrics"]["p95_ms"] < corrected["p95_ms"] / 2
    assert corrected["p99_ms"] == pytest.approx(expected_ms, rel=0.25)


def test_requests_beyond_those_in_flight_fail_and_are_counted(frozen: Project) -> None:
    frozen.write(OPEN.replace("run_time_s: 6", "run_time_s: 4\n    max_in_flight: 40"), JUST_LOAD)

    _, (result,) = frozen.results()

    assert result["arrivals"]["dropped"] == pytest.approx(60, abs=30)
    assert result["errors"] == {
        "not sent: 40 requests were under way, the profile's most": result["arrivals"]["dropped"]
    }


def test_steps_go_up_and_the_last_one_is_judged(project: Project) -> None:
    steps = OPEN.replace(f"rate: {RATE}", "rate: 80\n    shape: steps 20:80:x2")
    project.write(steps.replace("run_time_s: 6", "run_time_s: 4.5"), JUST_LOAD)

    _, (result,) = project.results()

    counted = [second["successes"] for second in result["series"]]
    assert counted[0] == pytest.approx(20, abs=9)
    assert counted[2] == pytest.approx(40, abs=19)
    assert result["window"]["start_s"] >= 3
    assert result["metrics"]["rps"] == pytest.approx(80, abs=39)


def test_users_follow_a_shape_too(project: Project) -> None:
    steps = OPEN.replace(f"rate: {RATE}\n    arrivals: constant", "shape: steps 1:4:x2\n    pace_s: 0.1")
    project.write(steps.replace("run_time_s: 6", "run_time_s: 4.5"), JUST_LOAD)

    _, (result,) = project.results()

    users = [second["users"] for second in result["series"]]
    assert (users[0], users[2], users[-1]) == (1, 2, 4)


def test_a_spike_is_judged_as_a_whole(project: Project) -> None:
    spike = FOUR_SECONDS.replace(f"rate: {RATE}", "rate: 200\n    shape: spike 20:200")
    project.write(spike.replace("inter_op: 1}", "inter_op: 1, slo: [p95<5s]}"), JUST_LOAD)

    _, (result,) = project.results()

    assert result["verdict"] == "PASS"
    assert result["window"]["start_s"] < 2
    assert result["metrics"]["rps"] == pytest.approx(80, rel=0.4)


def test_bursty_arrivals_are_sent_when_they_are_due(project: Project) -> None:
    """The schedule of these bursts is known: so are the requests of each second."""
    bursty = OPEN.replace(
        "arrivals: constant", "arrivals: mmpp\n    burst_factor: 9\n    burst_s: 0.5\n    calm_s: 1"
    )
    project.write(bursty.replace("inter_op: 1}", "inter_op: 1, slo: [rps>=1]}"), JUST_LOAD)
    profile = LoadProfile(
        "steady", rate=RATE, run_time_s=6, arrivals="mmpp", burst_factor=9, burst_s=0.5, calm_s=1
    )

    _, (result,) = project.results()

    due = list(profile.due_times())
    assert result["total_requests"] == pytest.approx(len(due), abs=3)
    seconds = [sum(1 for at_s in due if int(at_s) == second) for second in range(6)]
    assert max(seconds) > 2 * min(seconds)
    assert [row["successes"] for row in result["series"]][:5] == pytest.approx(seconds[:5], abs=40)
    assert result["verdict"] == "PASS"
    assert "proved in" in result["slos"][0]["reason"]


def test_the_last_due_requests_are_sent_even_late(tmp_path: Path, half_plus_two: Path) -> None:
    """The load process stands still from before the end of the run until after it."""
    profile = LoadProfile("p", rate=RATE, arrivals="constant", run_time_s=2, max_lag_ms=9000, max_cpu_wait=1)
    experiment = Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "half_plus_two", "json", profile)
    stopped: list[float] = []

    def stop_near_the_end(tick: MergedTick) -> None:
        if tick["at_s"] >= 1.4 and not stopped:
            stopped.append(tick["at_s"])
            os.kill(child.pids[0], signal.SIGSTOP)
            threading.Timer(2.4 - tick["at_s"], os.kill, [child.pids[0], signal.SIGCONT]).start()

    with Server("half_plus_two", half_plus_two) as server, LoadGenerator(tmp_path) as child:
        addresses = {"rest": (Endpoint("127.0.0.1", server.port),)}
        deployment = Deployment(experiment, "e", {"half_plus_two": "/v1/models/half_plus_two"}, addresses, "")
        child.wait_until_ready()
        result, _ = run(child, half_plus_two_plan(profile), deployment, stop_near_the_end)

    assert stopped
    assert result.total_requests == 2 * RATE


def test_latencies_are_exact_though_responses_are_read_together(tmp_path: Path) -> None:
    """Read with the next request, every response would seem to take 1.4 ms."""
    delay_s, rate = 0.0005, 700
    profile = LoadProfile("p", rate=rate, arrivals="constant", run_time_s=2, max_lag_ms=9000, max_cpu_wait=1)
    experiment = Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "half_plus_two", "json", profile)
    program, port = Path(__file__).parents[3] / "servers" / "prompt_server.py", free_port()
    environment = {**os.environ, "PROMPT_SERVER": json.dumps({"delay_s": delay_s})}
    command = [sys.executable, str(program), f"--rest_api_port={port}"]

    with subprocess.Popen(command, env=environment) as server, LoadGenerator(tmp_path) as child:
        try:
            addresses = {"rest": (Endpoint("127.0.0.1", port),)}
            paths = {"half_plus_two": "/v1/models/half_plus_two"}
            deployment = Deployment(experiment, "e", paths, addresses, "")
            child.wait_until_ready()
            until(lambda: accepts(port), "a server")
            result, _ = run(child, half_plus_two_plan(profile), deployment, lambda _: None)
        finally:
            server.kill()

    assert result.total_errors == 0
    assert result.latencies.percentile_ms(0.1) >= delay_s * 1e3
    # On a machine with other work, few responses are as quick as they could be.
    assert result.latencies.percentile_ms(1) < 1.0
