"""Changes between two figures: their interval against simulations, and the smallest change to be seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_tfserving.statistics.ratio import Z_95, Figure, difference, relative_change


def figure(value: float, se: float) -> Figure:
    """A figure whose logarithm has the standard error ``se``."""
    return Figure(value, value * math.exp(-Z_95 * se), value * math.exp(Z_95 * se))


def test_the_errors_of_both_figures_add_up_in_squares() -> None:
    change = relative_change(figure(100, 0.03), figure(110, 0.04))

    assert change is not None
    low, high = change.interval()
    assert change.value == pytest.approx(0.1)
    assert (low, high) == pytest.approx((1.1 * math.exp(-Z_95 * 0.05) - 1, 1.1 * math.exp(Z_95 * 0.05) - 1))


def test_the_interval_of_two_equal_servers_leaves_out_no_change_in_one_of_twenty() -> None:
    random = np.random.default_rng(1)
    missed = 0
    for before, now in np.exp(random.normal(0, 0.03, (2000, 2))):
        change = relative_change(figure(before, 0.03), figure(now, 0.03))
        assert change is not None
        low, high = change.interval()
        missed += not low <= 0 <= high
    assert 0.035 < missed / 2000 < 0.065


def test_the_smallest_change_is_seen_four_times_of_five() -> None:
    random = np.random.default_rng(2)
    same = relative_change(figure(1, 0.03), figure(1, 0.03))
    assert same is not None
    planted = 1 + same.smallest(upward=True)
    seen = 0
    for before, now in np.exp(random.normal(0, 0.03, (2000, 2))):
        change = relative_change(figure(before, 0.03), figure(planted * now, 0.03))
        assert change is not None
        seen += change.interval()[0] > 0
    assert 0.77 < seen / 2000 < 0.83


def test_scatter_from_elsewhere_counts() -> None:
    plain = relative_change(figure(1, 0.01), figure(1, 0.01))
    least = relative_change(Figure(1, 0.99, 1.01, least_sd=0.05), Figure(1, 0.99, 1.01, least_sd=0.05))
    between = relative_change(Figure(1, 0.99, 1.01, between_sd=0.05), Figure(1, 0.99, 1.01, between_sd=0.05))

    assert plain is not None
    assert least is not None
    assert between is not None
    assert plain.above_se == pytest.approx(math.sqrt(2) * 0.01)
    assert least.above_se == pytest.approx(math.sqrt(2) * 0.05)
    assert between.above_se > least.above_se


def test_without_a_positive_figure_there_is_no_ratio() -> None:
    assert relative_change(Figure(0, 0, 0), figure(1, 0.01)) is None
    assert relative_change(figure(1, 0.01), Figure(0, 0, 0)) is None


def test_an_interval_down_to_nothing_bounds_nothing() -> None:
    change = relative_change(Figure(1, 0, 2), figure(1, 0.01))

    assert change is not None
    assert change.interval()[1] == math.inf
    assert change.smallest(upward=False) == 1


def test_shares_have_a_difference() -> None:
    change = difference(Figure(0.01, 0.006, 0.015), Figure(0.03, 0.027, 0.035))

    low, high = change.interval()
    assert change.value == pytest.approx(0.02)
    assert low == pytest.approx(0.02 - math.hypot(0.003, 0.005))
    assert high == pytest.approx(0.02 + math.hypot(0.005, 0.004))
