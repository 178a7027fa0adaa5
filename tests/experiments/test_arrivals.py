"""When requests of an open loop are due: by arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfserving.experiments.arrivals import arrivals
from pytest_tfserving.experiments.load_shape import Stage


def test_constant_arrivals_are_evenly_apart() -> None:
    due = list(arrivals((Stage(0, 2, 10, 10),), "constant", seed=1))

    np.testing.assert_allclose(due, np.arange(0.05, 2, 0.1))


@pytest.mark.parametrize("distribution", ["constant", "poisson"])
def test_a_ramp_is_ever_denser(distribution: str) -> None:
    due = np.array(list(arrivals((Stage(0, 10, 0, 2000),), distribution, seed=3)))

    quarters = np.histogram(due, bins=4, range=(0, 10))[0]
    np.testing.assert_allclose(quarters / len(due), [1 / 16, 3 / 16, 5 / 16, 7 / 16], atol=0.02)
    assert len(due) == pytest.approx(10_000, rel=0.03)


def test_poisson_gaps_are_exponential_and_their_seed_makes_them_again() -> None:
    stages = (Stage(0, 100, 50, 50), Stage(100, 200, 50, 50))
    due = list(arrivals(stages, "poisson", seed=5))

    gaps_s = np.diff(due)
    assert gaps_s.mean() == pytest.approx(0.02, rel=0.05)
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.05)
    assert due == list(arrivals(stages, "poisson", seed=5))
    assert due != list(arrivals(stages, "poisson", seed=6))
