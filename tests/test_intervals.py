"""Confidence intervals hold the truth as often as they say, also where requests resemble their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_tfserving.statistics.intervals import Interval, overlap, percentile_intervals, rate_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


def intervals(latencies_ms: NDArray[np.float64], *percentiles: float) -> dict[float, Interval]:
    return percentile_intervals(latencies_ms, np.sort(latencies_ms), percentiles)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_a_percentile_is_inside_its_interval(rho: float) -> None:
    random, hits, runs = np.random.default_rng(7), 0, 300
    for _ in range(runs):
        noise = random.normal(0, np.sqrt(1 - rho**2), 4000)
        series = np.empty(4000)
        series[0] = random.normal()
        for index in range(1, 4000):
            series[index] = rho * series[index - 1] + noise[index]
        low, high = intervals(np.exp(series), 95.0)[95.0]
        hits += low <= np.exp(1.6448536) <= high

    assert hits / runs >= 0.90


def test_a_rate_is_inside_its_interval() -> None:
    random, hits, runs = np.random.default_rng(3), 0, 300
    for _ in range(runs):
        finished_s = 5 + np.cumsum(random.exponential(1 / 50, 3000))
        interval = rate_interval(finished_s[finished_s < 35], 5, 35)
        assert interval
        hits += interval[0] <= 50 <= interval[1]

    assert hits / runs >= 0.90


def test_too_few_requests_have_no_interval() -> None:
    assert rate_interval(np.arange(20.0), 0, 20) is None
    assert intervals(np.arange(20.0), 50.0) == {}


def test_a_percentile_beyond_the_data_has_no_interval() -> None:
    assert 99.9 not in intervals(np.random.default_rng(1).exponential(1, 400), 50.0, 99.9)


def test_overlap() -> None:
    assert overlap((1, 2), (2, 3))
    assert not overlap((1, 2), (2.1, 3))
    assert overlap(None, (1, 2))
