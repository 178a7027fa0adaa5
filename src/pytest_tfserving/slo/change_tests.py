"""The sequential tests of changes against a baseline server that was loaded in turn with the candidate.

The same second of both windows was measured at nearly the same time, so blocks of the same seconds make
pairs, from which the machine's speed cancels out (duet benchmarking: Bulej et al., ICPE 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.slo.noise import Noise, NoiseKind
from pytest_tfserving.slo.sequential_tests import (
    REQUESTS_IN_A_BLOCK,
    SHORTEST_BLOCK_S,
    ErrorsTest,
    Evidence,
    level_factor,
)
from pytest_tfserving.statistics.autocorrelation import MOST_VALUES, inefficiency
from pytest_tfserving.statistics.level import EVIDENCE_COST, LEAST_BLOCKS, LevelModel
from pytest_tfserving.statistics.sequential import needed_factor, share_evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_tfserving.slo.sequential_tests import ObservedWindow

    Floats = NDArray[np.float64]
    # Values of the candidate and of the baseline server in each block, and the seconds of a block.
    Pairs = tuple[Floats, Floats, float]

# What two servers that take turns have in common cancels out of their ratio, whose level hardly wanders. It
# wanders more if the turns are longer.
_TYPICAL_SD = 0.004
# The usual length of a slice of load in seconds.
SLICE_S = 0.1
# Blocks get another length if they hold this many times too many requests, or too few.
_MISFIT = 3.0
_MS = 1000
_ALL = 100.0
_NO_PAIRS = (np.empty(0), np.empty(0), math.nan)
# With so many independent failures, the mean difference of their shares is nearly Gaussian.
_FEWEST_FAILURES = 20
# The same, of the difference of two shares of failures, as a fraction of their mean.
_TYPICAL_FAILURES_SD = 0.1
_Z = 1.96
# The logarithm of a ratio is found within 1e-6 of the range of all latencies.
_BISECTIONS = 20
# Distance in log latency over which the slope of a share over a threshold is measured.
_SLOPE = 0.05


def typical_sd(slice_s: float) -> float:
    """Return the largest standard deviation of a ratio's level that is not unusual, as a fraction.

    Args:
        slice_s: the length of a slice of load in seconds.
    """
    return _TYPICAL_SD * math.sqrt(max(slice_s / SLICE_S, 1.0))


@dataclass(frozen=True, slots=True)
class ServerChange:
    """The change of a metric from the baseline server to the candidate.

    Attributes:
        value: the change as a fraction of the baseline server's figure; of a metric that is a fraction
            itself, the difference.
        low: the lower end of its 95 % interval.
        high: the upper end of its 95 % interval.
        resolution: the smallest change that the run could have told from none.
    """

    value: float
    low: float
    high: float
    resolution: float

    def proved(self, limit: float, *, below: bool) -> ServerChange:
        """Return the change with an interval that ends at a limit which the change was proved to be beyond.

        Args:
            limit: the limit, in the unit of ``value``.
            below: whether the change was proved to be below the limit, not above it.
        """
        if below:
            return replace(self, high=min(self.high, limit)) if self.value <= limit else self
        return replace(self, low=max(self.low, limit)) if self.value >= limit else self


class PairBlocks:
    """Blocks of time of two windows, which keep their length while the windows grow.

    Args:
        requests: the mean number of requests that a block needs.
    """

    def __init__(self, requests: float = REQUESTS_IN_A_BLOCK) -> None:
        self._requests = requests
        self.block_s = math.nan

    def edges_s(self, window: ObservedWindow, until_s: float = math.inf) -> Floats:
        """Return the edges of the whole blocks up to ``until_s``; one edge or none if there is no block."""
        against = window.against
        fewest = min(len(window.ended_s), len(against.ended_s)) if against else 0
        if not fewest:
            return np.empty(0)
        fitting_s = max(SHORTEST_BLOCK_S, self._requests * window.length_s / fewest)
        if not 1 / _MISFIT < fitting_s / self.block_s < _MISFIT:
            self.block_s = fitting_s
        whole = int(min(window.length_s, until_s) / self.block_s + 1e-9)
        return np.arange(max(whole, 0) + 1, dtype=float) * self.block_s


def pairs_of(name: str) -> Callable[[ObservedWindow], Pairs]:
    """Return the function that takes the pairs of a metric, ``rps``, ``mean`` or ``cpu_per_request``."""
    blocks, values = PairBlocks(), {"rps": _rates, "mean": _means, "cpu_per_request": _cpu_ms}[name]

    def pairs(window: ObservedWindow) -> Pairs:
        against = window.against
        if against is None:
            return _NO_PAIRS
        until_s = min(_known_until_s(name, each) for each in (window, against))
        edges_s = blocks.edges_s(window, until_s)
        if len(edges_s) < 2:  # noqa: PLR2004 - a block has two edges
            return _NO_PAIRS
        return values(window, edges_s), values(against, edges_s), blocks.block_s

    return pairs


def _known_until_s(name: str, window: ObservedWindow) -> float:
    if name != "cpu_per_request":
        return math.inf
    return float(window.cpu_at_s[-1]) if len(window.cpu_at_s) else 0.0


def _finished(window: ObservedWindow, at_s: Floats) -> Floats:
    """Return how many requests had succeeded at each time, with the part of the one under way."""
    numbers = np.arange(1, len(window.ended_s) + 1, dtype=float)
    return np.asarray(np.interp(at_s, window.ended_s, numbers, left=0.0))


def _rates(window: ObservedWindow, edges_s: Floats) -> Floats:
    return np.diff(_finished(window, edges_s)) / np.diff(edges_s)


def _means(window: ObservedWindow, edges_s: Floats) -> Floats:
    """Return the mean latency of each block; an empty block has the value of the one before, or the first."""
    first, last = np.searchsorted(window.ended_s, edges_s[[0, -1]])
    at = np.searchsorted(edges_s, window.ended_s[first:last], side="right") - 1
    counts = np.bincount(at, minlength=len(edges_s) - 1)
    sums = np.bincount(at, window.latencies_ms[first:last], minlength=len(edges_s) - 1)
    known = np.maximum.accumulate(np.where(counts > 0, np.arange(len(counts)), (counts > 0).argmax()))
    return np.asarray(sums[known] / np.maximum(counts[known], 1))


def _cpu_ms(window: ObservedWindow, edges_s: Floats) -> Floats:
    used_ms = np.diff(np.interp(edges_s, window.cpu_at_s, window.cpu_s)) * _MS
    return np.asarray(used_ms / np.maximum(np.diff(_finished(window, edges_s)), 1.0))


class PercentileChangeTest:
    """A test of the ratio of two percentiles against a limit.

    The baseline server's latencies are multiplied by the ratio seen, which makes both percentiles equal. The
    value of a block is the difference of the shares of requests over them. The machine's speed cancels out of
    it. If another ratio is the true one, the mean of the values is minus the difference at that ratio.

    Besides, the counts must tell: if the ratio is the limit, and the baseline server's latencies are
    multiplied by the limit, the same share of both servers' requests is over any threshold.

    Args:
        percentile: the percentile.
        ratio: the limit of the ratio, candidate to baseline server.
        noise_memory_s: longest time in seconds for which the differences may remember.
        slice_s: the length of a slice of load in seconds.
    """

    def __init__(
        self, percentile: float, ratio: float, noise_memory_s: float, slice_s: float = SLICE_S
    ) -> None:
        self._typical_sd = typical_sd(slice_s)
        self._percentile = percentile
        self._ratio = ratio
        self._noise_memory_s = noise_memory_s
        self._blocks = PairBlocks(max(REQUESTS_IN_A_BLOCK, 1 / (1 - percentile / _ALL)))
        self._model = LevelModel(SHORTEST_BLOCK_S, noise_memory_s, (1,))
        self._evidence = Evidence()
        self._counts, self._fair = (0.0, 0.0), 0.5

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence on which the differences and the counts agree."""
        edges_s = self._blocks.edges_s(window)
        if window.against is None or len(edges_s) <= LEAST_BLOCKS:
            return Evidence()
        logs = _logs(window)
        centre, slope = self._centred(*logs, window, edges_s)
        if not slope > 0:
            return Evidence()
        boundary = -self._excess(*logs, math.log(self._ratio))
        below, above = self._model.evidence(
            lambda level_sd: np.full_like(level_sd, boundary), self._typical_sd * slope
        )
        level = Evidence(float(below[0]), float(above[0]), float(self._model.n_eff().max()))
        self._evidence = level.both(self._counted(logs, self._together(logs, window, centre)))
        return self._evidence

    def change(self, window: ObservedWindow, needed: float) -> ServerChange | None:
        """Return the change with its interval; None if there are too few blocks.

        The interval allows for any level: shares over a high threshold have a longer tail than the model has.
        """
        edges_s = self._blocks.edges_s(window)
        if window.against is None or len(edges_s) <= LEAST_BLOCKS:
            return None
        logs = _logs(window)
        centre, slope = self._centred(*logs, window, edges_s)
        if not slope > 0:
            return None
        ends = [self._log_ratio_at(*logs, -float(each[0])) for each in self._model.interval()]
        value, low, high = (math.expm1(each) for each in (centre, min(centre, ends[0]), max(centre, ends[1])))
        return ServerChange(value, low, high, resolution((ends[1] - ends[0]) / 2 / _Z, needed))

    def needed_factor(self, needed: float) -> float:
        """Return the larger factor of the differences and of the counts."""
        level = level_factor(self._model, self._evidence.most, needed)
        return max(level, needed_factor(self._fair, self._counts, needed))

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of too few requests: the machine's speed cancels out."""
        del needed
        return Noise(NoiseKind.COUNT)

    def _centred(
        self, ours: Floats, theirs: Floats, window: ObservedWindow, edges_s: Floats
    ) -> tuple[float, float]:
        """Model the blocks at the ratio seen; return its logarithm, and the slope of the blocks' mean."""
        assert window.against is not None
        both = (window, window.against)
        centre = float(np.percentile(ours, self._percentile) - np.percentile(theirs, self._percentile))
        self._model = LevelModel(self._blocks.block_s, self._noise_memory_s, (1,))
        for value in _share(ours, theirs, self._percentile, edges_s, both, centre):
            self._model.add(np.array([value]))
        low, high = (self._excess(ours, theirs, centre + step) for step in (-_SLOPE, _SLOPE))
        return centre, (low - high) / (2 * _SLOPE)

    def _excess(self, ours: Floats, theirs: Floats, log_ratio: float) -> float:
        """Return by how much the candidate's share over the common threshold is larger, at a ratio."""
        theirs = theirs + log_ratio
        threshold = _threshold(ours, theirs, self._percentile)
        return float((ours >= threshold).mean() - (theirs >= threshold).mean())

    def _log_ratio_at(self, ours: Floats, theirs: Floats, excess: float) -> float:
        """Return the logarithm of the ratio at which the candidate's share is larger by ``excess``."""
        low, high = float(ours.min() - theirs.max()), float(ours.max() - theirs.min())
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if self._excess(ours, theirs, middle) > excess:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    def _counted(self, logs: tuple[Floats, Floats], together: float) -> Evidence:
        """Return the evidence of which server the requests over the threshold belong to."""
        ours, theirs = logs[0], logs[1] + math.log(self._ratio)
        threshold = _threshold(ours, theirs, self._percentile)
        candidate, baseline = (float((each >= threshold).sum()) / together for each in (ours, theirs))
        self._counts, self._fair = (candidate, baseline), len(ours) / (len(ours) + len(theirs))
        below, above = share_evidence(self._fair, *self._counts)
        return Evidence(float(below), float(above), sum(self._counts))

    def _together(self, logs: tuple[Floats, Floats], window: ObservedWindow, log_ratio: float) -> float:
        """Return how many requests over the threshold count as one.

        Requests over it come together while the machine is slow, but they are those of both servers, by
        chance. Those of one server come together if that server stalls.
        """
        assert window.against is not None
        ours, theirs = logs[0], logs[1] + log_ratio
        both = np.concatenate([ours, theirs])
        is_ours = np.arange(len(both)) < len(ours)
        excess = (both >= _threshold(ours, theirs, self._percentile)) * (is_ours - is_ours.mean())
        order = np.argsort(np.concatenate([window.ended_s, window.against.ended_s]), kind="stable")
        return float(inefficiency(excess[order][-MOST_VALUES:])[1])


def _logs(window: ObservedWindow) -> tuple[Floats, Floats]:
    assert window.against is not None
    return np.log(window.latencies_ms), np.log(window.against.latencies_ms)


def _threshold(ours: Floats, theirs: Floats, percentile: float) -> float:
    return float(np.percentile(np.concatenate([ours, theirs]), percentile))


def _share(  # noqa: PLR0913, PLR0917 - two series, and the way to look at them
    ours: Floats,
    theirs: Floats,
    percentile: float,
    edges_s: Floats,
    windows: tuple[ObservedWindow, ObservedWindow],
    log_ratio: float,
) -> Floats:
    """Return the difference of the shares over the common threshold in each block."""
    theirs = theirs + log_ratio
    threshold = _threshold(ours, theirs, percentile)
    expected = 1 - percentile / _ALL
    parts = []
    for window, logs in zip(windows, (ours, theirs), strict=True):
        first, last = np.searchsorted(window.ended_s, edges_s[[0, -1]])
        at = np.searchsorted(edges_s, window.ended_s[first:last], side="right") - 1
        beyond = (logs[first:last] >= threshold) - expected
        mean = max((last - first) / (len(edges_s) - 1), 1e-9)
        parts.append(np.bincount(at, beyond, minlength=len(edges_s) - 1) / mean)
    return np.asarray(parts[0] - parts[1])


class ErrorsChangeTest:
    """A test of the difference of two shares of failures against a limit.

    The differences of blocks of requests tell, once there are enough failures for them to be nearly Gaussian.
    Fewer failures of the candidate than the limit itself allows tell as well, since the baseline server's
    share is not negative. Failures of the candidate count only if these are more than the limit itself.

    Args:
        limit: the limit of the difference, as 0.001 for 0.1 percentage points.
        noise_memory_s: longest time in seconds for which the differences may remember.
    """

    def __init__(self, limit: float, noise_memory_s: float) -> None:
        self._limit = limit
        self._noise_memory_s = noise_memory_s
        self._counted = ErrorsTest(limit) if limit > 0 else None

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence of the differences, and of the candidate's failures."""
        differences = failure_differences(window)
        if len(differences) < LEAST_BLOCKS:
            return Evidence()
        level = self._of_level(differences, window)
        if self._counted is None:
            return level
        counted = self._counted.look(window)
        below = float(np.logaddexp(counted.below, level.below)) - math.log(2)
        return Evidence(below, min(counted.above, level.above), counted.n_eff)

    def _of_level(self, differences: Floats, window: ObservedWindow) -> Evidence:
        if _independent_failures(window) < _FEWEST_FAILURES:
            return Evidence()
        model = LevelModel(window.length_s / len(differences), self._noise_memory_s)
        for value in differences:
            model.add(value)
        typical = typical_failures_sd(window)
        below, above = model.evidence(lambda level_sd: np.full_like(level_sd, self._limit), typical)
        return Evidence(float(below), float(above), float(model.n_eff()))

    def needed_factor(self, needed: float) -> float:
        """Return the factor of the candidate's failures."""
        return self._counted.needed_factor(needed) if self._counted else math.inf

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of too few requests."""
        del needed
        return Noise(NoiseKind.COUNT)


def typical_failures_sd(window: ObservedWindow) -> float:
    """Return the largest standard deviation of the level of `failure_differences` that is not unusual."""
    assert window.against is not None
    return _TYPICAL_FAILURES_SD * float(window.failed.mean() + window.against.failed.mean()) / 2


def _independent_failures(window: ObservedWindow) -> float:
    """Return the number of failures of both servers; those that come together count as one."""
    assert window.against is not None
    both = [each.failed[-MOST_VALUES:].astype(float) for each in (window, window.against)]
    return sum(float(each.sum() / inefficiency(each)[1]) for each in both)


def failure_differences(window: ObservedWindow) -> Floats:
    """Return the differences of the shares of failures, in blocks of equal numbers of requests."""
    against = window.against
    fewest = min(len(window.failed), len(against.failed)) if against else 0
    if against is None or not fewest:
        return np.empty(0)
    blocks = int(min(window.length_s / SHORTEST_BLOCK_S, fewest / REQUESTS_IN_A_BLOCK))
    return _failures_by_block(window, blocks) - _failures_by_block(against, blocks)


def _failures_by_block(window: ObservedWindow, blocks: int) -> Floats:
    """Return the share of failures in blocks of equal numbers of requests."""
    edges = np.linspace(0, len(window.failed), blocks + 1).astype(int)
    failed = np.concatenate([[0.0], np.cumsum(window.failed)])[edges]
    return np.asarray(np.diff(failed) / np.maximum(np.diff(edges), 1))


def resolution(error: float, needed: float) -> float:
    """Return the smallest change that evidence of ``needed`` tells from none, for a standard error."""
    return math.sqrt(2 * (needed + EVIDENCE_COST)) * error
