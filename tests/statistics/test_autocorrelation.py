"""How many independent values a series is worth."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfserving.statistics.autocorrelation import inefficiency
from simulated_runs import autocorrelated


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8, 0.9])
def test_the_inefficiency_of_an_autoregressive_series_is_known(rho: float) -> None:
    estimate, upper = inefficiency(autocorrelated(np.random.default_rng(7), 8000, rho, 10))

    assert estimate.mean() == pytest.approx((1 + rho) / (1 - rho), rel=0.15)
    assert (upper >= estimate).all()


def test_its_upper_bound_is_seldom_below_the_truth() -> None:
    _, upper = inefficiency(autocorrelated(np.random.default_rng(8), 500, 0.8, 200))

    assert np.mean(upper >= 9) >= 0.9


def test_a_series_without_any_change_is_worth_what_it_has() -> None:
    assert float(inefficiency(np.ones(1000))[0]) == pytest.approx(1, abs=0.01)
