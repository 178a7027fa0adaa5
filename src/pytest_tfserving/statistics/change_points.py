"""Change points of a series: E-divisive (Matteson and James, JASA 109, 2014), for values of one dimension.

A split compares the values before it with those behind it, up to any of several ends, by their energy
distance. The best split is tested by permutations of the values, which make no assumption on their
distribution. A series with a proved split is cut there, and both parts are searched in the same way.

Two things differ from the original, both to be fast. In one dimension the energy distance is an integral of
the squared difference of both distribution functions (Szekely and Rizzo, Journal of Statistical Planning and
Inference 143, 2013); here the integral is a sum over quantiles of the series. And a split is compared up to
ends whose distances from the split grow by factors of two, instead of up to every end behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# A shorter part may be a few outliers.
SHORTEST = 3
# A split is proved if it is better than the best split of each permutation: by chance, one of a thousand
# series without a change has such a split.
_PERMUTATIONS = 999
_SEED = 1
_GROWTH = 2
_QUANTILES = 16


@dataclass(frozen=True, slots=True)
class Split:
    """The best split of a series: the index of the first value behind it, and its statistic."""

    at: int
    statistic: float


class _Splits:
    """Splits of a series.

    Args:
        pairs: each split with the end that it is compared up to.
    """

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        self._at, self._end = np.array(list(pairs), dtype=np.int64).T
        before, behind = self._at.astype(np.float32), (self._end - self._at).astype(np.float32)
        self._one_before, self._one_behind = 1 / before[:, None], 1 / behind[:, None]
        self._weights = before * behind / (before + behind)

    def best(self, below: Floats, gaps: Floats) -> Split:
        """Return the best split.

        Args:
            below: 1 if a value is at most a quantile, else 0; shape ``(values, quantiles)``.
            gaps: the part of the integral that each quantile stands for; shape ``(quantiles,)``.
        """
        counts = np.zeros((len(below) + 1, below.shape[1]), dtype=np.float32)
        np.cumsum(below, axis=0, out=counts[1:])
        before = counts[self._at]
        difference = (counts[self._end] - before) * self._one_behind - before * self._one_before
        statistics = self._weights * (np.square(difference, out=difference) @ gaps)
        best = int(statistics.argmax())
        return Split(int(self._at[best]), float(statistics[best]))


def change_points(values: NDArray[np.float64]) -> list[int]:
    """Return the indexes at which a series changes, in order: each is the first value of a new level.

    Args:
        values: the series; shape ``(n,)``.
    """
    edges = [0, *sorted(_search(values, 0, np.random.default_rng(_SEED))), len(values)]
    return [
        before + _only_split(values[before:behind]) for before, behind in zip(edges, edges[2:], strict=False)
    ]


def _search(values: NDArray[np.float64], start: int, random: np.random.Generator) -> Iterator[int]:
    """Yield the proved splits of a part of the series that begins at ``start``."""
    if len(values) < 2 * SHORTEST:
        return
    splits, (below, gaps) = _Splits(_pairs(len(values))), _integrand(values)
    split = splits.best(below, gaps)
    if not all(
        splits.best(random.permutation(below), gaps).statistic < split.statistic for _ in range(_PERMUTATIONS)
    ):
        return
    yield start + split.at
    yield from _search(values[: split.at], start, random)
    yield from _search(values[split.at :], start + split.at, random)


def _pairs(length: int) -> Iterator[tuple[int, int]]:
    """Yield every split with each of its ends."""
    for at in range(SHORTEST, length - SHORTEST + 1):
        size = SHORTEST
        while at + size < length:
            yield at, at + size
            size *= _GROWTH
        yield at, length


def _only_split(values: NDArray[np.float64]) -> int:
    """Return the best place of the only change of a series."""
    length = len(values)
    splits = _Splits((at, length) for at in range(SHORTEST, length - SHORTEST + 1))
    return splits.best(*_integrand(values)).at


def _integrand(values: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Return the values as what `_Splits.best` takes."""
    quantiles = np.quantile(values, (np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    gaps = np.gradient(quantiles) if np.ptp(quantiles) else np.ones(_QUANTILES)
    below = values[:, None] <= quantiles
    return below.astype(np.float32), (gaps / gaps.sum()).astype(np.float32)
