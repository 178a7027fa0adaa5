"""What differs between two servers besides their figures, from planted results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import planted_results as planted
from pytest_tfserving.load.differences import differences
from pytest_tfserving.load.result import CpuUse
from pytest_tfserving.server_side.observed import ServerSide
from pytest_tfserving.slo.change_tests import ServerChange

MB = 2**20
USUAL = ServerSide(
    cores=0.8,
    rss_bytes=300 * MB,
    rss_growth_bytes_per_s=0.02 * MB,
    throttled=0.01,
    context_switches_per_s=40.0,
    major_faults=0,
    restarts=0,
    idle_cores=0.0,
    model_load_s=1.2,
)


def batches(*, waited_us: float, ran_us: float, batches: int) -> dict[str, float]:
    """TF Serving's metrics of 1000 requests, a few of which were under way when their server was stopped."""
    return {
        "batching_session:queuing_latency_sum": 1e9,
        "batching_session:queuing_latency_count": 1000,
        "batching_session:queuing_latency_median": waited_us,
        "batching_session:processed_batch_size_sum": 1000,
        "batching_session:processed_batch_size_count": batches,
        "runtime_latency_sum": 1e9,
        "runtime_latency_count": 1000,
        "runtime_latency_median": ran_us,
    }


def told(candidate: dict[str, Any], baseline: dict[str, Any], **changes: ServerChange) -> tuple[str, ...]:
    return differences(planted.result(**candidate), planted.result(**baseline), changes)


def of_servers(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[str, ...]:
    """The differences between two servers that are usual but for these observations."""
    return told({"server": replace(USUAL, **ours)}, {"server": replace(USUAL, **theirs)})


@pytest.mark.parametrize(
    ("ours", "sentence"),
    [
        (
            {"throttled": 0.4},
            "its CPU limit throttled the candidate in 40.0 % of the scheduler's periods, the baseline server "
            "in 1.0 %",
        ),
        (
            {"rss_growth_bytes_per_s": 1.0 * MB},
            "the candidate's memory grew by 1.0 MB a second, that of the baseline server by 0.0 MB a second",
        ),
        (
            {"rss_bytes": 450 * MB},
            "the candidate used up to 450 MB of memory, the baseline server up to 300 MB",
        ),
        (
            {"context_switches_per_s": 400.0},
            "the candidate had 400 involuntary context switches a second, the baseline server 40",
        ),
        ({"major_faults": 900}, "the candidate read 900 pages from disk, the baseline server 0"),
        ({"restarts": 1}, "restarted containers: 1 of the candidate, 0 of the baseline server"),
        (
            {"model_load_s": 4.0},
            "the candidate loaded the model in 4 s, the baseline server in 1.2 s",
        ),
        (
            {"tf_metrics": {"saved_model:load_attempt_count": 1.0}},
            "models loaded while load ran: 1 by the candidate, 0 by the baseline server",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_differs_is_named_with_the_figures_of_both(ours: dict[str, Any], sentence: str) -> None:
    assert of_servers(ours, {}) == (sentence,)


def test_batches_that_wait_for_a_timeout_are_named() -> None:
    """The run of the model, which includes the wait, is not taken for the cause."""
    waiting = batches(waited_us=20_000, ran_us=24_000, batches=500)
    prompt = batches(waited_us=300, ran_us=3000, batches=1000)

    assert of_servers({"tf_metrics": waiting}, {"tf_metrics": prompt}) == (
        "a batch of the candidate had 2.0 examples on average, a batch of the baseline server 1.0",
        "median wait for a batch: 20 ms on the candidate, 0.3 ms on the baseline server",
    )


def test_a_server_that_does_not_batch_does_not_wait() -> None:
    waiting = batches(waited_us=20_000, ran_us=24_000, batches=500)

    assert of_servers({"tf_metrics": waiting}, {"tf_metrics": {"runtime_latency_median": 15.0}}) == (
        "median wait for a batch: 20 ms on the candidate, 0 ms on the baseline server",
    )
    assert of_servers({"tf_metrics": waiting}, {}) == ()


def test_a_model_that_runs_longer_is_named() -> None:
    slow, fast = ({"runtime_latency_median": each} for each in (4000.0, 3000.0))

    assert of_servers({"tf_metrics": slow}, {"tf_metrics": fast}) == (
        "median run of the model: 4 ms on the candidate, 3 ms on the baseline server",
    )


def test_throttling_is_named_where_the_other_server_has_no_cpu_limit() -> None:
    limited, unlimited = {"throttled": 0.8}, {"throttled": None}

    assert of_servers(limited, unlimited) == (
        "its CPU limit throttled the candidate in 80.0 % of the scheduler's periods, the baseline server in "
        "no known share",
    )
    assert of_servers(unlimited, limited) == (
        "its CPU limit throttled the candidate in no known share of the scheduler's periods, the baseline "
        "server in 80.0 %",
    )
    assert of_servers(unlimited, {"throttled": 0.01}) == ()
    assert of_servers(unlimited, unlimited) == ()


def test_servers_that_are_alike_differ_in_nothing() -> None:
    alike = {"rss_bytes": 310 * MB, "context_switches_per_s": 55.0, "throttled": 0.02, "model_load_s": 1.5}

    assert of_servers(alike, {}) == of_servers({}, alike) == ()
    assert told({"server": USUAL}, {"server": None}) == ()


@pytest.mark.parametrize(
    ("low", "named"),
    [(0.01, ["a request took 2.04 ms of CPU on the candidate, 2 ms on the baseline server"]), (-0.01, [])],
)
def test_cpu_a_request_is_named_if_its_change_is_sure(low: float, named: list[str]) -> None:
    ours, theirs = CpuUse(0, 100, 10.2, 5000), CpuUse(0, 100, 10.0, 5000)

    found = told({"cpu": ours}, {"cpu": theirs}, cpu_per_request_ms=ServerChange(0.02, low, 0.05, 0.01))

    assert list(found) == named


@pytest.mark.parametrize(
    ("ours", "theirs", "sentence"),
    [
        (
            {"idle_cores": 0.31},
            {},
            "the candidate used 0.31 cores while it was idle and the baseline server was loaded",
        ),
        (
            {},
            {"idle_cores": 1.5},
            "the baseline server used 1.50 cores while it was idle and the candidate was loaded",
        ),
    ],
)
def test_an_idle_server_that_uses_cpu_is_named(
    ours: dict[str, Any], theirs: dict[str, Any], sentence: str
) -> None:
    assert of_servers(ours, theirs) == (sentence,)


def test_errors_are_named_by_their_cause() -> None:
    ours = {"errors": {"HTTP 503: overloaded": 40, "HTTP 500: both have it": 20, "rare": 1}}
    theirs = {"errors": {"HTTP 500: both have it": 18, "HTTP 429: only there": 12}}

    assert told(ours, theirs) == (
        "40 requests failed on the candidate, 0 on the baseline server: HTTP 503: overloaded",
        "0 requests failed on the candidate, 12 on the baseline server: HTTP 429: only there",
    )
