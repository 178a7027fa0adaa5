"""The sequential test of each metric: evidence that an SLO holds, and that it does not.

All tests take the window of requests seen so far. Each rests on two things. A `LevelModel` of blocks of time
says where the machine and the server may still wander, given that their memory is bounded. A count of
requests, or of requests that are in flight together, says what is rarer than that: stalls, and the tail of
fast noise. A verdict needs both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tfserving.noise import Noise, NoiseKind
from pytest_tfserving.statistics.dependence import MOST_VALUES, inefficiency
from pytest_tfserving.statistics.level import EVIDENCE_COST, LEAST_BLOCKS, LevelModel
from pytest_tfserving.statistics.pulses import between_pulses
from pytest_tfserving.statistics.sequential import BURST, needed_factor, share_evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

SHORTEST_BLOCK_S = 0.5
# So many requests a block on average make its mean nearly Gaussian.
REQUESTS_IN_A_BLOCK = 5
# Blocks get another length when they hold so many times too many requests, or too few.
_MISFIT = 3.0
_MS = 1000
# A normal approximation of a mean needs so many values, and more the more they scatter (skewness).
_FEWEST_VALUES = 20
_SCATTER_NEEDS = 300
# So many requests in flight are a queue.
_QUEUE = 2
# A level that is as likely not to wander is not said to.
_LIKELY = 0.5
# The level of a speed seldom has a larger standard deviation than this, as a fraction: a neighbour that
# halves the speed for a third of the time makes one of 0.33.
_TYPICAL_SD = 0.35
# How much more evidence rates take that are skewed, and taken to be Gaussian.
_SKEWED = 1.2
# What is counted of a block without requests: a logarithm needs more than nothing.
_HALF_A_REQUEST = 0.5


@dataclass(frozen=True)
class Baseline:
    """Pulses of the in-process baseline: seconds of load, calls a second, the median call in ms."""

    at_s: Floats = field(default_factory=lambda: np.empty(0))
    rps: Floats = field(default_factory=lambda: np.empty(0))
    latency_ms: Floats = field(default_factory=lambda: np.empty(0))

    def latency_at(self, at_s: Floats) -> Floats:
        """Return the median call in ms beside moments of load: of three pulses, between those in a line."""
        logs = np.log(self.latency_ms)
        smooth = np.convolve(np.pad(logs, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")
        return np.asarray(np.exp(np.interp(at_s, self.at_s, smooth)))


@dataclass(frozen=True)
class Window:
    """The requests that ended in the steady window so far, in the order they ended.

    ``latencies_ms`` and ``ended_s``, since the window's start, are those of successes. ``baseline`` and the
    CPU seconds used at ``cpu_at_s`` count from the window's start, too.
    """

    latencies_ms: Floats
    failed: NDArray[np.bool_]
    ended_s: Floats
    length_s: float
    baseline: Baseline = field(default_factory=Baseline)
    cpu_at_s: Floats = field(default_factory=lambda: np.empty(0))
    cpu_s: Floats = field(default_factory=lambda: np.empty(0))

    def beside_baseline(self) -> Window:
        """Return the window up to the last pulse of the baseline."""
        until_s = float(self.baseline.at_s[-1]) if len(self.baseline.at_s) else 0.0
        if until_s >= self.length_s:
            return self
        last = np.searchsorted(self.ended_s, until_s, side="right")
        return replace(
            self,
            ended_s=self.ended_s[:last],
            latencies_ms=self.latencies_ms[:last],
            length_s=max(until_s, 0.0),
        )

    @property
    def in_flight(self) -> float:
        """How many requests are under way together, by Little's law; at least 1.

        A stall takes all of them over a limit at once.
        """
        busy_s = float(self.latencies_ms.sum()) / _MS
        return max(busy_s / self.length_s, 1.0) if self.length_s > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Logarithms of the evidence that the truth is below its limit, and above it.

    ``n_eff`` is how many independent values it rests on.
    """

    below: float = 0.0
    above: float = 0.0
    n_eff: float = 0.0

    @property
    def most(self) -> float:
        """The stronger of both."""
        return max(self.below, self.above)

    def both(self, other: Evidence) -> Evidence:
        """Return what two tests agree on."""
        return Evidence(
            min(self.below, other.below),
            min(self.above, other.above),
            min(self.n_eff, other.n_eff),
        )


class SloTest(Protocol):
    """What an SLO asks of a window."""

    def look(self, window: Window) -> Evidence:
        """Return the evidence that what the SLO limits is below its limit, and that it is above."""
        ...

    def needed_factor(self, needed: float) -> float:
        """Return how many times the requests seen would likely be ``needed`` evidence."""
        ...

    def noise(self, needed: float) -> Noise | None:
        """Return what keeps the test from deciding."""
        ...


class _Series:
    """Blocks of a window, each with one value, and the `LevelModel` of these.

    ``values(window, edges_s)`` returns the values of the blocks between consecutive edges.
    """

    def __init__(self, values: Callable[[Window, Floats], Floats], noise_memory_s: float) -> None:
        self._values = values
        self._noise_memory_s = noise_memory_s
        self._block_s = math.nan
        self.model = LevelModel(SHORTEST_BLOCK_S, noise_memory_s)

    @property
    def block_s(self) -> float:
        """How long a block is."""
        return self._block_s

    def advance(self, window: Window) -> None:
        """Take in the whole blocks that are new."""
        block_s = _block_s(window)
        if not 1 / _MISFIT < block_s / self._block_s < _MISFIT:
            self._block_s = block_s
            self.model = LevelModel(block_s, self._noise_memory_s)
        whole = int(window.length_s / self._block_s + 1e-9) if self._block_s < math.inf else 0
        if whole <= self.model.blocks:
            return
        edges_s = np.arange(self.model.blocks, whole + 1) * self._block_s
        for value in self._values(window, edges_s):
            self.model.add(value)


def _block_s(window: Window) -> float:
    """Return how long blocks have to be for `REQUESTS_IN_A_BLOCK`."""
    count = len(window.ended_s)
    return max(SHORTEST_BLOCK_S, REQUESTS_IN_A_BLOCK * window.length_s / count if count else math.inf)


def _sums(window: Window, edges_s: Floats, weights: Floats | None = None) -> Floats:
    """Return the number of requests that ended in each block, or the sums of their weights."""
    first, last = np.searchsorted(window.ended_s, edges_s[[0, -1]])
    at = np.searchsorted(edges_s, window.ended_s[first:last], side="right") - 1
    chosen = None if weights is None else weights[first:last]
    return np.asarray(np.bincount(at, weights=chosen, minlength=len(edges_s) - 1), float)


def _block_means(values_of: Callable[[Window], Floats]) -> Callable[[Window, Floats], Floats]:
    """Return what gives the mean of each block's requests; a block without any has the one before."""

    def means(window: Window, edges_s: Floats) -> Floats:
        before = max(int(np.searchsorted(window.ended_s, edges_s[0])) - 1, 0)
        values = values_of(window)
        counts = _sums(window, edges_s)
        nothing = np.full(len(counts), np.nan)
        found = np.divide(_sums(window, edges_s, values), counts, out=nothing, where=counts > 0)
        known = np.maximum.accumulate(np.where(counts > 0, np.arange(len(found)), -1))
        return np.asarray(np.where(known >= 0, found[known], values[before]))

    return means


def _rate(window: Window, edges_s: Floats) -> Floats:
    return _sums(window, edges_s) / np.diff(edges_s)


def _log_rate(window: Window, edges_s: Floats) -> Floats:
    return np.log(np.maximum(_sums(window, edges_s), _HALF_A_REQUEST) / np.diff(edges_s))


class SeriesSet:
    """The series that the tests of one window share."""

    def __init__(self, noise_memory_s: float) -> None:
        self._noise_memory_s = noise_memory_s
        self._known: dict[object, _Series] = {}

    def series(self, values: Callable[[Window, Floats], Floats], key: object = None) -> _Series:
        """Return the series of ``values``, made once for each ``key``, or function where there is none."""
        key = key or values
        if key not in self._known:
            self._known[key] = _Series(values, self._noise_memory_s)
        return self._known[key]

    def latency(self, latencies: Callable[[Window], Floats]) -> _Series:
        """Return the series of mean latencies."""
        return self.series(_block_means(latencies), ("mean", latencies))

    def log_latency(self, latencies: Callable[[Window], Floats]) -> _Series:
        """Return the series of mean log latencies."""
        means = _block_means(lambda window: np.asarray(np.log(latencies(window))))
        return self.series(means, ("log", latencies))


def _level_noise(model: LevelModel, needed: float) -> Noise:
    """Return what a level's wandering hides, of the last of the model's series: one of logarithms."""
    found = model.estimate()
    error, level_sd, memory_s, still = (
        float(each.flat[-1]) for each in (found.error, found.level_sd, found.memory_s, found.still)
    )
    resolution = math.sqrt(2 * (needed + EVIDENCE_COST)) * error
    return Noise(NoiseKind.SPEED, level_sd if still < _LIKELY else 0.0, memory_s, resolution=resolution)


def _level_factor(model: LevelModel, evidence: float, needed: float) -> float:
    """Return how many times the blocks seen it takes: evidence grows with them, after what it costs."""
    grown = evidence + EVIDENCE_COST
    if evidence >= needed:
        return 1.0
    return (needed + EVIDENCE_COST) / grown if model.blocks >= LEAST_BLOCKS and grown > 0 else math.inf


class PercentileTest:
    """Too many latencies over the limit, or not.

    Blocks have the mean log latency. With q of the requests allowed over the limit, k the distance from a
    block's mean that q of the requests in it exceed, and a level of standard deviation s, the mean of the
    level is at ``ln(limit) - hypot(k, z s)`` when the percentile is the limit: exact for a Gaussian level and
    noise.
    """

    def __init__(
        self,
        percentile: float,
        limit: float,
        latencies: Callable[[Window], Floats],
        shared: SeriesSet,
        *,
        at_limit_counts: bool,
    ) -> None:
        self._percentile = percentile
        self._share = 1 - percentile / 100
        self._z = NormalDist().inv_cdf(percentile / 100)
        self._limit = limit
        self._latencies = latencies
        self._over = np.greater_equal if at_limit_counts else np.greater
        self._series = shared.log_latency(latencies)
        self._level = Evidence()
        self._window: Window | None = None

    def look(self, window: Window) -> Evidence:
        """Return the evidence of both tests."""
        if not len(window.ended_s):
            return Evidence()
        self._window = window
        self._series.advance(window)
        self._level = self._of_level(self._latencies(window), window)
        # Counting takes longer than asking the level, and most of the time there is no need for it.
        return self._level.both(self._counted(window)) if self._level.most > 0 else Evidence()

    def _counted(self, window: Window) -> Evidence:
        """Return the evidence of the requests over the limit, those in flight together counted as one."""
        counts = self._counts(window)
        below, above = share_evidence(self._share, *counts)
        return Evidence(float(below), float(above), sum(counts))

    def _counts(self, window: Window) -> tuple[float, float]:
        """Return how many requests are over the limit and how many are not, as if they were independent.

        A stall takes all in flight over the limit. Once some are over it, and some are not, how many of them
        come together is measured, too.
        """
        over = self._over(self._latencies(window), self._limit)
        hits, total = int(over.sum()), len(over)
        together = window.in_flight
        if 0 < hits < total:
            measured = float(inefficiency(over[-MOST_VALUES:].astype(float))[1])
            together = max(measured, together if hits < together else 1.0)
        return hits / together, (total - hits) / together

    def _of_level(self, values: Floats, window: Window) -> Evidence:
        model = self._series.model
        if model.blocks < LEAST_BLOCKS:
            return Evidence()
        spread = self._spread(values, window)
        limit = math.log(self._limit)
        below, above = model.evidence(
            lambda level_sd: limit - np.hypot(spread, self._z * level_sd), _TYPICAL_SD
        )
        return Evidence(float(below), float(above), math.inf)

    def _spread(self, values: Floats, window: Window) -> float:
        """Return how far above its block's mean log latency a request is that the percentile names."""
        logs = np.log(values[-MOST_VALUES:])
        at = (window.ended_s[-MOST_VALUES:] / self._series.block_s).astype(np.int64)
        at -= at[0]
        counts = np.bincount(at)
        means = np.bincount(at, weights=logs) / np.maximum(counts, 1)
        # A block's mean is made of its own requests: its variance is missing from theirs.
        inside = counts[at] > 1
        if not inside.any():
            return 0.0
        from_mean = (logs - means[at])[inside] * np.sqrt(counts[at][inside] / (counts[at][inside] - 1))
        return float(np.quantile(from_mean, self._percentile / 100))

    def needed_factor(self, needed: float) -> float:
        """Return the larger factor of both tests."""
        return max(self._factors(needed))

    def _factors(self, needed: float) -> tuple[float, float]:
        """Return those of the level and of the count."""
        level = _level_factor(self._series.model, self._level.most, needed)
        if self._window is None:
            return level, math.inf
        return level, needed_factor(self._share, self._counts(self._window), needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the noise of the test that would take longer."""
        if self._series.model.blocks < LEAST_BLOCKS or self._window is None:
            return None
        level, counted = self._factors(needed)
        if level >= counted:
            return _level_noise(self._series.model, needed)
        in_flight = self._window.in_flight
        return Noise(NoiseKind.QUEUE if in_flight >= _QUEUE else NoiseKind.COUNT, in_flight=in_flight)


class ErrorsTest:
    """Too many failures, or not. Failures come in bursts, so several of them count as one."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._counts = 0.0, 0.0

    def look(self, window: Window) -> Evidence:
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
        """Return what the counts say."""
        return needed_factor(self._share, self._counts, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return that there are too few requests."""
        del needed
        return Noise(NoiseKind.COUNT)


class RateTest:
    """Successes a second against a rate.

    That it is above is shown by the logarithms of the blocks' rates: their mean is below the logarithm of
    the mean rate, whatever its law (Jensen), and no wandering of a speed takes them far. That it is below is
    shown by the rates themselves, which are skewed: it takes more evidence.
    """

    def __init__(self, limit: float, shared: SeriesSet) -> None:
        self._limit = limit
        self._rates = shared.series(_rate)
        self._logs = shared.series(_log_rate)
        self._evidence = Evidence()

    def look(self, window: Window) -> Evidence:
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
        """Return what the level says."""
        return _level_factor(self._rates.model, self._evidence.most, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the level's."""
        return _level_noise(self._logs.model, needed) if self._logs.model.blocks >= LEAST_BLOCKS else None


class MeanTest:
    """The mean latency against a limit.

    That it is below is shown by the blocks' means, and by their mean log latencies: latencies are skewed, and
    the mean of log-Gaussian ones is above their median by half the variance. That it is above is shown by
    the logarithms: they are below the logarithm of the mean, except that requests are fewer where a closed
    loop is slow, which takes half the level's variance off at most.
    """

    def __init__(self, limit: float, latencies: Callable[[Window], Floats], shared: SeriesSet) -> None:
        self._limit = limit
        self._latencies = latencies
        self._means = shared.latency(latencies)
        self._logs = shared.log_latency(latencies)
        self._evidence = Evidence()

    def look(self, window: Window) -> Evidence:
        """Return the evidence of both series, where there are enough values."""
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
        is_enough = len(values) / window.in_flight >= _FEWEST_VALUES + _SCATTER_NEEDS * scatter**2
        both = min(float(below), float(skewed)) if is_enough else 0.0
        self._evidence = Evidence(both, float(above), float(self._means.model.n_eff()))
        return self._evidence

    def needed_factor(self, needed: float) -> float:
        """Return what the level says."""
        return _level_factor(self._means.model, self._evidence.most, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the level's."""
        return _level_noise(self._logs.model, needed) if self._logs.model.blocks >= LEAST_BLOCKS else None


class PairedTest:
    """A ratio against a limit, from pairs of values that were taken beside each other.

    What a machine does to both is neither in ``numerator - limit * denominator``, whose mean is 0 where the
    ratio of the sums is the limit, nor in the logarithms of the single ratios, which far from the limit do
    not wander with the machine either. The evidence is the mean of both.

    Args:
        limit: of the ratio.
        pairs: returns a window's numerators, denominators, and the seconds that each pair took.
        noise_memory_s: how long ratios may remember.
    """

    def __init__(
        self,
        limit: float,
        pairs: Callable[[Window], tuple[Floats, Floats, float]],
        noise_memory_s: float,
    ) -> None:
        self._limit = limit
        self._pairs = pairs
        self._noise_memory_s = noise_memory_s
        self._pair_s = math.nan
        self._model = LevelModel(SHORTEST_BLOCK_S, noise_memory_s, (2,))
        self._evidence = Evidence()

    def look(self, window: Window) -> Evidence:
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
        typical_sd = _TYPICAL_SD * np.array([expected.mean(), 1.0])[:, None, None]
        both = self._model.evidence(lambda level_sd: limits + np.zeros_like(level_sd), typical_sd)
        below, above = (float(np.logaddexp(*each)) - math.log(2) for each in both)
        self._evidence = Evidence(below, above, float(self._model.n_eff().max()))
        return self._evidence

    def needed_factor(self, needed: float) -> float:
        """Return what the level says."""
        return _level_factor(self._model, self._evidence.most, needed)

    def noise(self, needed: float) -> Noise | None:
        """Return the level's, as a fraction."""
        return _level_noise(self._model, needed) if self._model.blocks >= LEAST_BLOCKS else None


def _above_nothing(values: Floats) -> Floats:
    """Return values that have logarithms: nothing is taken to be a twentieth of the mean."""
    return np.asarray(np.maximum(values, values.mean() / 20))


class NeverTest:
    """Something that must not happen once: that it did is proof; that it did not is known at the end only."""

    def __init__(self, happened: Callable[[Window], bool]) -> None:
        self._happened = happened

    def look(self, window: Window) -> Evidence:
        """Return proof, or nothing."""
        return Evidence(above=math.inf, n_eff=1.0) if self._happened(window) else Evidence()

    def needed_factor(self, needed: float) -> float:
        """Return that no longer run proves it."""
        del needed
        return math.inf

    def noise(self, needed: float) -> Noise | None:
        """Return nothing: it is no noise that keeps it from being decided."""
        del needed
        return None


# --- what is paired ---------------------------------------------------------------------------------


def baseline_pairs(window: Window) -> tuple[Floats, Floats, float]:
    """Return successes a second between pulses, and the mean calls a second of the pulses around them."""
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


def cpu_pairs(window: Window) -> tuple[Floats, Floats, float]:
    """Return the CPU ms that replicas used between samples, and the successes that ended meanwhile."""
    at_s, cpu_s = window.cpu_at_s, window.cpu_s
    inside = (at_s >= 0) & (at_s <= window.length_s)
    at_s, cpu_s = at_s[inside], cpu_s[inside]
    step = _step(window, at_s)
    at_s, cpu_s = at_s[::step], cpu_s[::step]
    if len(at_s) < 2:  # noqa: PLR2004 - a difference has two ends
        return np.empty(0), np.empty(0), math.nan
    counts = np.diff(np.searchsorted(window.ended_s, at_s)).astype(float)
    return np.diff(cpu_s) * _MS, counts, float(np.diff(at_s).mean())


def _step(window: Window, at_s: Floats) -> int:
    """Return how many samples make a block that has enough requests."""
    if len(at_s) < 2:  # noqa: PLR2004 - a gap has two ends
        return 1
    return max(math.ceil(_block_s(window) / float(np.diff(at_s).mean()) - 0.1), 1)


# --- what is looked at -------------------------------------------------------------------------------


def latencies_of(*, relative: bool) -> Callable[[Window], Floats]:
    """Return the function that takes a window's latencies: in ms, or in multiples of the baseline's call."""
    return relative_latencies if relative else _latencies


def relative_latencies(window: Window) -> Floats:
    """Return latencies as multiples of the baseline's call beside them."""
    return window.latencies_ms / window.baseline.latency_at(window.ended_s)


def _latencies(window: Window) -> Floats:
    return window.latencies_ms


def any_failed(window: Window) -> bool:
    """Return whether a request failed."""
    return bool(window.failed.any())


def any_beyond(limit: float, *, relative: bool, at_limit_counts: bool) -> Callable[[Window], bool]:
    """Return the function that says whether a latency of a window is beyond a limit."""
    beyond, latencies = np.greater_equal if at_limit_counts else np.greater, latencies_of(relative=relative)
    return lambda window: bool(len(window.ended_s)) and bool(beyond(latencies(window), limit).any())
