"""Log latencies of blocks of time: the mean of each block, and the distances of requests from this mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

# Distances are counted in bins of this width, up to e**8 times the block's mean and down to as little.
_BIN = 0.02
_FARTHEST = 8.0
_BINS = round(2 * _FARTHEST / _BIN)
_SHORTEST_MS = 1e-6


class BlockLatencies:
    """Statistics in two passes: the first finds the mean of each block, the second the distances from it."""

    def __init__(self, blocks: int) -> None:
        self.counts = np.zeros(blocks)
        self._sums = np.zeros(blocks)
        self._distances = np.zeros(blocks * _BINS, np.int64)
        self._squares = 0.0

    def add(self, block: Integers, latencies_ms: Floats) -> None:
        """Add requests in the first pass.

        Args:
            block: the index of each request's block; shape ``(n,)``.
            latencies_ms: the latency of each request; shape ``(n,)``.
        """
        blocks = len(self.counts)
        self.counts += np.bincount(block, minlength=blocks)
        self._sums += np.bincount(block, weights=_logs(latencies_ms), minlength=blocks)

    @property
    def means(self) -> Floats:
        """Mean log latency of each block; a block without requests has that of the block before.

        Blocks before the first block with requests have the mean of that block.
        """
        known = self.counts > 0
        last = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
        at = np.where(last < 0, int(np.argmax(known)), last)
        return np.asarray(self._sums[at] / np.maximum(self.counts[at], 1))

    def add_again(self, block: Integers, latencies_ms: Floats) -> None:
        """Add requests in the second pass, with the arguments of `add`."""
        blocks = len(self.counts)
        distances = _logs(latencies_ms) - self.means[block]
        bins = np.clip((distances + _FARTHEST) / _BIN, 0, _BINS - 1).astype(np.int64)
        self._squares += float((distances**2).sum())
        self._distances += np.bincount(block * _BINS + bins, minlength=blocks * _BINS)

    @property
    def own_variance(self) -> float:
        """Variance of single requests about the means of their blocks."""
        return self._squares / max(float(self.counts.sum()), 1.0)

    def beyond(self, percentiles: Sequence[float]) -> tuple[Floats, Floats]:
        """Return the distance of each percentile above its block's mean, and each block's surplus below it.

        The distances, shape ``(percentiles,)``, are logarithms. The surplus, shape ``(percentiles, blocks)``,
        is the number of a block's requests up to this distance, minus the number expected from all blocks.
        """
        by_block = self._distances.reshape(len(self.counts), _BINS)
        up_to = np.cumsum(by_block.sum(axis=0)) / max(float(self.counts.sum()), 1.0)
        at = np.minimum(np.searchsorted(up_to, np.array(percentiles) / 100 - 1e-12), _BINS - 1)
        inside = np.array([by_block[:, : each + 1].sum(axis=1) for each in at], float)
        return (at + 0.5) * _BIN - _FARTHEST, inside - up_to[at][:, None] * self.counts


def _logs(latencies_ms: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(latencies_ms, _SHORTEST_MS)))
