"""What becomes of a run whose load Pods are lost, or lines of their logs; the API server is a stand-in."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from fake_cluster import POD, FakeCluster
from harness import until
from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.experiments.experiment import Experiment, LoadPods, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator import run as runner
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.load.process_plan import ProcessPlan
from pytest_tfserving.load.worker.replay_buffer import ReplayBuffer
from pytest_tfserving.protocols.answer import ExpectedAnswer
from pytest_tfserving.targets.common.ownership import OwnershipLabels
from pytest_tfserving.targets.kubernetes.load_manifests import MASTER
from pytest_tfserving.targets.kubernetes.load_pods import LoadPod, PodHost
from server_process import Server, free_port, half_plus_two_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.deployment.load_messages import ProcessMessage
    from pytest_tfserving.load.result import Result

RUN_S = 4.0


@pytest.fixture
def measured(tmp_path: Path, half_plus_two: Path) -> Callable[[FakeCluster], Result]:
    """What a run of load from a cluster measures."""
    profile = LoadProfile(
        "slow",
        users=2,
        run_time_s=RUN_S,
        think_time_s=0.05,
        max_lag_ms=2000,
        max_cpu_wait=1,
        early_stop=False,
    )
    plan = half_plus_two_plan(profile)
    experiment = Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "half_plus_two", "json", profile)

    def measure(fake: FakeCluster) -> Result:
        with Server("half_plus_two", half_plus_two) as server:
            inside = {"rest": (Endpoint("127.0.0.1", server.port),)}
            deployment = Deployment(experiment, "e", "half_plus_two", "/v1/models/half_plus_two", inside, "")
            place = PodHost(
                fake.connect(), "n", OwnershipLabels("e"), inside, "image:1", LoadPods(), start_s=60.0
            )
            with LoadGenerator(tmp_path, place=place) as child:
                child.wait_until_ready()
                result, _ = runner.run(child, plan, deployment, lambda _: None)
            return result

    return measure


@pytest.mark.parametrize("lost", ["ready", "tick", "end"])
def test_a_log_that_loses_lines_loses_no_request(
    measured: Callable[[FakeCluster], Result], lost: str
) -> None:
    losses: list[int] = []
    last: list[dict[str, Any]] = []

    def lose(cluster: FakeCluster, line: dict[str, Any]) -> None:
        """The log is lost with its first line of that kind, and of a tick, with the two before it."""
        if line["event"] == lost and not losses and (lost != "tick" or line["n"] > 5):
            losses.append(line["n"])
            cluster.lose_log()
        if line["event"] == "end":
            last.append(line)

    with FakeCluster(lose) as cluster:
        result = measured(cluster)

    assert len(losses) == 1
    assert (result.invalid, result.aborted, result.incomplete) == ("", "", "")
    assert result.total_requests == last[0]["requests"] > 0
    assert result.run_s >= RUN_S


def test_a_pod_that_is_deleted_is_said_to_be_lost(measured: Callable[[FakeCluster], Result]) -> None:
    def delete(cluster: FakeCluster, line: dict[str, Any]) -> None:
        if line["event"] == "tick" and line["n"] > 3:
            cluster.delete_pod()

    with FakeCluster(delete) as cluster:
        result = measured(cluster)

    assert result.invalid == f"the load Pod {POD} was lost"
    assert result.total_requests > 0


def test_a_pod_that_is_deleted_is_lost_also_if_its_log_lost_lines_before(
    measured: Callable[[FakeCluster], Result],
) -> None:
    def lose(cluster: FakeCluster, line: dict[str, Any]) -> None:
        if line["event"] == "tick":
            cluster.lose_log()
            cluster.delete_pod()

    with FakeCluster(lose) as cluster:
        assert measured(cluster).invalid == f"the load Pod {POD} was lost"


def test_of_a_master_all_is_heard_that_it_says_of_how_it_led(tmp_path: Path) -> None:
    heard: list[ProcessMessage | None] = []
    plan = ProcessPlan(
        role="master",
        index=0,
        processes=0,  # so that it leads at once
        profile=LoadProfile("p", users=1, run_time_s=60),
        endpoints=(),
        path="",
        body=b"",
        expected=ExpectedAnswer("predictions", [1]),
        stall_s=60.0,
        master=("127.0.0.1", free_port()),
    )
    with FakeCluster() as cluster:
        cluster.start_pod()
        place = PodHost(cluster.connect(), "n", OwnershipLabels("e"), {}, "image:1", LoadPods(), start_s=60.0)
        pod = LoadPod(place, tmp_path, MASTER, 0, heard.append)
        until(pod.ready.is_set, "the first line")
        pod.write(plan.to_json())
        pod.write(json.dumps({"origin": time.time(), "now": time.time(), "same_clock": True}))
        until(lambda: len(heard) > 1, "lines of one that leads")
        pod.end()

    assert heard.pop() is None
    *leads, led = [line["event"] for line in heard if line]
    assert led == "led"
    assert set(leads) == {"leads"}


def test_lines_are_kept_up_to_a_limit() -> None:
    said = ReplayBuffer(most_bytes=24)
    for number in range(1, 6):
        said.add(f"line {number}\n")

    assert said.since(2) is None
    assert said.since(3) == ["line 3\n", "line 4\n", "line 5\n"]
    assert said.since(6) == []


def test_lines_that_are_not_kept_any_more_make_the_run_invalid(
    measured: Callable[[FakeCluster], Result],
) -> None:
    def forget(cluster: FakeCluster, line: dict[str, Any]) -> None:
        if line["event"] == "tick":
            cluster.log.append(b'{"event": "forgotten", "n": 99}\n')

    with FakeCluster(forget) as cluster:
        result = measured(cluster)

    assert result.invalid == f"lines of the load Pod {POD} were lost with a part of its log"
