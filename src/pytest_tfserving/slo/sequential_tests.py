"""The sequential test of each metric: evidence that an SLO holds, and that it does not.

All tests take the window of requests so far, and rest on two things. A `LevelModel` of blocks of time bounds
how far the speed of machine and server may still wander, if their memory is bounded. A count of requests, or
of groups of requests in flight together, covers rarer events: stalls, and the tail of fast noise. A verdict
needs both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pytest_tfserving.slo.noise import Noise, NoiseKind
from pytest_tfserving.statistics.autocorrelation import MOST_VALUES, inefficiency
from pytest_tfserving.statistics.level import EVIDENCE_COST, LEAST_BLOCKS, LevelModel
from pytest_tfserving.statistics.pulses import between_pulses
from pytest_tfserving.statistics.sequential import BURST, needed_factor, share_evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHORTEST_BLOCK_S = 0.5
# With this mean number of requests a block, the block's mean is nearly Gaussian.
REQUESTS_IN_A_BLOCK = 5
# Blocks get another length if they hold this many times too many requests, or too few.
_MISFIT = 3.0
_MS = 1000
# A normal approximation of a mean needs this many values, and more for a larger scatter (skewness).
_FEWEST_VALUES = 20
_SCATTER_NEEDS = 300
# From this number on, requests in flight are a queue.
_QUEUE = 2
# A level counts as wandering if the probability of a still level is below this.
_LIKELY = 0.5
# The level of a speed seldom has a larger standard deviation than this fraction. For example, a neighbour
# that halves the speed for a third of the time causes 0.33.
_TYPICAL_SD = 0.35
# The additional evidence required of rates, because they are skewed and modelled as Gaussian.
_SKEWED = 1.2
# A burst that takes latencies to this many times the highest one so far is not expected.
_FAR = 6.0
# The count for a block without requests, because a logarithm needs a positive number.
_HALF_A_REQUEST = 0.5


@dataclass(frozen=True)
class PulseSeries:
    """Pulses of the in-process baseline: times in seconds of load, calls a second, median calls in ms."""

    at_s: Floats = field(default_factory=lambda: np.empty(0))
    rps: Floats = field(default_factory=lambda: np.empty(0))
    latency_ms: Floats = field(default_factory=lambda: np.empty(0))

    def latency_at(self, at_s: Floats) -> Floats:
        """Return the median call in ms at times of load: means of three pulses, linearly interpolated."""
        logs = np.log(self.latency_ms)
        smooth = np.convolve(np.pad(logs, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")
        return np.asarray(np.exp(np.interp(at_s, self.at_s, smooth)))


@dataclass(frozen=True)
class ObservedWindow:
    """The requests that ended in the steady window so far, in the order of their ends.

    Attributes:
        latencies_ms: latencies of the successes.
        failed: for each request, whether it failed.
        ended_s: ends of the successes, in seconds since the window's start.
        length_s: length of the window in seconds.
        baseline: pulses of the baseline, with times since the window's start; empty without a baseline.
        cpu_at_s: times of the CPU readings, in seconds since the window's start; empty without readings.
        cpu_s: cumulative CPU seconds of the replicas at these times.
        against: the same window of the baseline server, which was loaded in turn; None without one. Both
            windows have the same length, and the same second of both was measured at nearly the same time.
        limits_ms: for each success, the longest latency with which it is good, or infinity; empty without
            such limits.
        kinds: for each request, the number of its kind; empty if requests are of one kind.
        due_s: when the requests of an open loop were due, in seconds since the window's start; None in a
            closed loop.
        due_rps: the mean rate of the open loop's schedule.
        clump: the number of requests that bursty arrivals send together; 1 without bursts.
    """

    latencies_ms: Floats
    failed: NDArray[np.bool_]
    ended_s: Floats
    length_s: float
    baseline: PulseSeries = field(default_factory=PulseSeries)
    cpu_at_s: Floats = field(default_factory=lambda: np.empty(0))
    cpu_s: Floats = field(default_factory=lambda: np.empty(0))
    against: ObservedWindow | None = None
    limits_ms: Floats = field(default_factory=lambda: np.empty(0))
    kinds: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    due_s: Floats | None = None
    due_rps: float = 0.0
    clump: float = 1.0

    def of_kind(self, number: int) -> ObservedWindow:
        """Return the window with the requests of one kind, whose due times are not known."""
        chosen = self.kinds == number
        good = chosen[~self.failed]
        return replace(
            self,
            latencies_ms=self.latencies_ms[good],
            failed=self.failed[chosen],
            ended_s=self.ended_s[good],
            limits_ms=self.limits_ms[good] if len(self.limits_ms) else self.limits_ms,
            kinds=self.kinds[chosen],
            due_s=None,
            clump=max(self.clump * float(chosen.mean()), 1.0) if len(chosen) else 1.0,
        )

    def beside_baseline(self) -> ObservedWindow:
        """Return the window up to the last pulse of the baseline."""
        until_s = float(self.baseline.at_s[-1]) if len(self.baseline.at_s) else 0.0
        if until_s >= self.length_s:
            return self
        last = np.searchsorted(self.ended_s, until_s, side="right")
        return replace(
            self,
            ended_s=self.ended_s[:last],
            latencies_ms=self.latencies_ms[:last],
            limits_ms=self.limits_ms[:last],
            length_s=max(until_s, 0.0),
        )

    @property
    def in_flight(self) -> float:
        """The mean number of requests under way together, by Little's law; at least 1.

        A stall takes all these requests over a limit at once.
        """
        busy_s = float(self.latencies_ms.sum()) / _MS
        return max(busy_s / self.length_s, 1.0) if self.length_s > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Logarithms of the evidence that the true value is below its limit, and above it.

    ``n_eff`` is the number of independent values behind the evidence.
    """

    below: float = 0.0
    above: float = 0.0
    n_eff: float = 0.0

    @property
    def most(self) -> float:
        """The stronger evidence of both."""
        return max(self.below, self.above)

    def both(self, other: Evidence) -> Evidence:
        """Return the evidence that two tests agree on."""
        return Evidence(
            min(self.below, other.below),
            min(self.above, other.above),
            min(self.n_eff, other.n_eff),
        )


class SloTest(Protocol):
    """A sequential test of an SLO on a window."""

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence that the SLO's figure is below the limit, and that it is above."""
        ...

    def needed_factor(self, needed: float) -> float:
        """Return the multiple of the requests so far that would likely give the ``needed`` evidence."""
        ...

    def noise(self, needed: float) -> Noise | None:
        """Return the noise that keeps the test from deciding; None if unknown."""
        ...


class _Series:
    """Blocks of a window, each with one value, and a `LevelModel` of the values.

    ``values(window, edges_s)`` returns the values of the blocks between consecutive edges. Blocks are equally
    long. With bursty arrivals, the blocks of a figure ``of_requests`` have equally many requests instead: a
    burst has more requests than its time is worth.
    """

    def __init__(
        self,
        values: Callable[[ObservedWindow, Floats], Floats],
        noise_memory_s: float,
        *,
        of_requests: bool = False,
    ) -> None:
        self._values = values
        self._of_requests = of_requests
        self._count = 0
        self._noise_memory_s = noise_memory_s
        self._block_s = math.nan
        self.model = LevelModel(SHORTEST_BLOCK_S, noise_memory_s)

    @property
    def block_s(self) -> float:
        """The length of a block in seconds."""
        return self._block_s

    def advance(self, window: ObservedWindow) -> None:
        """Add the new whole blocks of the window."""
        block_s = fitting_block_s(window)
        if not 1 / _MISFIT < block_s / self._block_s < _MISFIT:
            self._block_s = block_s
            rate = len(window.ended_s) / window.length_s if window.length_s > 0 else 0.0
            self._count = max(round(block_s * rate), 1) if rate else 1
            self.model = LevelModel(block_s, self._noise_memory_s)
        whole, edges_s = self._edges(window)
        if whole <= self.model.blocks:
            return
        for value in self._values(window, edges_s):
            self.model.add(value)

    def _edges(self, window: ObservedWindow) -> tuple[int, Floats]:
        """Return the number of whole blocks in a window, and the edges of the new ones in seconds."""
        if self._block_s == math.inf:
            return 0, np.empty(0)
        if self._of_requests and window.clump > 1:
            whole = len(window.ended_s[:-1]) // self._count
            return whole, window.ended_s[np.arange(self.model.blocks, whole + 1) * self._count]
        whole = int(window.length_s / self._block_s + 1e-9)
        return whole, np.arange(self.model.blocks, whole + 1, dtype=np.float64) * self._block_s


def fitting_block_s(window: ObservedWindow) -> float:
    """Return the length of blocks in seconds that gives `REQUESTS_IN_A_BLOCK` on average."""
    count = len(window.ended_s)
    return max(SHORTEST_BLOCK_S, REQUESTS_IN_A_BLOCK * window.length_s / count if count else math.inf)


def _sums(window: ObservedWindow, edges_s: Floats, weights: Floats | None = None) -> Floats:
    """Return the number of requests that ended in each block, or the sums of their weights."""
    first, last = np.searchsorted(window.ended_s, edges_s[[0, -1]])
    at = np.searchsorted(edges_s, window.ended_s[first:last], side="right") - 1
    chosen = None if weights is None else weights[first:last]
    return np.asarray(np.bincount(at, weights=chosen, minlength=len(edges_s) - 1), float)


def _block_means(values_of: Callable[[ObservedWindow], Floats]) -> Callable[[ObservedWindow, Floats], Floats]:
    """Return a function for the mean of each block's requests; an empty block repeats the one before."""

    def means(window: ObservedWindow, edges_s: Floats) -> Floats:
        before = max(int(np.searchsorted(window.ended_s, edges_s[0])) - 1, 0)
        values = values_of(window)
        counts = _sums(window, edges_s)
        nothing = np.full(len(counts), np.nan)
        found = np.divide(_sums(window, edges_s, values), counts, out=nothing, where=counts > 0)
        known = np.maximum.accumulate(np.where(counts > 0, np.arange(len(found)), -1))
        return np.asarray(np.where(known >= 0, found[known], values[before]))

    return means


def _rate(window: ObservedWindow, edges_s: Floats) -> Floats:
    return _sums(window, edges_s) / np.diff(edges_s)


def _log_rate(window: ObservedWindow, edges_s: Floats) -> Floats:
    return np.log(np.maximum(_sums(window, edges_s), _HALF_A_REQUEST) / np.diff(edges_s))


class SeriesSet:
    """The series that the tests of one window share."""

    def __init__(self, noise_memory_s: float) -> None:
        self._noise_memory_s = noise_memory_s
        self._known: dict[object, _Series] = {}

    def series(self, values: Callable[[ObservedWindow, Floats], Floats], key: object = None) -> _Series:
        """Return the series of ``values``, made once for each ``key``, which defaults to the function."""
        if (key or values) not in self._known:
            self._known[key or values] = _Series(values, self._noise_memory_s, of_requests=key is not None)
        return self._known[key or values]

    def latency(self, latencies: Callable[[ObservedWindow], Floats]) -> _Series:
        """Return the series of mean latencies."""
        return self.series(_block_means(latencies), ("mean", latencies))

    def log_latency(self, latencies: Callable[[ObservedWindow], Floats]) -> _Series:
        """Return the series of mean log latencies."""
        means = _block_means(lambda window: np.asarray(np.log(latencies(window))))
        return self.series(means, ("log", latencies))


def _level_noise(model: LevelModel, needed: float) -> Noise:
    """Return the noise of a level's wandering, in the model's last series, which is of logarithms."""
    found = model.estimate()
    error, level_sd, memory_s, still = (
        float(each.flat[-1]) for each in (found.error, found.level_sd, found.memory_s, found.still)
    )
    resolution = math.sqrt(2 * (needed + EVIDENCE_COST)) * error
    return Noise(NoiseKind.SPEED, level_sd if still < _LIKELY else 0.0, memory_s, resolution=resolution)


def level_factor(model: LevelModel, evidence: float, needed: float) -> float:
    """Return the multiple of the blocks so far that is needed; evidence plus its cost grows with blocks."""
    grown = evidence + EVIDENCE_COST
    if evidence >= needed:
        return 1.0
    return (needed + EVIDENCE_COST) / grown if model.blocks >= LEAST_BLOCKS and grown > 0 else math.inf


class LatencyLevel:
    """The level of log latencies, and the evidence of it on a percentile.

    The value of a block is the mean log latency. A share q of the requests may be over the limit. Let k be
    the distance from a block's mean that a share q of its requests exceeds, and s the standard deviation of
    the level. If the percentile equals the limit, the mean of the level is ``ln(limit) - hypot(k, z s)``,
    exactly so for a Gaussian level and Gaussian noise.
    """

    def __init__(self, latencies: Callable[[ObservedWindow], Floats], shared: SeriesSet) -> None:
        self._latencies = latencies
        self._series = shared.log_latency(latencies)

    def look(self, window: ObservedWindow) -> None:
        """Add the new whole blocks of the window."""
        self._series.advance(window)

    def evidence(self, percentile: float, limit: float, window: ObservedWindow) -> Evidence:
        """Return the evidence on a percentile of the window that `look` has seen."""
        model = self._series.model
        if model.blocks < LEAST_BLOCKS:
            return Evidence()
        spread = self._spread(percentile, window)
        z, log_limit = NormalDist().inv_cdf(percentile / 100), math.log(limit)
        below, above = model.evidence(
            lambda level_sd: log_limit - np.hypot(spread, z * level_sd), _TYPICAL_SD
        )
        return Evidence(float(below), float(above), math.inf)

    def _spread(self, percentile: float, window: ObservedWindow) -> float:
        """Return the distance of the percentile from a block's mean, in log latencies."""
        logs = np.log(self._latencies(window)[-MOST_VALUES:])
        at = (window.ended_s[-MOST_VALUES:] / self._series.block_s).astype(np.int64)
        at -= at[0]
        counts = np.bincount(at)
        means = np.bincount(at, weights=logs) / np.maximum(counts, 1)
        # A block's mean contains its own requests, so the distances from it are too small by this factor.
        inside = counts[at] > 1
        if not inside.any():
            return 0.0
        from_mean = (logs - means[at])[inside] * np.sqrt(counts[at][inside] / (counts[at][inside] - 1))
        return float(np.quantile(from_mean, percentile / 100))

    def needed_factor(self, evidence: float, needed: float) -> float:
        """Return the multiple of the blocks so far that would likely give the ``needed`` evidence."""
        return level_factor(self._series.model, evidence, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of the level; None if there are too few blocks to tell."""
        model = self._series.model
        return _level_noise(model, needed) if model.blocks >= LEAST_BLOCKS else None


def together_of(hits: NDArray[np.bool_], in_flight: float) -> float:
    """Return how many requests come together, and count as one, in a share that is counted.

    A stall hits all requests in flight. Once some requests are hits and some are not, the number that come
    together is also measured.
    """
    count = int(hits.sum())
    if not 0 < count < len(hits):
        return in_flight
    measured = float(inefficiency(hits[-MOST_VALUES:].astype(float))[1])
    return max(measured, in_flight if count < in_flight else 1.0)


def in_a_burst(clump: float, latencies: Floats, limit: float) -> float:
    """Return how many requests a burst of arrivals takes over a limit together; 1 for a far limit.

    No burst so far may have done so, if it takes a slow moment of the machine besides.
    """
    return clump if limit < _FAR * latencies.max() else 1.0


class PercentileTest:
    """A test of whether too many latencies are over the limit: by their level, and by their count."""

    def __init__(
        self,
        percentile: float,
        limit: float,
        latencies: Callable[[ObservedWindow], Floats],
        shared: SeriesSet,
        *,
        at_limit_counts: bool,
    ) -> None:
        self._percentile = percentile
        self._share = 1 - percentile / 100
        self._limit = limit
        self._latencies = latencies
        self._over = np.greater_equal if at_limit_counts else np.greater
        self._model = LatencyLevel(latencies, shared)
        self._level = Evidence()
        self._window: ObservedWindow | None = None

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence on which the level and the count agree."""
        if not len(window.ended_s):
            return Evidence()
        self._window = window
        self._model.look(window)
        self._level = self._model.evidence(self._percentile, self._limit, window)
        # Counting takes longer than the level's evidence, and is mostly unnecessary.
        return self._level.both(self._counted(window)) if self._level.most > 0 else Evidence()

    def _counted(self, window: ObservedWindow) -> Evidence:
        """Return the evidence of the requests over the limit; requests in flight together count as one."""
        counts = self._counts(window)
        below, above = share_evidence(self._share, *counts)
        return Evidence(float(below), float(above), sum(counts))

    def _counts(self, window: ObservedWindow) -> tuple[float, float]:
        """Return the effective numbers of independent requests over the limit and not over it."""
        latencies = self._latencies(window)
        over = self._over(latencies, self._limit)
        hits, total = int(over.sum()), len(over)
        together = max(together_of(over, window.in_flight), in_a_burst(window.clump, latencies, self._limit))
        return hits / together, (total - hits) / together

    def needed_factor(self, needed: float) -> float:
        """Return the larger factor of the level and the count."""
        return max(self._factors(needed))

    def _factors(self, needed: float) -> tuple[float, float]:
        """Return the factors of the level and of the count."""
        level = self._model.needed_factor(self._level.most, needed)
        if self._window is None:
            return level, math.inf
        return level, needed_factor(self._share, self._counts(self._window), needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of the level or of the count, whichever takes longer to decide."""
        of_level = self._model.noise(needed)
        if of_level is None or self._window is None:
            return None
        level, counted = self._factors(needed)
        return of_level if level >= counted else count_noise(self._window)


def count_noise(window: ObservedWindow) -> Noise:
    """Return the noise of too few independent requests: a queue, if many are in flight together."""
    in_flight = window.in_flight
    return Noise(NoiseKind.QUEUE if in_flight >= _QUEUE else NoiseKind.COUNT, in_flight=in_flight)


class ErrorsTest:
    """A test of whether there are too many failures. Failures come in bursts, so several count as one."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._counts = 0.0, 0.0

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence of failures, in bursts of at least `BURST` and of all requests in flight."""
        failed = window.failed
        if not len(failed):
            return Evidence()
        together = max(BURST, window.in_flight)
        if failed.any():
            together = max(together, float(inefficiency(failed[-MOST_VALUES:].astype(float))[1]))
        hits = int(failed.sum())
        self._counts = hits / together, (len(failed) - hits) / together
        below, above = share_evidence(self._share, *self._counts)
        return Evidence(float(below), float(above), sum(self._counts))

    def needed_factor(self, needed: float) -> float:
        """Return the factor of the counts."""
        return needed_factor(self._share, self._counts, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of too few requests."""
        del needed
        return Noise(NoiseKind.COUNT)


class RateTest:
    """A test of successes a second against a limit.

    The logarithms of the blocks' rates show that the rate is above the limit: their mean is below the
    logarithm of the mean rate under any distribution (Jensen), and a wandering speed does not take them far.
    The rates themselves show that the rate is below the limit. They are skewed, so more evidence is required.
    """

    def __init__(self, limit: float, shared: SeriesSet) -> None:
        self._limit = limit
        self._rates = shared.series(_rate)
        self._logs = shared.series(_log_rate)
        self._evidence = Evidence()

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence of both series."""
        if not len(window.ended_s):
            return Evidence()
        self._rates.advance(window)
        self._logs.advance(window)
        if self._rates.model.blocks < LEAST_BLOCKS:
            return Evidence()
        limit, log_limit = self._limit, math.log(self._limit)
        below, _ = self._rates.model.evidence(
            lambda level_sd: np.full_like(level_sd, limit), _TYPICAL_SD * limit
        )
        _, above = self._logs.model.evidence(lambda level_sd: np.full_like(level_sd, log_limit), _TYPICAL_SD)
        self._evidence = Evidence(float(below) - _SKEWED, float(above), float(self._rates.model.n_eff()))
        return self._evidence

    def needed_factor(self, needed: float) -> float:
        """Return the factor of the level."""
        return level_factor(self._rates.model, self._evidence.most, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of the level."""
        return _level_noise(self._logs.model, needed) if self._logs.model.blocks >= LEAST_BLOCKS else None


class MeanTest:
    """A test of the mean latency against a limit.

    The blocks' means and their mean log latencies together show that the mean is below the limit. Latencies
    are skewed, and the logarithm of the mean of log-Gaussian ones is above their mean logarithm by half the
    variance. The logarithms alone show that the mean is above the limit: they are below the logarithm of the
    mean. But a closed loop sends fewer requests while it is slow, which takes off at most half the level's
    variance.
    """

    def __init__(
        self, limit: float, latencies: Callable[[ObservedWindow], Floats], shared: SeriesSet
    ) -> None:
        self._limit = limit
        self._latencies = latencies
        self._means = shared.latency(latencies)
        self._logs = shared.log_latency(latencies)
        self._evidence = Evidence()

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence of both series, if there are enough values."""
        if not len(window.ended_s):
            return Evidence()
        self._means.advance(window)
        self._logs.advance(window)
        if self._means.model.blocks < LEAST_BLOCKS:
            return Evidence()
        values, limit_ms, logs = self._latencies(window), self._limit, self._logs.model
        limit, spread = math.log(limit_ms), float(np.log(values[-MOST_VALUES:]).var())
        below, _ = self._means.model.evidence(
            lambda level_sd: np.full_like(level_sd, limit_ms), _TYPICAL_SD * limit_ms
        )
        skewed, _ = logs.evidence(lambda level_sd: limit - (level_sd**2 + spread) / 2, _TYPICAL_SD)
        _, above = logs.evidence(lambda level_sd: limit + level_sd**2 / 2, _TYPICAL_SD)
        scatter = float(values.std() / max(float(values.mean()), limit_ms))
        together = max(window.in_flight, window.clump)
        is_enough = len(values) / together >= _FEWEST_VALUES + _SCATTER_NEEDS * scatter**2
        both = min(float(below), float(skewed)) if is_enough else 0.0
        self._evidence = Evidence(both, float(above), float(self._means.model.n_eff()))
        return self._evidence

    def needed_factor(self, needed: float) -> float:
        """Return the factor of the level."""
        return level_factor(self._means.model, self._evidence.most, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of the level."""
        return _level_noise(self._logs.model, needed) if self._logs.model.blocks >= LEAST_BLOCKS else None


class PairedTest:
    """A test of a ratio against a limit, from pairs of values that were measured together.

    A machine's influence on both values cancels out of two series. One is ``numerator - limit *
    denominator``, whose mean is 0 if the ratio of the sums is the limit. The other is the logarithms of the
    single ratios, which do not wander with the machine far from the limit either. The evidence is the mean of
    both.

    Args:
        limit: limit of the ratio.
        pairs: returns a window's numerators, its denominators, and the seconds of a pair.
        noise_memory_s: longest time in seconds for which ratios may remember.
        typical_sd: the largest standard deviation of the ratio's level that is not unusual, as a fraction.
    """

    def __init__(
        self,
        limit: float,
        pairs: Callable[[ObservedWindow], tuple[Floats, Floats, float]],
        noise_memory_s: float,
        typical_sd: float = _TYPICAL_SD,
    ) -> None:
        self._limit = limit
        self._pairs = pairs
        self._typical_sd = typical_sd
        self._noise_memory_s = noise_memory_s
        self._pair_s = math.nan
        self._model = LevelModel(SHORTEST_BLOCK_S, noise_memory_s, (2,))
        self._evidence = Evidence()

    def look(self, window: ObservedWindow) -> Evidence:
        """Return the evidence of the pairs."""
        numerators, denominators, pair_s = self._pairs(window)
        if len(numerators) < LEAST_BLOCKS or not (numerators.any() and denominators.any()):
            return Evidence()
        if not 1 / _MISFIT < pair_s / self._pair_s < _MISFIT or len(numerators) < self._model.blocks:
            self._pair_s, self._model = pair_s, LevelModel(pair_s, self._noise_memory_s, (2,))
        expected = self._limit * denominators
        logs = np.log(_above_nothing(numerators) / _above_nothing(denominators))
        for values in np.array([numerators - expected, logs]).T[self._model.blocks :]:
            self._model.add(values)
        limits = np.array([0.0, math.log(self._limit)])[:, None, None]
        typical_sd = self._typical_sd * np.array([expected.mean(), 1.0])[:, None, None]
        both = self._model.evidence(lambda level_sd: limits + np.zeros_like(level_sd), typical_sd)
        below, above = (float(np.logaddexp(*each)) - math.log(2) for each in both)
        self._evidence = Evidence(below, above, float(self._model.n_eff().max()))
        return self._evidence

    def needed_factor(self, needed: float) -> float:
        """Return the factor of the level."""
        return level_factor(self._model, self._evidence.most, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of the level, as a fraction."""
        return _level_noise(self._model, needed) if self._model.blocks >= LEAST_BLOCKS else None


def _above_nothing(values: Floats) -> Floats:
    """Return values that have logarithms: small ones are raised to a twentieth of the mean."""
    return np.asarray(np.maximum(values, values.mean() / 20))


class NeverTest:
    """A test of an event that must never happen; one event is a proof, its absence shows only at the end."""

    def __init__(self, happened: Callable[[ObservedWindow], bool]) -> None:
        self._happened = happened

    def look(self, window: ObservedWindow) -> Evidence:
        """Return a proof if the event happened, else no evidence."""
        return Evidence(above=math.inf, n_eff=1.0) if self._happened(window) else Evidence()

    def needed_factor(self, needed: float) -> float:
        """Return infinity: a longer run does not prove that the event never happens."""
        del needed
        return math.inf

    def noise(self, needed: float) -> Noise | None:
        """Return None: noise is not the reason that the SLO is open."""
        del needed
        return None


# --- pairs ------------------------------------------------------------------------------------------


def baseline_pairs(window: ObservedWindow) -> tuple[Floats, Floats, float]:
    """Return successes a second between pulses, mean calls a second of the pulses, and a pair's seconds."""
    at_s, rps = window.baseline.at_s, window.baseline.rps
    inside = (at_s >= 0) & (at_s <= window.length_s)
    at_s, rps = at_s[inside], rps[inside]
    step = _step(window, at_s)
    edges_s = at_s[::step]
    if len(edges_s) < 2:  # noqa: PLR2004 - a gap has two ends
        return np.empty(0), np.empty(0), math.nan
    between = np.append(0.0, np.cumsum(between_pulses(rps)))[::step]
    lengths_s = np.diff(edges_s)
    counts = np.diff(np.searchsorted(window.ended_s, edges_s))
    return counts / lengths_s, np.diff(between) / step, float(lengths_s.mean())


def cpu_pairs(window: ObservedWindow) -> tuple[Floats, Floats, float]:
    """Return the replicas' CPU ms between readings, the successes in between, and a pair's seconds."""
    at_s, cpu_s = window.cpu_at_s, window.cpu_s
    inside = (at_s >= 0) & (at_s <= window.length_s)
    at_s, cpu_s = at_s[inside], cpu_s[inside]
    step = _step(window, at_s)
    at_s, cpu_s = at_s[::step], cpu_s[::step]
    if len(at_s) < 2:  # noqa: PLR2004 - a difference has two ends
        return np.empty(0), np.empty(0), math.nan
    counts = np.diff(np.searchsorted(window.ended_s, at_s)).astype(float)
    return np.diff(cpu_s) * _MS, counts, float(np.diff(at_s).mean())


def _step(window: ObservedWindow, at_s: Floats) -> int:
    """Return the number of samples that make a block with enough requests."""
    if len(at_s) < 2:  # noqa: PLR2004 - a gap has two ends
        return 1
    return max(math.ceil(fitting_block_s(window) / float(np.diff(at_s).mean()) - 0.1), 1)


# --- what is looked at -------------------------------------------------------------------------------


def latencies_of(*, relative: bool) -> Callable[[ObservedWindow], Floats]:
    """Return the function that takes a window's latencies: in ms, or in multiples of the baseline's call."""
    return relative_latencies if relative else _latencies


def relative_latencies(window: ObservedWindow) -> Floats:
    """Return latencies as multiples of the baseline's call at the same time."""
    return window.latencies_ms / window.baseline.latency_at(window.ended_s)


def _latencies(window: ObservedWindow) -> Floats:
    return window.latencies_ms


def any_failed(window: ObservedWindow) -> bool:
    """Return whether a request failed."""
    return bool(window.failed.any())


def any_beyond(limit: float, *, relative: bool, at_limit_counts: bool) -> Callable[[ObservedWindow], bool]:
    """Return the function that says whether a latency of a window is beyond a limit."""
    beyond, latencies = np.greater_equal if at_limit_counts else np.greater, latencies_of(relative=relative)
    return lambda window: bool(len(window.ended_s)) and bool(beyond(latencies(window), limit).any())
