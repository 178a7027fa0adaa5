"""Planted ramps, steps and drifts, and series that have none of these."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfserving.statistics.steady_state import SLICE_S, Steadiness, steadiness
from simulated_runs import autocorrelated

SEEDS = range(40)


def steady(seed: int, seconds: float, rho: float = 0.5, scatter: float = 0.05) -> np.ndarray:
    """A hundred requests a second, give or take ``scatter`` of them in each slice."""
    length = round(seconds / SLICE_S)
    around = autocorrelated(np.random.default_rng(seed), length, rho)[0]
    return np.asarray(100 * (1 + scatter * around))


def cuts(planted: np.ndarray) -> list[float]:
    """Where the warm-up ends in steady series, each multiplied by what is ``planted``."""
    seconds = len(planted) * SLICE_S
    found = [steadiness(steady(seed, seconds) * planted, "rps") for seed in SEEDS]
    assert not any(each.reason for each in found)
    return [each.start_s for each in found]


def refusals(planted: np.ndarray) -> list[str]:
    """Why there is no steady state in such series."""
    seconds = len(planted) * SLICE_S
    return [steadiness(steady(seed, seconds) * planted, "rps").reason for seed in SEEDS]


@pytest.mark.parametrize("ends_s", [5.0, 12.3])
def test_a_ramp_is_cut_off(ends_s: float) -> None:
    at_s = np.arange(600) * SLICE_S

    errors = np.abs(np.array(cuts(np.interp(at_s, [0, ends_s], [0.2, 1.0]))) - ends_s)

    assert np.mean(errors <= 2) >= 0.9


@pytest.mark.parametrize("level", [0.5, 1.6])
def test_a_step_is_cut_off(level: float) -> None:
    at_s = np.arange(600) * SLICE_S

    errors = np.abs(np.array(cuts(np.where(at_s < 8.3, level, 1.0))) - 8.3)

    assert np.mean(errors <= 2) >= 0.9


@pytest.mark.parametrize("starts_s", [3.0, 12.0, 25.0])
def test_trouble_after_the_level_was_reached_stays_in(starts_s: float) -> None:
    """A server that answers well, is frozen for a second, and answers well again has not warmed up late."""
    at_s = np.arange(600) * SLICE_S
    frozen = (at_s >= starts_s) & (at_s < starts_s + 1)

    assert np.mean(np.array(cuts(np.where(frozen, 0.01, 1.0))) < starts_s) >= 0.95
    assert np.mean(np.array(cuts(np.where(frozen, 50.0, 1.0))) < starts_s) >= 0.95


def test_a_drift_is_refused() -> None:
    rising = refusals(np.linspace(1, 1.3, 600))
    falling = refusals(np.linspace(1, 0.7, 600))

    assert np.mean([reason.startswith("rps kept rising, by ") for reason in rising]) >= 0.9
    assert np.mean([reason.startswith("rps kept falling, by ") for reason in falling]) >= 0.9


def test_a_jump_in_the_second_half_is_refused() -> None:
    refused = refusals(np.where(np.arange(600) < 420, 1.0, 0.8))

    assert np.mean([bool(reason) for reason in refused]) >= 0.9


@pytest.mark.parametrize("seconds", [10, 60, 300])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_steady_series_are_seldom_refused(rho: float, seconds: float) -> None:
    refused = [steadiness(steady(seed, seconds, rho, 0.15), "rps").reason for seed in range(200)]

    assert sum(map(bool, refused)) <= 2


def test_short_series_are_taken_as_they_are() -> None:
    assert steadiness(np.linspace(1, 2, 40), "rps") == Steadiness(0.0)
    assert steadiness(np.empty(0), "rps") == Steadiness(0.0)


def test_slices_without_a_value_take_the_one_before() -> None:
    values = steady(1, 30)
    values[::2] = np.nan
    values[100:120] = np.nan

    assert steadiness(values, "latency").reason == ""
    assert steadiness(np.full(100, np.nan), "latency") == Steadiness(0.0)


def test_what_never_changes_is_steady() -> None:
    assert steadiness(np.full(600, 5.0), "rps") == Steadiness(0.0)
