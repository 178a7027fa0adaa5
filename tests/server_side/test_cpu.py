"""CPU a request: read finely, divided by what was answered meanwhile, judged, or said to be unknown."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from harness import LONG_ENOUGH, RESULT, until
from kubelet_container import CONTAINER_ID, PATHS, pod
from load_events import end, part, settled, tick
from pytest_tfserving.deployment.deployment import Deployment
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator.build_result import outcome
from pytest_tfserving.load.generator.load_watch import LoadWatch
from pytest_tfserving.load.generator.run_state import RunState
from pytest_tfserving.load.recorder import Recorder
from pytest_tfserving.load.result import CpuUse, Result
from pytest_tfserving.server_side.cpu import CpuCurve, CpuHistory
from pytest_tfserving.slo.language import Slo
from pytest_tfserving.slo.monitor import SloMonitor
from pytest_tfserving.statistics.intervals import ratio_interval
from pytest_tfserving.statistics.latencies import Latencies
from pytest_tfserving.system.processes import ChildProcess
from pytest_tfserving.system.resource_usage import CpuReading, ResourceUsage
from pytest_tfserving.targets.kubernetes.kubelet import seen_by_kubelets
from pytest_tfserving.targets.kubernetes.kubelet_statistics import cpu_reading_of
from server_process import half_plus_two_plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness import Project
    from pytest_tfserving.targets.kubernetes.objects import Pod

PLAN = half_plus_two_plan(LoadProfile("p", users=1, run_time_s=60, max_lag_ms=2000))
# Uses 0.2 s of CPU in a thread and 0.2 s in a child, both of which end.
BUSY = """
import subprocess, sys, threading, time
def busy():
    while time.process_time() < 0.2:
        pass
thread = threading.Thread(target=busy)
thread.start()
thread.join()
code = "import time\\nwhile time.process_time() < 0.2: pass"
subprocess.run([sys.executable, "-S", "-c", code])
print("done", flush=True)
time.sleep(600)
"""


def history(*replicas: Sequence[tuple[float, float]]) -> CpuHistory:
    """What was read of some replicas, each as pairs of a time and the CPU used until then."""
    found = CpuHistory()
    for index, readings in enumerate(replicas):
        for at_s, cpu_s in readings:
            found.add(ResourceUsage(cpu=(CpuReading(f"replica {index}", at_s, cpu_s),)))
    return found


def taken_in_turn(idle_cores: float, turn_s: float, until_s: float = 40.0) -> CpuHistory:
    """What is read each second of a server that is loaded every other ``turn_s``, and then uses a core."""
    found = CpuHistory()
    cpu_s = loaded_s = 0.0
    for second in range(int(until_s)):
        loaded_at = {float(second): loaded_s}
        reading = CpuReading("replica 0", float(second), cpu_s)
        found.add(ResourceUsage(cpu=(reading,)), loaded_at.__getitem__)
        is_loaded = second // turn_s % 2 == 0
        loaded_s += is_loaded
        cpu_s += 1.0 if is_loaded else idle_cores
    return found


def test_cpu_of_a_server_that_is_not_loaded_is_seen() -> None:
    assert taken_in_turn(0.3, turn_s=4).idle_cores == pytest.approx(0.3)
    assert taken_in_turn(0.0, turn_s=4).idle_cores == 0.0
    # Nobody saw it without load for long enough.
    assert taken_in_turn(0.3, turn_s=60).idle_cores is None
    assert taken_in_turn(0.3, turn_s=4, until_s=6).idle_cores is None


def loaded(folder: Path, cpu: CpuCurve, target: str = "local", every_s: float = 0.1) -> Result:
    """The result of a minute of requests that take a tenth of a second, one after the other."""
    records = folder / "records.f64"
    recorder = Recorder(records.open("ab", buffering=0), lambda _index, _text: None)
    for sent_s in np.arange(0.0, 59.9, every_s):
        recorder.record(float(sent_s), 99.0)
    recorder.close()
    experiment = Experiment(
        "e", Shape(1, 1, 1), ServingOptions(1, 1), "half_plus_two", "json", PLAN.profile, target=target
    )
    deployment = Deployment(experiment, "e", {"half_plus_two": "/v1/models/half_plus_two"}, {}, "")
    run_state = RunState(SloMonitor((), 0.01, has_baseline=False, plateau=False), LoadWatch(PLAN.profile))
    requests = recorder.requests
    for message in (part(0.5, 1, 0, requests), settled(0.5), tick(30.0, requests), end(60.0, requests)):
        run_state.hear(message)
    run_state.monitor.settle(0.5)
    return outcome(PLAN, deployment, run_state, [records], "2026-01-01T00:00:00+00:00", cpu)


def steady(every_s: float, cpu_of_a_second: float = 0.5, until_s: float = 60.0) -> CpuCurve:
    at_s = np.arange(0.0, until_s + 1e-9, every_s)
    return CpuCurve(at_s, at_s * cpu_of_a_second)


# Read


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads that ended are the system's to count")
def test_cpu_of_threads_and_children_that_ended_is_counted(tmp_path: Path) -> None:
    child = ChildProcess([sys.executable, "-S", "-c", BUSY], tmp_path / "log")
    try:
        until(lambda: "done" in child.last_lines(), "the child's work")
        (reading,) = child.usage().cpu
    finally:
        child.stop()

    assert 0.39 <= reading.cpu_s < 2
    assert child.usage().cpu == ()


@pytest.mark.parametrize("labels", PATHS)
def test_a_kubelets_reading_has_the_time_of_its_counting(labels: str) -> None:
    page = (
        f"# TYPE container_cpu_usage_seconds_total counter\n"
        f'container_cpu_usage_seconds_total{{cpu="total",{labels.replace(CONTAINER_ID, "another")}}} 9 17\n'
        f'container_cpu_usage_seconds_total{{cpu="total",{labels}}} 4.25 1795707694659\n'
    )

    assert cpu_reading_of(page, pod(f"containerd://{CONTAINER_ID}"), "k") == CpuReading(
        "k", 1795707694.659, 4.25
    )
    assert cpu_reading_of(page, pod(""), "k") is None


def test_a_kubelet_is_asked_once_for_all_of_its_pods() -> None:
    asked = []

    class Cluster:
        def text(self, path: str) -> str:
            asked.append(path)
            return "".join(
                f'container_cpu_usage_seconds_total{{id="/pods/{name}"}} {used} 1795707694659\n'
                for name, used in (("a1", 3), ("b2", 5))
            )

    pods: list[Pod] = [
        {
            "metadata": {"name": f"tfserving-{name}"},
            "spec": {"nodeName": "node1"},
            "status": pod(f"containerd://{name}")["status"],
        }
        for name in ("a1", "b2", "c3")
    ]

    limited, used = seen_by_kubelets(cast("Any", Cluster()), pods)

    assert asked == ["/api/v1/nodes/node1/proxy/metrics/cadvisor"]
    assert limited == {}
    assert {key: reading.cpu_s for key, reading in used.items()} == {
        "Pod tfserving-a1": 3,
        "Pod tfserving-b2": 5,
    }


def test_replicas_are_added_up_where_all_were_read() -> None:
    often = [(100.0 + at, 2.0 * at) for at in range(21)]
    seldom = [(101.5, 10.0), (111.5, 15.0), (119.5, 19.0), (119.5, 19.0)]

    curve = history(often, seldom).curve(100.0)

    assert curve.at_s.tolist() == [1.5, 11.5, 19.5]
    assert curve.cpu_s.tolist() == [13.0, 38.0, 58.0]


# Divided by what was answered


def test_a_request_is_charged_what_the_replicas_used_while_it_was_answered(tmp_path: Path) -> None:
    result = loaded(tmp_path, steady(0.5))

    assert result.cpu_per_request_ms == pytest.approx(50, rel=0.01)
    low, high = result.intervals["cpu_per_request_ms"]
    assert low <= result.cpu_per_request_ms <= high
    assert high - low < 3


def test_between_rare_readings_only_that_time_counts(tmp_path: Path) -> None:
    result = loaded(tmp_path, steady(14.0))

    assert (result.cpu.start_s, result.cpu.end_s) == (14.0, 56.0)
    assert result.cpu_per_request_ms == pytest.approx(50, rel=0.01)


@pytest.mark.parametrize(
    ("cpu", "target", "unknown"),
    [
        (
            steady(50.0),
            "kubernetes",
            "the kubelet measures CPU every 10 to 20 s, and the window was 60 s",
        ),
        (CpuHistory().curve(0.0), "url", "target url cannot see the server's CPU"),
        (
            steady(50.0),
            "docker",
            "the server's CPU was not read twice in the window of 59.5 s",
        ),
        (
            CpuCurve(np.array([1.0, 20.0, 40.0]), np.array([5.0, 9.0, 0.5])),
            "kubernetes",
            "a replica was restarted in the window, and its CPU was counted from 0 again",
        ),
        (
            CpuCurve(np.empty(0), np.empty(0), "no permission to get nodes/proxy"),
            "kubernetes",
            "the server's CPU cannot be seen: no permission to get nodes/proxy",
        ),
        (
            CpuCurve(np.array([59.98, 59.99]), np.array([5.0, 9.0])),
            "local",
            "no request succeeded between two readings of the server's CPU",
        ),
    ],
    ids=["kubelet", "url", "docker", "restarted", "not allowed", "no success"],
)
def test_cpu_that_is_not_seen_is_not_judged_and_says_why(
    tmp_path: Path, cpu: CpuCurve, target: str, unknown: str
) -> None:
    result = loaded(tmp_path, cpu, target)

    judgement = Slo.parse("cpu_per_request<95ms").judge(result)

    assert (str(judgement.verdict), judgement.reason) == ("NOT JUDGED", unknown)


# Judged


@pytest.mark.parametrize(
    ("text", "interval", "verdict", "reason"),
    [
        (
            "cpu_per_request<95ms",
            (48, 52),
            "PASS",
            "cpu_per_request is 50 ms, 45 ms below the limit (-47.4 %)",
        ),
        ("cpu_per_request<=0.04s", (48, 52), "FAIL", "cpu_per_request is 0.05 s, 0.01 s above the limit"),
        (
            "cpu_per_request<51000us",
            (48, 52),
            "INCONCLUSIVE",
            "its 95 % interval is from 48000 us to 52000 us",
        ),
        (
            "cpu_per_request<95ms",
            None,
            "INCONCLUSIVE",
            "two readings of the server's CPU do not tell how much",
        ),
    ],
)
def test_the_interval_decides(
    text: str, interval: tuple[float, float] | None, verdict: str, reason: str
) -> None:
    intervals = {"cpu_per_request_ms": interval} if interval else {}
    result = replace(RESULT, cpu=CpuUse(1.0, 11.0, 5.0, 100), intervals=intervals)

    judgement = Slo.parse(text).judge(result)

    assert str(judgement.verdict) == verdict
    assert reason in judgement.reason


def test_without_a_success_it_fails() -> None:
    result = replace(RESULT, latencies=Latencies.of(np.empty(0)))

    assert str(Slo.parse("cpu_per_request<95ms").judge(result).verdict) == "FAIL"


def test_the_interval_of_a_ratio_covers_it() -> None:
    random, hits = np.random.default_rng(11), 0
    for _ in range(300):
        successes = random.poisson(40, 40).astype(float)
        used = successes * 50 * np.exp(random.normal(0, 0.1, 40) - 0.005)
        interval = ratio_interval(used, successes, 0.5, 1.0)
        assert interval
        hits += interval[0] <= 50 <= interval[1]

    assert 0.92 <= hits / 300 <= 0.99


def test_one_batch_has_no_interval() -> None:
    assert ratio_interval(np.array([5.0]), np.array([100.0]), 0.5, 10.0) is None
    assert ratio_interval(np.array([5.0, 6.0]), np.zeros(2), 0.5, 10.0) is None


# Reported


def test_it_is_in_every_report(project: Project) -> None:
    slo = "cpu_per_request<10s"
    project.decide_soon()
    project.write(
        tests=f'import pytest\n@pytest.mark.slo("{slo}")\ndef test_gate(load):\n    load().check()\n'
    )

    run, (result,) = project.results(
        "--junit-xml=j.xml", "--tfserving-markdown=r.md", "--tfserving-html=r.html", *LONG_ENOUGH
    )

    run.assert_outcomes(passed=1)
    value = result["metrics"]["cpu_per_request_ms"]
    assert 0 < value < 1000
    assert value == pytest.approx(1e3 * result["cpu"]["used_s"] / result["cpu"]["successes"])
    (judged,) = [each for each in result["slos"] if each["slo"] == slo]
    assert judged["verdict"] == "PASS"
    run.stdout.fnmatch_lines(["*CPU a request *"])
    written = {
        name: (project.pytester.path / name).read_text(encoding="utf-8")
        for name in ("j.xml", "r.md", "r.html")
    }
    assert f'name="cpu_per_request_ms" value="{round(value, 4)}"' in written["j.xml"]
    assert "| CPU ms |" in written["r.md"]
    assert "CPU a request" in written["r.html"]
