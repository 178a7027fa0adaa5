"""The model of a wandering level: its sums as dense matrices give them, and what it says of a mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_tfserving.statistics.level import LEAST_BLOCKS, LevelModel
from simulated_runs import NEEDED, NOISE_MEMORY_S, autocorrelated

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BLOCK_S = 0.5


def model_of(values: Floats, noise_memory_s: float = NOISE_MEMORY_S) -> LevelModel:
    """A model that has seen a series, or several, one a row."""
    model = LevelModel(BLOCK_S, noise_memory_s, values.shape[:-1])
    for block in values.T:
        model.add(block)
    return model


def wandering(blocks: int, runs: int, tau_s: float = 5.0, share: float = 0.5, seed: int = 1) -> Floats:
    """Series whose mean is 0 and whose variance is 1, so much of it the level's."""
    random = np.random.default_rng(seed)
    level = autocorrelated(random, blocks, math.exp(-BLOCK_S / tau_s), runs)
    noise = random.standard_normal((runs, blocks))
    return np.asarray(math.sqrt(share) * level + math.sqrt(1 - share) * noise)


def at(limit: float) -> Callable[[Floats], Floats]:
    return lambda level_sd: np.full_like(level_sd, limit)


def two_below(limit: float) -> Callable[[Floats], Floats]:
    """A boundary that is two standard deviations of the level below a limit."""
    return lambda level_sd: np.asarray(limit - 2 * level_sd)


@pytest.mark.parametrize("pair", [0, 1, 5, 20, -1])
def test_sums_are_those_of_the_whole_covariance_matrix(pair: int) -> None:
    values = wandering(40, 1)[0] + 7
    model = model_of(values)
    memory_s, share = max(model._memories_s[pair], 1e-6), model._level_share[pair]
    # Covariances of a level's means over blocks: of a block with itself, and with one so many blocks later.
    apart = np.abs(np.subtract.outer(np.arange(40), np.arange(40)))
    blocks = BLOCK_S / memory_s
    itself = 2 * (blocks - 1 + math.exp(-blocks))
    later = (1 - math.exp(-blocks)) ** 2 * np.exp(-blocks * np.maximum(apart - 1, 0))
    covariance = share * np.where(apart, later / itself, 1.0) + (1 - share) * np.eye(40)
    ones, from_first = np.ones(40), values - values[0]

    inverse = np.linalg.inv(covariance)
    assert model._sums.square[pair] == pytest.approx(from_first @ inverse @ from_first)
    assert model._sums.product[pair] == pytest.approx(from_first @ inverse @ ones)
    assert model._sums.ones[pair] == pytest.approx(ones @ inverse @ ones)
    assert model._sums.log_variance[pair] == pytest.approx(np.linalg.slogdet(covariance)[1])


def test_the_grid_has_memories_up_to_the_one_assumed() -> None:
    for memory_s in (1.0, 10.0, 60.0):
        known_s = LevelModel(BLOCK_S, memory_s)._memories_s

        assert known_s.max() == memory_s
        assert known_s[0] == 0


def test_evidence_depends_on_neither_scale_nor_origin() -> None:
    values = wandering(60, 1)[0]
    plain = model_of(values)

    for scale, origin in ((1e-3, 0.0), (250.0, 0.0), (1.0, 1e4), (1e3, -50.0)):
        moved = model_of(scale * values + origin)
        for limit in (-1.0, 0.2, 1.5):
            expected = plain.evidence(two_below(limit))
            found = moved.evidence(two_below(scale * limit + origin))
            for one, other in zip(found, expected, strict=True):
                assert float(one) == pytest.approx(float(other), rel=1e-6, abs=1e-6)


def test_several_series_at_once_give_what_single_ones_give() -> None:
    values = wandering(30, 4)
    together = model_of(values)
    evidence, estimate = together.evidence(at(0.5)), together.estimate()

    for index, series in enumerate(values):
        alone = model_of(series)
        for side, known in zip(evidence, alone.evidence(at(0.5)), strict=True):
            assert side[index] == pytest.approx(float(known)) or known == -math.inf
        assert together.n_eff()[index] == pytest.approx(float(alone.n_eff()))
        for name in ("mean", "error", "level_sd", "memory_s", "still"):
            assert getattr(estimate, name)[index] == pytest.approx(float(getattr(alone.estimate(), name)))


def test_too_few_blocks_give_nothing() -> None:
    model = LevelModel(BLOCK_S, NOISE_MEMORY_S)
    for _ in range(LEAST_BLOCKS):
        assert not np.any(model.evidence(at(1e9)))
        model.add(0.0)

    assert max(model.evidence(at(1e9))) > 0


@pytest.mark.parametrize("limit", [1.0, 0.0, -1.0])
def test_a_series_that_never_changes_is_on_one_side(limit: float) -> None:
    below, above = model_of(np.zeros(20)).evidence(at(limit))

    assert bool(below > NEEDED) is (limit > 0)
    assert bool(above > NEEDED) is (limit < 0)
    assert not np.isnan([below, above]).any()


@pytest.mark.parametrize(("tau_s", "share"), [(0.1, 0.5), (5.0, 0.5), (10.0, 0.8)])
def test_a_mean_on_the_boundary_is_hardly_ever_said_to_be_off(tau_s: float, share: float) -> None:
    """Looked at again and again: two of 200 may be wrong, each way; more than six would be by chance once in
    two hundred times.
    """
    values = wandering(160, 200, tau_s, share)
    model = LevelModel(BLOCK_S, NOISE_MEMORY_S, (200,))
    most = np.full((2, 200), -math.inf)
    for block, each in enumerate(values.T):
        model.add(each)
        if block >= 8 and block % 8 == 0:
            most = np.maximum(most, model.evidence(at(0.0)))

    assert (most >= NEEDED).sum(axis=1).max() <= 6


def test_a_longer_memory_makes_a_series_worth_less() -> None:
    values = wandering(120, 20, tau_s=5.0, share=0.8)
    memories_s = (1.0, 10.0, 40.0)
    worth = [float(model_of(values, memory_s).n_eff().mean()) for memory_s in memories_s]

    assert 120 > worth[0] > 1.5 * worth[1] > 1.5 * worth[2]


def test_the_estimate_says_how_sure_it_is_and_what_wanders() -> None:
    values = wandering(240, 100, tau_s=4.0, share=0.7)
    found = model_of(values).estimate()

    assert np.mean(np.abs(found.mean) <= 2 * found.error) >= 0.9
    assert float(np.median(found.level_sd)) == pytest.approx(math.sqrt(0.7), rel=0.25)
    assert 2 <= float(np.median(found.memory_s)) <= 8
    assert float(np.median(found.still)) < 0.1
    calm = model_of(wandering(240, 100, share=0.0)).estimate()
    assert float(np.median(calm.still)) > 0.8
    assert float(np.median(calm.level_sd)) < 0.3
    assert float(np.median(calm.error)) == pytest.approx(1 / math.sqrt(240), rel=0.3)


def test_what_is_known_of_the_level_keeps_the_interval_of_a_short_series_narrow() -> None:
    """Twenty blocks of noise often look as if they wandered, to the model that knows nothing of the level."""
    values = wandering(20, 300, share=0.0)
    model = model_of(values)

    error, (low, high) = model.error_and_interval(0.05)
    plain_low, plain_high = model.interval()

    assert 0.91 <= np.mean((low <= 0) & (high >= 0)) <= 0.985
    assert float(np.median(error)) == pytest.approx(1 / math.sqrt(20), rel=0.15)
    assert np.percentile(high - low, 95) < 0.7 * np.percentile(plain_high - plain_low, 95)


def test_a_level_that_wanders_more_than_is_typical_is_seen() -> None:
    values = wandering(240, 100, tau_s=4.0, share=0.7)
    model = model_of(values)

    _, (low, high) = model.error_and_interval(0.05)
    plain_low, plain_high = model.interval()

    assert float(np.median((high - low) / (plain_high - plain_low))) == pytest.approx(1, rel=0.15)


def test_without_a_typical_level_the_interval_is_the_plain_one() -> None:
    model = model_of(wandering(60, 100))

    _, (low, high) = model.error_and_interval(math.inf)
    plain_low, plain_high = model.interval()

    assert float(np.median((high - low) / (plain_high - plain_low))) == pytest.approx(1, rel=0.1)
