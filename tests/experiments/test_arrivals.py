"""When requests of an open loop are due: by arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.arrivals import ArrivalProcess
from pytest_tfserving.experiments.load_shape import Stage

CONSTANT = ArrivalProcess("constant")
POISSON = ArrivalProcess("poisson", seed=5)
GAMMA = ArrivalProcess("gamma", seed=5, cv=3)
MMPP = ArrivalProcess("mmpp", seed=5, burst_factor=8, burst_s=2, calm_s=6)
# 200 000 requests in 2 000 s, in two stages of one level.
LONG = (Stage(0, 1000, 100, 100), Stage(1000, 2000, 100, 100))


def test_constant_arrivals_are_evenly_apart() -> None:
    due = list(CONSTANT.due_times((Stage(0, 2, 10, 10),)))

    np.testing.assert_allclose(due, np.arange(0.05, 2, 0.1))


@pytest.mark.parametrize("process", [CONSTANT, POISSON, ArrivalProcess("gamma", seed=5, cv=0.5)], ids=str)
def test_a_ramp_is_ever_denser(process: ArrivalProcess) -> None:
    due = np.array(list(process.due_times((Stage(0, 10, 0, 2000),))))

    quarters = np.histogram(due, bins=4, range=(0, 10))[0]
    np.testing.assert_allclose(quarters / len(due), [1 / 16, 3 / 16, 5 / 16, 7 / 16], atol=0.02)
    assert len(due) == pytest.approx(10_000, rel=0.03)


@pytest.mark.parametrize(
    ("process", "cv"), [(POISSON, 1.0), (GAMMA, 3.0), (ArrivalProcess("gamma", cv=0.3), 0.3)], ids=str
)
def test_gaps_have_the_coefficient_of_variation(process: ArrivalProcess, cv: float) -> None:
    due = list(process.due_times(LONG))

    gaps_s = np.diff(due)
    assert gaps_s.mean() == pytest.approx(0.01, rel=0.05)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.05)
    assert np.all(gaps_s >= 0)


@pytest.mark.parametrize("process", [POISSON, GAMMA, MMPP], ids=str)
def test_a_seed_makes_the_same_arrivals_again(process: ArrivalProcess) -> None:
    due = list(process.due_times(LONG[:1]))

    assert due == list(process.due_times(LONG[:1]))
    assert due != list(replace(process, seed=6).due_times(LONG[:1]))


def test_bursts_and_calm_times_have_their_rates_and_lengths() -> None:
    """A burst has 8 times the calm rate for a quarter of the time: 290.9 and 36.4 requests a second."""
    due = np.array(list(MMPP.due_times(LONG)))

    counts = np.bincount((due / 0.5).astype(int), minlength=4000) / 0.5
    bursts = counts > 160
    assert len(due) / 2000 == pytest.approx(100, rel=0.1)
    assert bursts.mean() == pytest.approx(0.25, abs=0.04)
    assert np.median(counts[bursts]) == pytest.approx(290.9, rel=0.05)
    assert np.median(counts[~bursts]) == pytest.approx(36.4, rel=0.1)
    assert np.count_nonzero(np.diff(bursts.astype(int)) == 1) == pytest.approx(250, rel=0.2)


def test_bursts_follow_the_level() -> None:
    due = np.array(list(MMPP.due_times((Stage(0, 1000, 10, 10), Stage(1000, 2000, 90, 90)))))

    assert np.mean(due < 1000) == pytest.approx(0.1, abs=0.02)
    assert np.all(np.diff(due) >= 0)


def test_a_first_gap_is_the_rest_of_one() -> None:
    """Else a short run of bursty arrivals would have too many requests, or too few, whatever its seed."""
    stage = (Stage(0, 1, 10, 10),)
    counts = [len(list(replace(GAMMA, seed=seed).due_times(stage))) for seed in range(2000)]

    assert np.mean(counts) == pytest.approx(10, abs=0.9)


@pytest.mark.parametrize(
    ("process", "memory_s"), [(CONSTANT, 0), (POISSON, 0), (GAMMA, 0.09), (MMPP, 1.5)], ids=str
)
def test_bursts_are_remembered(process: ArrivalProcess, memory_s: float) -> None:
    assert process.memory_s(100) == pytest.approx(memory_s)


def test_the_memory_of_bursts_is_that_of_their_rate() -> None:
    """The rate of two seconds t apart is correlated by exp(-t / memory)."""
    due = np.array(list(MMPP.due_times((Stage(0, 20_000, 100, 100),))))
    counts = np.bincount(due.astype(int)) - len(due) / 20_000

    correlations = [np.dot(counts[:-lag], counts[lag:]) for lag in (1, 2, 3)]
    assert -1 / np.log(correlations[1] / correlations[0]) == pytest.approx(1.5, rel=0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"distribution": "weibull"},
            "arrivals of a load profile is one of constant, poisson, gamma, mmpp, not 'weibull'.",
        ),
        (
            {"distribution": "gamma"},
            "arrivals 'gamma' needs cv, the coefficient of variation of the gaps: 1 is like poisson, more is "
            "burstier.",
        ),
        (
            {"distribution": "mmpp", "burst_factor": 5, "burst_s": 1},
            "arrivals 'mmpp' needs calm_s, the mean time between two bursts in seconds.",
        ),
        (
            {"cv": 2},
            "cv 2 is for arrivals 'gamma', and the load profile's are 'poisson'; drop cv, or set arrivals: "
            "gamma.",
        ),
        ({"distribution": "gamma", "cv": 21}, "cv of a load profile is at most 20, not 21."),
        (
            {"distribution": "mmpp", "burst_factor": 1, "burst_s": 1, "calm_s": 4},
            "burst_factor of a load profile is more than 1, not 1: it is how many times the calm rate the "
            "rate in a burst is.",
        ),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        ArrivalProcess(**settings)  # type: ignore[arg-type]  # mistakes of users

    assert str(error.value) == message


@pytest.mark.parametrize(
    ("process", "requests"),
    [
        (ArrivalProcess(), 1),
        (ArrivalProcess("gamma", cv=3), 9),
        (ArrivalProcess("gamma", cv=0.5), 1),
        (ArrivalProcess("mmpp", burst_factor=5, burst_s=1, calm_s=4), 50 * 0.8 * 25 / 9),
    ],
    ids=["poisson", "gamma", "even gamma", "mmpp"],
)
def test_a_burst_sends_so_many_requests_together(process: ArrivalProcess, requests: float) -> None:
    assert process.clump(50.0) == pytest.approx(requests)
