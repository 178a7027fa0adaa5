"""Detection of the steady part of a run, and of runs without one.

MSER-5 cuts off the warm-up (White, Simulation 69(6), 1997): of the means of five slices each, it drops as
many from the start as minimise the standard error of the rest. At most half of the means are dropped, and no
mean after the level of the rest was first reached. The rest must neither drift nor jump, by the Mann-Kendall
test with Hamed and Rao's correction for autocorrelation (Journal of Hydrology 204, 1998) and Pettitt's test
for a change point (Applied Statistics 28(2), 1979). Both tests count only if the change is large enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SLICE_S = 0.1
_BATCH = 5
# The first cut is taken whose squared standard error is at most the least one, times 1 plus this value over
# the root of the number of batches.
_TOLERANCE = 1.0
# Drift is not tested with fewer batches.
FEWEST_BATCHES = 10
# More batches are joined, which limits the tests' work.
_MOST_BATCHES = 100
# A series is unsteady if a test has a lower p, and the change is a larger fraction of the level.
_SIGNIFICANCE = 0.001
_MATTERS = 0.1
# Warm-up ends at the first mean near the level, if this share of the means from there to the cut is near it,
# too. Near is within this fraction of the level, or this many times the scatter.
_SAME_LEVEL = 0.05
_BAND = 2.0
_MOSTLY = 0.5
# A cut needs means that are off by this many times the scatter: a level that wanders is not a warm-up. The
# scatter of few batches is not well known: with this many batches left, twice the distance is needed.
_OUTSIDE = 3.0
_FEW_LEFT = 10
# Standard deviation over median deviation, for a normal distribution.
_NORMAL = 1.4826


@dataclass(frozen=True, slots=True)
class Steadiness:
    """The start of the steady part of a series, in seconds since the series' start.

    ``reason`` is a phrase that says why the series is not steady; empty if it is.
    """

    start_s: float
    reason: str = ""


def steadiness(slices: Floats, name: str, slice_s: float = SLICE_S, *, cuts: bool = True) -> Steadiness:
    """Cut the warm-up off ``slices``, and test the rest for drift and jumps.

    Args:
        slices: a value for each slice of time, shape ``(n,)``; NaN if a slice has no value.
        name: the name of the values, for the reason.
        slice_s: the length of a slice in seconds.
        cuts: whether a warm-up is cut off.
    """
    means = batch_means(slices)
    if len(means) < FEWEST_BATCHES:
        return Steadiness(0.0)
    cut = _end_of_warm_up(means, mser(means)) if cuts else 0
    return Steadiness(cut * _BATCH * slice_s, _unsteady(means[cut:], name))


def _end_of_warm_up(means: Floats, cut: int) -> int:
    """Return the end of the warm-up: ``cut``, or an earlier mean that reached the level of the rest.

    Trouble after the level was reached is the server's, and is not cut off. The end is 0 if the means before
    the cut differ from the level by no more than the scatter allows.
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
    """Return the means of five slices each; a mean without values takes the last mean known."""
    whole = slices[: len(slices) // _BATCH * _BATCH].reshape(-1, _BATCH)
    known = ~np.isnan(whole)
    counts = known.sum(axis=1)
    means = np.where(known, whole, 0).sum(axis=1) / np.maximum(counts, 1)
    last = np.maximum.accumulate(np.where(counts, np.arange(len(means)), -1))
    first = int(np.argmax(counts > 0)) if counts.any() else 0
    return np.asarray(means[np.where(last < 0, first, last)]) if len(means) else means


def mser(means: Floats) -> int:
    """Return how many of ``means`` to drop from the start, at most half of them."""
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
    """Return the p value of a trend: the Mann-Kendall test with Hamed and Rao's correction."""
    count = len(values)
    rows, columns = np.triu_indices(count, 1)
    score = float(np.sign(values[columns] - values[rows]).sum())
    variance = count * (count - 1) * (2 * count + 5) / 18 * _rank_inflation(values)
    z = (abs(score) - 1) / math.sqrt(variance) if score else 0.0
    return math.erfc(max(z, 0.0) / math.sqrt(2))


def _rank_inflation(values: Floats) -> float:
    """Return the factor by which autocorrelation of the detrended ranks raises Mann-Kendall's variance."""
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
    """Return Sen's slope: the median of the slopes between all pairs."""
    rows, columns = np.triu_indices(len(values), 1)
    return float(np.median((values[columns] - values[rows]) / (columns - rows)))


def change_point(values: Floats) -> tuple[int, float]:
    """Return Pettitt's most likely change point, as the index after it, and its p value.

    The p value allows for autocorrelation.
    """
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
