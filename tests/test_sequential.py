"""Sequential evidence: what it is where it can be computed by hand, and how often it is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_tfserving.statistics.dependence import inefficiency, is_far_from, tail_inefficiency
from pytest_tfserving.statistics.sequential import (
    FIRST_REQUESTS,
    Evidence,
    MeanTest,
    ShareTest,
    log_partial_beta,
    mean_evidence,
    share_evidence,
)

NEEDED = math.log(100)
Z95 = 1.6448536269514722


def autocorrelated(random: np.random.Generator, length: int, rho: float, runs: int = 1) -> np.ndarray:
    """Standard normal AR(1) series, one a row."""
    series = random.standard_normal((length, runs))
    series[1:] *= math.sqrt(1 - rho * rho)
    for at in range(1, length):
        series[at] += rho * series[at - 1]
    return series.T


def decided(test: ShareTest | MeanTest, values: np.ndarray, limit: float = math.nan) -> tuple[int, int]:
    """1, -1 or 0 for above, below or undecided, and after how many values."""
    for seen in [*range(50, 500, 50), *range(500, len(values) + 1, 500)]:
        part = values[:seen]
        evidence = test.look(part, part > limit) if isinstance(test, ShareTest) else test.look(part)
        if max(evidence.above, evidence.below) >= NEEDED:
            return (1 if evidence.above >= NEEDED else -1), seen
    return 0, len(values)


@pytest.mark.parametrize(
    ("x", "a", "b"), [(0.05, 1.0, 19.0), (0.05, 31.5, 219.0), (0.95, 1000.0, 3.2), (0.001, 1.0, 5000.0)]
)
def test_the_incomplete_beta_function_is_its_integral(x: float, a: float, b: float) -> None:
    at = (np.arange(1_000_000) + 0.5) * x / 1_000_000
    logs = (a - 1) * np.log(at) + (b - 1) * np.log1p(-at)
    integral = logs.max() + math.log(np.exp(logs - logs.max()).mean() * x)

    assert float(log_partial_beta(x, a, b)) == pytest.approx(integral, abs=1e-4)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
def test_evidence_on_the_limit_is_worth_one(share: float) -> None:
    """The mean over everything that can happen, each as often as it does: a fair bet."""
    size = 60
    over = np.arange(size + 1.0)
    chances = [math.comb(size, int(k)) * share**k * (1 - share) ** (size - k) for k in over]

    for evidence in share_evidence(share, over, size - over):
        assert np.dot(np.exp(evidence), chances) == pytest.approx(1, abs=1e-9)


def test_evidence_of_means_far_off_points_one_way() -> None:
    for mean in (0.01, 0.2, 5.0, 1000.0):
        below, above = mean_evidence(200, mean, 0.1, 1.0)

        assert bool(below > NEEDED) is (mean < 1)
        assert bool(above > NEEDED) is (mean > 1)
        assert min(below, above) < 0


def test_a_hundred_and_twenty_good_requests_prove_a_p95() -> None:
    below, _ = share_evidence(0.05, 0.0, np.array([119.0, 120.0]))

    assert below[0] < NEEDED <= below[1]


def test_evidence_of_many_requests_is_finite() -> None:
    for evidence in share_evidence(0.001, np.array([0.0, 3e4, 3e7]), 3e7):
        assert np.isfinite(evidence).all()


def test_nothing_is_said_about_a_few_requests() -> None:
    values = np.full(FIRST_REQUESTS - 1, 1.0)

    assert ShareTest(0.05).look(values, values > 0) == Evidence()
    assert MeanTest(100.0).look(values[:29]) == Evidence()


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8, 0.9])
def test_on_the_limit_it_is_seldom_wrong(rho: float) -> None:
    """One of 100 runs may be; more than four would be by chance three times in a thousand, each way."""
    runs = autocorrelated(np.random.default_rng(1), 5000, rho, 100)
    outcomes = [decided(ShareTest(0.05), values, Z95)[0] for values in runs]

    assert outcomes.count(1) <= 4
    assert outcomes.count(-1) <= 4


def test_errors_that_come_in_bursts_are_not_taken_for_many() -> None:
    """A burst of thirty is little evidence, though thirty single errors would be enough."""
    random = np.random.default_rng(2)
    burst = np.zeros(1000)
    burst[500:530] = 1
    single = random.permutation(burst)

    assert decided(ShareTest(0.01), burst, 0.5)[0] == 0
    assert decided(ShareTest(0.01), single, 0.5)[0] == 1


def test_values_that_are_all_the_same_are_no_trend() -> None:
    assert decided(ShareTest(0.01), np.zeros(2000), 0.5)[0] == -1


@pytest.mark.parametrize(("limit", "outcome"), [(Z95 + 0.4, -1), (Z95 - 0.4, 1)])
@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_off_the_limit_it_is_right(rho: float, limit: float, outcome: int) -> None:
    runs = autocorrelated(np.random.default_rng(3), 20_000, rho, 20)
    outcomes = [decided(ShareTest(0.05), values, limit)[0] for values in runs]

    assert outcomes.count(outcome) >= 19


def test_far_off_the_limit_it_is_quick() -> None:
    random = np.random.default_rng(4)
    values = random.standard_normal(10_000)

    assert decided(ShareTest(0.05), values, 4.0)[1] <= 250
    assert decided(ShareTest(0.05), values, 0.0)[1] == FIRST_REQUESTS


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_rates_on_the_limit_are_seldom_called(rho: float) -> None:
    random = np.random.default_rng(5)
    runs = 10 + 2 * autocorrelated(random, 2000, rho, 200) + random.normal(0, 1, (200, 2000))
    outcomes = [decided(MeanTest(10.0), values)[0] for values in runs]

    assert outcomes.count(1) <= 6
    assert outcomes.count(-1) <= 6


@pytest.mark.parametrize(("limit", "outcome"), [(10 / 1.15, 1), (10 * 1.15, -1)])
def test_rates_off_the_limit_are_called(limit: float, outcome: int) -> None:
    values = np.random.default_rng(6).poisson(10, 3000).astype(float)

    found, seen = decided(MeanTest(limit), values)

    assert found == outcome
    assert seen <= 300


def test_the_inefficiency_of_an_autoregressive_series_is_known() -> None:
    random = np.random.default_rng(7)
    for rho in (0.0, 0.5, 0.8, 0.9):
        estimate, upper = inefficiency(autocorrelated(random, 8000, rho, 10))

        assert estimate.mean() == pytest.approx((1 + rho) / (1 - rho), rel=0.15)
        assert (upper >= estimate).all()


def test_series_without_any_change_are_worth_what_they_have() -> None:
    assert float(inefficiency(np.ones(1000))[0]) == pytest.approx(1, abs=0.01)
    assert float(tail_inefficiency(np.ones(1000), np.zeros(1000), 0.05)) >= 1


@pytest.mark.parametrize("rho", [0.9, 0.99])
def test_a_limit_that_a_series_reaches_seldom_looks_far_from_it(rho: float) -> None:
    latencies_ms = 100 * np.exp(0.35 * autocorrelated(np.random.default_rng(6), 200, rho, runs=1000))

    assert is_far_from(100 * math.exp(0.35 * Z95), latencies_ms).mean() < 0.01
    assert is_far_from(1e6, latencies_ms).all()
    assert is_far_from(1e-2, latencies_ms).all()
