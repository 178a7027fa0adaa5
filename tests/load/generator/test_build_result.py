"""Results made of the records of all load processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kept_records import keep_records
from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator import run as runner
from pytest_tfserving.load.generator.build_result import corrected
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES
from server_process import Server, half_plus_two_plan

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_percentiles_of_two_processes_are_those_of_all_their_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half_plus_two: Path
) -> None:
    raw = keep_records(monkeypatch)
    profile = LoadProfile("fast", rate=800, run_time_s=2, max_lag_ms=2000, max_cpu_wait=1)
    plan = half_plus_two_plan(profile)
    experiment = Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "half_plus_two", "json", profile)

    with Server("half_plus_two", half_plus_two) as server, LoadGenerator(tmp_path, 2) as child:
        endpoint = Endpoint("127.0.0.1", server.port)
        addresses = {"rest": (endpoint,)}
        deployment = Deployment(experiment, "e", {"half_plus_two": "/v1/models/half_plus_two"}, addresses, "")
        child.wait_until_ready()
        result, _ = runner.run(child, plan, deployment, lambda _: None)

    first, second = raw
    assert min(len(first), len(second)) > 500
    pooled = np.concatenate([first, second])
    ended_s = pooled[:, 0] + pooled[:, 1] / 1e3
    inside = (ended_s >= result.window.start_s) & (ended_s <= result.window.end_s) & (pooled[:, 2] == 0)
    latencies_ms = pooled[inside, 1] + pooled[inside, 3]
    assert result.requests == len(latencies_ms)
    for percentile in KEPT_PERCENTILES:
        exact = np.percentile(latencies_ms, percentile, method="inverted_cdf")
        assert result.percentile_ms(percentile) == exact
    assert result.total_requests == len(pooled)


def test_a_slow_answer_stands_for_the_requests_that_it_held_back() -> None:
    latencies_ms = np.array([5.0, 350.0, 100.0])

    assert sorted(corrected(latencies_ms, 100.0)) == [5, 50, 100, 150, 250, 350]
