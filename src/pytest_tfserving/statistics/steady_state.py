"""Where a run becomes steady, and whether it ever does.

Warm-up is cut off by MSER-5 (White, Simulation 69(6), 1997): of the means of five slices, as many are left
out from the start as make the standard error of what remains smallest, at most half of them, and none after
the level of what remains was first reached. What remains must neither drift nor jump: the Mann-Kendall test
with Hamed and Rao's correction for autocorrelation (Journal of Hydrology 204, 1998) and Pettitt's test for a
change point (Applied Statistics 28(2), 1979), each only where the change is also one that matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

SLICE_S = 0.1
_BATCH = 5
# A cut is taken when its standard error, squared, is within so much of the least, over the root of the
# number of batches.
_TOLERANCE = 1.0
# With fewer batches than this, nothing is said about drift.
FEWEST_BATCHES = 10
# More are joined, so that the tests' work stays small.
_MOST_BATCHES = 100
# How sure the tests are before they call a series unsteady, and how much of the level a change must be to
# matter.
_SIGNIFICANCE = 0.001
_MATTERS = 0.1
# Warm-up is over with the first mean that is within so much of the level, or so many times the scatter, if so
# many of those from there to the cut are as well.
_SAME_LEVEL = 0.05
_BAND = 2.0
_MOSTLY = 0.5
# What is cut off has to be off by so many times the scatter: a level that wanders is no warm-up. The scatter
# of few batches is hardly known, so with this many left it has to be twice as far.
_OUTSIDE = 3.0
_FEW_LEFT = 10
# What makes a median deviation a standard deviation, for a normal distribution.
_NORMAL = 1.4826


@dataclass(frozen=True, slots=True)
class Steadiness:
    """From when on a series is steady, in seconds since its start; ``reason`` says why it is not."""

    start_s: float
    reason: str = ""


def steadiness(slices: Floats, name: str, slice_s: float = SLICE_S) -> Steadiness:
    """Cut the warm-up off ``slices``, of ``slice_s`` each, and look for drift and jumps in the rest.

    Args:
        slices: shape ``(n,)``; NaN where a slice has no value.
        name: what they are values of, for the reason.
        slice_s: how long each slice is.
    """
    means = batch_means(slices)
    if len(means) < FEWEST_BATCHES:
        return Steadiness(0.0)
    cut = _end_of_warm_up(means, mser(means))
    return Steadiness(cut * _BATCH * slice_s, _unsteady(means[cut:], name))


def _end_of_warm_up(means: Floats, cut: int) -> int:
    """Return ``cut``, or where the level of the rest was reached before: trouble after that is the server's.

    It is 0 where what is before the cut is not off by more than the rest scatters.
    """
    if not cut:
        return 0
    rest = means[cut:]
    level = _median(rest)
    scatter = _NORMAL * _median(np.abs(rest - level))
    from_one_to_the_next = _NORMAL * _median(np.abs(np.diff(means))) / math.sqrt(2)
    outside = _OUTSIDE * (1 + _FEW_LEFT / len(rest))
    ordinary = max(_MATTERS * abs(level), outside * max(scatter, from_one_to_the_next))
    if abs(float(means[:cut].mean()) - level) <= ordinary:
        return 0
    near = np.abs(means[:cut] - level) <= max(_SAME_LEVEL * abs(level), _BAND * scatter)
    from_then_on = np.cumsum(near[::-1])[::-1] / np.arange(cut, 0, -1)
    reached = near & (from_then_on >= _MOSTLY)
    return int(np.argmax(reached)) if reached.any() else cut


def batch_means(slices: Floats) -> Floats:
    """The means of five slices each; what is missing takes the last value known."""
    whole = slices[: len(slices) // _BATCH * _BATCH].reshape(-1, _BATCH)
    known = ~np.isnan(whole)
    counts = known.sum(axis=1)
    means = np.where(known, whole, 0).sum(axis=1) / np.maximum(counts, 1)
    last = np.maximum.accumulate(np.where(counts, np.arange(len(means)), -1))
    first = int(np.argmax(counts > 0)) if counts.any() else 0
    return np.asarray(means[np.where(last < 0, first, last)]) if len(means) else means


def mser(means: Floats) -> int:
    """How many of ``means`` to leave out from the start, at most half of them."""
    count = len(means)
    remaining = count - np.arange(count // 2 + 1)
    centred = means - means.mean()
    sums = np.cumsum(centred[::-1])[::-1][: len(remaining)]
    squares = np.cumsum(centred[::-1] ** 2)[::-1][: len(remaining)]
    errors = (squares - sums**2 / remaining) / remaining**2
    return int(np.argmax(errors <= errors.min() * (1 + _TOLERANCE / math.sqrt(count))))


def _unsteady(means: Floats, name: str) -> str:
    level = float(_median(means))
    means = _joined(means)
    if len(means) < FEWEST_BATCHES or level <= 0:
        return ""
    change = _slope(means) * (len(means) - 1)
    if abs(change) > _MATTERS * level and trend_p(means) < _SIGNIFICANCE:
        way = "rising" if change > 0 else "falling"
        return f"{name} kept {way}, by {100 * abs(change) / level:.0f} % in all"
    at, p = change_point(means)
    jump = float(_median(means[at:]) - _median(means[:at]))
    if p < _SIGNIFICANCE and abs(jump) > _MATTERS * level:
        way = "rose" if jump > 0 else "fell"
        return f"{name} {way} by {100 * abs(jump) / level:.0f} % in the middle of the run"
    return ""


def _joined(means: Floats) -> Floats:
    size = -(-len(means) // _MOST_BATCHES)
    whole = means[len(means) % size :]
    return np.asarray(whole.reshape(-1, size).mean(axis=1))


def trend_p(values: Floats) -> float:
    """The probability of so much of a trend in a series that has none: Mann-Kendall, Hamed-Rao."""
    count = len(values)
    rows, columns = np.triu_indices(count, 1)
    score = float(np.sign(values[columns] - values[rows]).sum())
    variance = count * (count - 1) * (2 * count + 5) / 18 * _rank_inflation(values)
    z = (abs(score) - 1) / math.sqrt(variance) if score else 0.0
    return math.erfc(max(z, 0.0) / math.sqrt(2))


def _rank_inflation(values: Floats) -> float:
    """By how much autocorrelation of the ranks, trend taken out, widens Mann-Kendall's score."""
    count = len(values)
    detrended = values - _slope(values) * np.arange(count)
    ranks = np.argsort(np.argsort(detrended)).astype(float)
    ranks -= ranks.mean()
    lags = np.arange(1, count // 2)
    autocorrelation = np.array([np.dot(ranks[:-lag], ranks[lag:]) for lag in lags]) / np.dot(ranks, ranks)
    ends = np.flatnonzero(autocorrelation <= 0)
    kept = lags <= (ends[0] if len(ends) else len(lags))
    weights = (count - lags) * (count - lags - 1) * (count - lags - 2)
    return max(
        1.0, 1 + 2 / (count * (count - 1) * (count - 2)) * float((weights * autocorrelation)[kept].sum())
    )


def _slope(values: Floats) -> float:
    """Sen's slope: the median of the slopes between all pairs."""
    rows, columns = np.triu_indices(len(values), 1)
    return float(np.median((values[columns] - values[rows]) / (columns - rows)))


def change_point(values: Floats) -> tuple[int, float]:
    """Pettitt's most likely change point, as the index after it, and its p allowing for autocorrelation."""
    count = len(values)
    ranks = np.argsort(np.argsort(values)) + 1.0
    at = np.arange(1, count)
    scores = 2 * np.cumsum(ranks)[:-1] - at * (count + 1)
    best = int(np.argmax(np.abs(scores)))
    split = best + 1
    levelled = np.concatenate(
        [values[:split] - _median(values[:split]), values[split:] - _median(values[split:])]
    )
    inflation = _rank_inflation(levelled)
    p = 2 * math.exp(-6 * float(scores[best]) ** 2 / (count**3 + count**2) / inflation)
    return split, min(p, 1.0)


def _median(values: Floats) -> float:
    return float(np.median(values))
