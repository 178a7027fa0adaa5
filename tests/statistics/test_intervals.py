"""Confidence intervals hold the truth as often as they say, also where requests resemble their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from _figures import FIGURES, figures_of
from _noise import Noise, Server, runs

from pytest_tfserving.statistics.intervals import overlap
from pytest_tfserving.statistics.span import SpanStatistics
from simulated_runs import autocorrelated

if TYPE_CHECKING:
    from numpy.typing import NDArray


def part_of(
    finished_s: NDArray[np.float64], latencies_ms: NDArray[np.float64], start_s: float, end_s: float
) -> SpanStatistics:
    part, failed = SpanStatistics(start_s, end_s), np.zeros(len(finished_s), bool)
    part.add(finished_s, latencies_ms, failed)
    part.close()
    part.see_again(finished_s, latencies_ms, failed)
    return part


def even(latencies_ms: NDArray[np.float64]) -> SpanStatistics:
    """Requests that end a millisecond apart."""
    count = len(latencies_ms)
    return part_of((np.arange(count) + 0.5) / 1000, latencies_ms, 0, count / 1000)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_figures_are_inside_their_intervals(rho: float) -> None:
    random, runs = np.random.default_rng(7), 150
    truths = {"p50_ms": 1.0, "p95_ms": np.exp(1.6448536), "p99_ms": np.exp(2.3263479), "mean_ms": np.exp(0.5)}
    hits = dict.fromkeys(truths, 0)
    for run in np.exp(autocorrelated(random, 4000, rho, runs)):
        intervals, _ = even(run).intervals()
        for name, truth in truths.items():
            low, high = intervals.get(name, (0, np.inf))
            hits[name] += low <= truth <= high

    assert min(hits.values()) / runs >= 0.90


def test_a_rate_is_inside_its_interval() -> None:
    random, hits, runs = np.random.default_rng(3), 0, 150
    for _ in range(runs):
        finished_s = 5 + np.cumsum(random.exponential(1 / 50, 3000))
        intervals, n_eff = part_of(finished_s, np.ones(3000), 5, 35).intervals()
        hits += intervals["rps"][0] <= 50 <= intervals["rps"][1]
        assert n_eff["rps"] <= 3000

    assert hits / runs >= 0.90


def test_an_error_rate_has_an_interval_and_an_effective_size() -> None:
    finished_s, failed = np.arange(2000) / 100, np.arange(2000) % 50 == 0
    part = SpanStatistics(0, 20)
    part.add(finished_s, np.ones(2000), failed)
    part.close()
    intervals, n_eff = part.intervals()

    assert intervals["error_rate"][0] < 0.02 < intervals["error_rate"][1]
    assert n_eff["error_rate"] <= 2000
    assert part.failures == 40


def test_neighbours_that_resemble_each_other_count_less() -> None:
    random = np.random.default_rng(5)
    alike = np.repeat(random.exponential(10, 1000), 10)

    assert even(alike).intervals()[1]["p95_ms"] < 2500
    assert even(random.permutation(alike)).intervals()[1]["p95_ms"] > 7000


def test_blocks_may_come_in_any_order() -> None:
    """As the files of several load processes do: one after the other."""
    random = np.random.default_rng(9)
    finished_s, latencies_ms = np.sort(random.uniform(0, 60, 5000)), random.exponential(10, 5000)
    whole, split = part_of(finished_s, latencies_ms, 10, 60), SpanStatistics(10, 60)
    blocks = [
        (finished_s[at::3], latencies_ms[at::3], np.zeros(len(finished_s[at::3]), bool)) for at in (2, 0, 1)
    ]
    for block in blocks:
        split.add(*block)
    split.close()
    for block in blocks:
        split.see_again(*block)

    intervals, n_eff = split.intervals()
    assert intervals == {name: pytest.approx(value) for name, value in whole.intervals()[0].items()}
    assert n_eff == whole.intervals()[1]
    np.testing.assert_array_equal(split.latencies.values_ms, whole.latencies.values_ms)


def test_too_few_requests_have_no_interval() -> None:
    intervals, _ = even(np.arange(20.0)).intervals()

    assert set(intervals) == {"error_rate"}


def test_a_percentile_beyond_the_data_has_no_interval() -> None:
    intervals, _ = even(np.random.default_rng(1).exponential(1, 400)).intervals()

    assert "p50_ms" in intervals
    assert "p99_9_ms" not in intervals


def test_overlap() -> None:
    assert overlap((1, 2), (2, 3))
    assert not overlap((1, 2), (2.1, 3))
    assert overlap(None, (1, 2))


def test_an_interval_is_about_its_figure_where_blocks_are_longer_than_the_memory() -> None:
    noise = Noise(tau_s=1.0, share=0.5, sigma=0.25)
    (run,) = runs(np.random.default_rng(3), 1, 900.0, Server(users=2, rps=50.0), noise)

    found = dict(zip(FIGURES, figures_of(run, 900.0), strict=True))

    for value, low, high in (found["p50"], found["p95"]):
        assert 0.3 < (value - low) / (high - low) < 0.7
