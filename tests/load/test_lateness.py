"""Latencies without the time in which the generator was late."""

from __future__ import annotations

import numpy as np

from pytest_tfserving.load.lateness import Lateness


def test_lateness_is_taken_off_the_requests_that_it_can_have_touched() -> None:
    lateness = Lateness([(1.0, 1.02, 5.0), (2.0, 2.02, 30.0)])

    cleared = lateness.cleared(
        np.array([0.5, 0.995, 1.99, 2.025, 2.1, 2.15]), np.array([100.0, 20.0, 20.0, 20.0, 60.0, 200.0])
    )

    # Before any; over the first; shorter than the second; queued behind it; after it; over all of it.
    assert cleared.tolist() == [100.0, 15.0, 0.0, 0.0, 60.0, 170.0]


def test_without_lateness_latencies_stay() -> None:
    assert not Lateness([])
    assert Lateness([]).cleared(np.array([1.0]), np.array([20.0])).tolist() == [20.0]
