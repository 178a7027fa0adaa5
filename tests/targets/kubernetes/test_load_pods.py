"""What becomes of a run whose load Pods are lost, or lines of their logs; the API server is a stand-in."""

from __future__ import annotations

import io
import json
import socket
import time
from array import array
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fake_cluster import POD, FakeCluster
from harness import until
from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.experiment import Experiment, LoadPods, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.experiments.trace import ReplaySchedule
from pytest_tfserving.load.generator import run as runner
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.load.kinds import Kinds
from pytest_tfserving.load.process_plan import ProcessPlan
from pytest_tfserving.load.worker.replay_buffer import ReplayBuffer
from pytest_tfserving.protocols.answer import AnswerForm
from pytest_tfserving.protocols.prepared_requests import PreparedRequests, RequestWriter
from pytest_tfserving.targets.common.ownership import OwnershipLabels
from pytest_tfserving.targets.kubernetes import load_pods
from pytest_tfserving.targets.kubernetes.load_manifests import MASTER
from pytest_tfserving.targets.kubernetes.load_pods import LoadPod, PodHost
from server_process import Server, free_port, half_plus_two_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.deployment.load_messages import ProcessMessage
    from pytest_tfserving.load.result import Result

RUN_S = 2.5
ONE_KIND = Kinds()


@pytest.fixture
def measured(
    tmp_path: Path, half_plus_two: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[FakeCluster], Result]:
    """What a run of load from a cluster measures; a log that says nothing is soon read again."""
    monkeypatch.setattr(load_pods, "_QUIET_S", 1.0)
    monkeypatch.setattr(load_pods, "_ASK_AGAIN_S", 0.2)
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

    def measure(
        fake: FakeCluster,
        requests: PreparedRequests | None = None,
        kinds: Kinds = ONE_KIND,
        schedule: ReplaySchedule | None = None,
        profile: LoadProfile = profile,
    ) -> Result:
        sent = replace(plan, requests=requests, expected={}, kinds=kinds) if requests else plan
        sent = replace(sent, schedule=schedule, profile=profile)
        with Server("half_plus_two", half_plus_two) as server:
            inside = {"rest": (Endpoint("127.0.0.1", server.port),)}
            deployment = Deployment(
                experiment, "e", {"half_plus_two": "/v1/models/half_plus_two"}, inside, ""
            )
            place = PodHost(
                fake.connect(), "n", OwnershipLabels("e"), inside, "image:1", LoadPods(), start_s=60.0
            )
            with LoadGenerator(tmp_path, place=place) as child:
                child.wait_until_ready()
                result, _ = runner.run(child, sent, deployment, lambda _: None)
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


def test_a_payload_set_comes_to_load_pods_in_parts(measured: Callable[..., Result]) -> None:
    rows = {"small": 2, "large": 100_000}
    requests = small_and_large(rows)
    assert len(list(requests.parts())) > 1

    with FakeCluster() as cluster:
        result = measured(cluster, requests, Kinds.named(list(rows)))

    assert not result.errors
    assert all(len(result.kinds[kind].latencies) for kind in rows)


def small_and_large(rows: dict[str, int]) -> PreparedRequests:
    """A payload set of a request of each kind, with so many rows."""
    file = io.BytesIO()
    writer = RequestWriter(file)
    for count in rows.values():
        body = json.dumps({"instances": [[1.0]] * count}).encode()
        writer.add(body, AnswerForm("predictions", count))
    writer.close()
    return PreparedRequests(file.getvalue())


def test_the_schedule_of_a_trace_comes_to_load_pods(measured: Callable[..., Result]) -> None:
    """Longer than what is written at once."""
    rows, due = {"small": 2, "large": 3}, 300
    times_s = [RUN_S * number / due for number in range(due)] + [1e6 + each for each in range(5000)]
    bodies = [int(number % 3 == 2) for number in range(len(times_s))]
    schedule = ReplaySchedule(array("d", times_s), array("Q", bodies))
    profile = LoadProfile(
        "replay", rate=75, run_time_s=RUN_S, max_lag_ms=2000, max_cpu_wait=1, early_stop=False
    )

    with FakeCluster() as cluster:
        result = measured(
            cluster, small_and_large(rows), Kinds.named(list(rows)), schedule=schedule, profile=profile
        )

    assert not result.errors
    assert result.total_requests == due
    counts = {kind: len(each.latencies) for kind, each in result.kinds.items()}
    assert counts["small"] == pytest.approx(2 * counts["large"], abs=2)


def test_a_trace_that_is_too_long_for_load_pods_is_refused(measured: Callable[..., Result]) -> None:
    schedule = ReplaySchedule(array("d", bytes(8 * 10_000_001)), array("Q"))

    with FakeCluster() as cluster, pytest.raises(ConfigurationError) as refused:
        measured(cluster, small_and_large({"small": 2}), schedule=schedule)

    assert str(refused.value) == (
        "the run replays 10,000,001 requests of a trace, and load Pods take at most 10,000,000; send load "
        "from this machine, or shorten the run (--tfserving-run-time)."
    )


def test_of_a_master_all_is_heard_that_it_says_of_how_it_led(tmp_path: Path) -> None:
    heard: list[ProcessMessage | None] = []
    plan = ProcessPlan(
        role="master",
        index=0,
        processes=0,  # so that it leads at once
        profile=LoadProfile("p", users=1, run_time_s=60),
        endpoints=(),
        paths=(),
        expected={},
        most_bytes=1,
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


def unreachable(folder: Path, *endpoints: Endpoint) -> dict[str, str]:
    """The addresses that a load Pod does not reach, and how."""
    experiment = Experiment(
        "e",
        Shape(1, 1, 1),
        ServingOptions(1, 1),
        "half_plus_two",
        "json",
        LoadProfile("p", users=1, run_time_s=9),
    )
    inside = {"rest": endpoints}
    deployment = Deployment(experiment, "e", {"half_plus_two": "/v1/models/half_plus_two"}, inside, "")
    with FakeCluster() as cluster:
        place = PodHost(
            cluster.connect(), "n", OwnershipLabels("e"), inside, "image:1", LoadPods(), start_s=60.0
        )
        with LoadGenerator(folder, place=place) as child:
            child.wait_until_ready()
            return child.unreachable(deployment)


def test_a_load_pod_says_which_server_refuses_its_connections_and_which_drops_them(tmp_path: Path) -> None:
    refused = free_port()
    with ExitStack() as stack:
        takes, drops = (stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0)) for _ in "ab")
        for _ in range(3):  # once its backlog is full, a server's system drops connections
            waits = stack.enter_context(socket.socket())
            waits.settimeout(0)
            waits.connect_ex(drops.getsockname())
        ports = [each.getsockname()[1] for each in (takes, drops)]

        found = unreachable(tmp_path, *(Endpoint("127.0.0.1", port) for port in (*ports, refused)))

    assert found == {f"127.0.0.1:{ports[1]}": "dropped", f"127.0.0.1:{refused}": "refused"}
