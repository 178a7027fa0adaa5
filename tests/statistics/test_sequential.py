"""Evidence on a share: what it is where it can be computed by hand, and how often it is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_tfserving.statistics.sequential import log_partial_beta, needed_factor, share_evidence
from simulated_runs import NEEDED


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


def test_a_hundred_and_twenty_good_requests_prove_a_p95() -> None:
    below, _ = share_evidence(0.05, 0.0, np.array([119.0, 120.0]))

    assert below[0] < NEEDED <= below[1]


def test_evidence_of_many_requests_is_finite() -> None:
    for evidence in share_evidence(0.001, np.array([0.0, 3e4, 3e7]), 3e7):
        assert np.isfinite(evidence).all()


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_on_the_limit_it_is_seldom_wrong_however_often_it_is_looked_at(share: float) -> None:
    """Ten of 1000 may be, each way; more than 19 would be by chance less than once in two hundred times."""
    hits = np.random.default_rng(1).random((1000, 2000)) < share
    over = np.cumsum(hits, axis=1)[:, 9::10].astype(float)
    count = np.arange(10.0, 2001.0, 10.0)

    for evidence in share_evidence(share, over, count - over):
        assert np.sum(evidence.max(axis=1) >= NEEDED) <= 19


@pytest.mark.parametrize(("over", "side"), [(10, 0), (200, 1)])
def test_off_the_limit_it_points_one_way(over: int, side: int) -> None:
    evidence = share_evidence(0.05, over, 1000 - over)

    assert evidence[side] >= NEEDED
    assert evidence[1 - side] < 0


def test_how_much_longer_it_takes_is_known() -> None:
    assert needed_factor(0.05, (0.0, 120.0), NEEDED) == 1
    assert needed_factor(0.05, (0.0, 60.0), NEEDED) == pytest.approx(2, rel=0.06)
    assert needed_factor(0.05, (5.0, 95.0), NEEDED) == math.inf
    assert needed_factor(0.05, (0.0, 0.0), NEEDED) == math.inf
