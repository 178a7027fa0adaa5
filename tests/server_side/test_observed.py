"""What the server's side shows: measured while load runs, and named when an SLO fails."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import planted_results as planted
from harness import RESULT
from pytest_tfserving.plugin.outcomes import explain
from pytest_tfserving.server_side.observed import ServerSide, cores_by_second, findings, observed
from pytest_tfserving.slo.language import Slo
from pytest_tfserving.system.resource_usage import ResourceUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness import Project

HALF = """
defaults: {model: half_plus_two, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 20, run_time_s: 2, think_time_s: 0.02, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-2gb-1n, inter_op: 1, slo: ["max<1us"]}
  - {shape: 1cpu-2gb-1n, inter_op: 2, batching: true, slo: ["max<60s"]}
"""


MB = 2**20
THROTTLED = "its CPU limit throttled it in 50 % of the scheduler's periods, 4.0 s in all"


def samples(**rates: float) -> list[tuple[float, ResourceUsage]]:
    """Ten seconds of usage, twice a second, in which every count grows by so much a second."""
    return [(at / 2, grown(at / 2, rates)) for at in range(21)]


def grown(seconds: float, rates: Mapping[str, float]) -> ResourceUsage:
    return ResourceUsage(**{name: seconds * rate for name, rate in rates.items()})  # type: ignore[arg-type]  # of fields by name


def told(server: ServerSide, errors: Mapping[str, int] | None = None, vcpus: int | None = 2) -> list[str]:
    return list(findings(server, length_s=10.0, vcpus=vcpus, errors=errors or {}))


def test_only_the_window_counts() -> None:
    ramp = [(at / 2, ResourceUsage(cpu_s=0.0, rss_bytes=900)) for at in range(10)]
    steady = [(5 + at / 2, ResourceUsage(cpu_s=at / 2 * 1.5, rss_bytes=500)) for at in range(11)]

    server = observed([*ramp, *steady], 5.0, 10.0, {})

    assert server == ServerSide(cores=1.5, rss_bytes=500, rss_growth_bytes_per_s=0.0)


@pytest.mark.parametrize(
    ("resident", "growth"),
    [
        (lambda at_s: 100 * MB + MB * at_s, MB),
        (lambda _: 100 * MB, 0.0),
        (lambda at_s: 100 * MB + (50 * MB if at_s > 3 else 0), 0.0),
        (lambda at_s: 100 * MB - MB * at_s, 0.0),
    ],
    ids=["grows", "stays", "a step", "shrinks"],
)
def test_memory_that_grows_all_the_time_is_a_growth(
    resident: Callable[[float], float], growth: float
) -> None:
    seen = [(at / 2, ResourceUsage(rss_bytes=int(resident(at / 2)))) for at in range(21)]

    server, short = observed(seen, 0.0, 10.0, {}), observed(seen, 0.0, 4.0, {})

    assert server is not None
    assert short is not None
    assert server.rss_growth_bytes_per_s == pytest.approx(growth)
    assert short.rss_growth_bytes_per_s is None


def test_throttling_that_is_counted_later_than_the_rest_is_told() -> None:
    seen = samples(cpu_s=1.0, periods=10, throttled_periods=4)
    late = [(at, usage if at > 4 else replace(usage, periods=None)) for at, usage in seen]

    server = observed(late, 0.0, 10.0, {})

    assert server is not None
    assert (server.cores, server.throttled) == pytest.approx((1.0, 0.4))


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"cpu_s": 0.75}, {"cores": 0.75}),
        ({"periods": 10, "throttled_periods": 4, "throttled_s": 0.3}, {"throttled": 0.4, "throttled_s": 3.0}),
        ({"periods": 0, "throttled_periods": 0}, {}),
        ({"context_switches": 50}, {"context_switches_per_s": 50.0}),
        ({"major_faults": 20, "restarts": 0.1}, {"major_faults": 200, "restarts": 1}),
    ],
    ids=lambda value: "-".join(value) or "nothing",
)
def test_rates_and_shares_come_from_counts_that_grow(
    rates: dict[str, float], expected: dict[str, Any]
) -> None:
    server = observed(samples(**rates), 0.0, 10.0, {})

    assert server is not None
    found = {name: getattr(server, name) for name in expected}
    assert found == pytest.approx(expected)
    unknown = {"cores", "throttled", "throttled_s", "context_switches_per_s", "major_faults"}
    assert all(getattr(server, name) is None for name in unknown - set(expected) - {"throttled_s"})


def test_a_count_that_begins_anew_is_not_known() -> None:
    restarted = [(0.0, ResourceUsage(cpu_s=100.0, restarts=0)), (5.0, ResourceUsage(cpu_s=1.0, restarts=1))]

    server = observed(restarted, 0.0, 5.0, {})

    assert server == ServerSide(cores=None, restarts=1)


def test_nothing_seen_is_nothing_said() -> None:
    assert observed([], 0.0, 10.0, {}) is None


def test_cores_in_use_second_by_second() -> None:
    assert cores_by_second(samples(cpu_s=0.5)) == dict.fromkeys(range(10), 0.5)


@pytest.mark.parametrize(
    ("server", "errors", "expected"),
    [
        (ServerSide(restarts=2), {}, "containers restarted 2 times during the load"),
        (
            ServerSide(),
            {"HTTP 503: The batch scheduling queue to which this task was submitted is full": 7},
            "the batch queue was full for 7 requests; raise max_enqueued_batches or lower the load",
        ),
        (
            ServerSide(throttled=0.43, throttled_s=12.14),
            {},
            "its CPU limit throttled it in 43 % of the scheduler's periods, 12.1 s in all",
        ),
        (
            ServerSide(major_faults=1500),
            {},
            "it read 1500 pages back from disk: it is short of memory",
        ),
        (
            ServerSide(
                tf_metrics={
                    "batching_session:queuing_latency_sum": 9_000_000,
                    "batching_session:queuing_latency_count": 100,
                    "batching_session:processed_batch_size_sum": 100,
                    "batching_session:processed_batch_size_count": 25,
                    "runtime_latency_sum": 4_000_000,
                    "runtime_latency_count": 100,
                }
            ),
            {},
            "requests waited 90 ms for their batch on average, the model ran for 40 ms in batches of 4.0",
        ),
        (
            ServerSide(cores=1.98, rss_bytes=3 * 2**29),
            {},
            "it used 2 of 2 vCPUs, at most 1.5 GB of RAM",
        ),
    ],
    ids=["restarts", "queue full", "throttled", "short of memory", "long queue", "cpu"],
)
def test_what_slowed_the_server_down_is_said(
    server: ServerSide, errors: dict[str, int], expected: str
) -> None:
    assert told(server, errors) == [expected]


@pytest.mark.parametrize(
    "server",
    [
        ServerSide(throttled=0.01, throttled_s=0.1),
        ServerSide(major_faults=20),
        ServerSide(restarts=0),
        ServerSide(
            tf_metrics={
                "batching_session:queuing_latency_sum": 1000,
                "batching_session:queuing_latency_count": 100,
                "runtime_latency_sum": 4_000_000,
                "runtime_latency_count": 100,
            }
        ),
    ],
    ids=["hardly throttled", "a few pages", "no restart", "short queue"],
)
def test_what_explains_nothing_is_not_said(server: ServerSide) -> None:
    assert told(server) == []


def test_a_failure_names_what_the_servers_side_shows() -> None:
    slow = replace(RESULT, server=ServerSide(throttled=0.5, throttled_s=4.0))

    failed, passed = (explain(slow, slow.judge([Slo.parse(text)])) for text in ("p50<1ms", "p50<9s"))

    assert failed.endswith(
        "  server: its CPU limit throttled it in 50 % of the scheduler's periods, 4.0 s in all"
    )
    assert "server:" not in passed


def test_the_embedded_server_is_watched_while_it_is_loaded(project: Project) -> None:
    project.write(HALF)

    run, (failed, batched) = project.results(project.embedded_server(), server=False)

    run.assert_outcomes(passed=1, failed=1)
    run.stdout.fnmatch_lines(["  server: it used * of 1 vCPU, at most * GB of RAM"])
    assert failed["server"]["tf_metrics"]["request_count"] == failed["total_requests"]
    assert 0 < failed["server"]["cores"] <= 1.1
    assert failed["server"]["rss_bytes"] > 1e8
    assert batched["server"]["tf_metrics"]["batching_session:processed_batch_size_count"] > 0
    assert "--enable_batching=true" in batched["environment"]["server_flags"]


def test_a_server_without_metrics_is_watched_all_the_same(project: Project) -> None:
    _, (result,) = project.results()

    assert result["server"]["tf_metrics"] == {}
    assert result["server"]["rss_bytes"] > 0


def test_a_pass_beside_a_lost_replica_is_a_warning(project: Project) -> None:
    lost = ServerSide(incidents=("Pod tfserving-1 was lost, seen at 10:11:12 UTC",))
    planted.instead_of_load(project, lambda _: {"server": lost})
    project.write(HALF.replace("max<1us", "max<60s"), "def test_gate(load):\n    assert load().rps >= 1\n")

    run = project.run("-k", "interop1")

    run.assert_outcomes(passed=1, warnings=1)
    run.stdout.fnmatch_lines(["*TFServingWarning: 1cpu-2gb-1n-interop1: Pod tfserving-1 was lost, seen at *"])
