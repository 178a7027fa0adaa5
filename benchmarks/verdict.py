"""How often verdicts are wrong, and how soon they come, in simulated time.

A server answers 100 requests a second, latencies lognormal (sigma 0.35), independent or autocorrelated:
AR(1) with 0.5, 0.8, 0.9 from one request to the next. On the boundary, where the true p95 is the limit,
every verdict is a wrong one; that is where a rule is most often wrong. Every rule watches the same runs of
5 minutes:

* sequential: the plugin's, looked at every half second, alpha 0.01, each direction
* point estimate: p95 after 5 minutes against the limit
* k6: `abortOnFail`, the p95 of all requests so far against the limit every 2 s after 10 s, and at the end
* perf_analyzer: windows of 5 s until three agree within 10 % in rate and p95, at most ten; their p95
* MLPerf: its early-stopping rule at 0.99, asked again every half second until it passes

Error rates of 1 % and 0.1 % and rates of requests are tried on the boundary in the same ways, as is a server
that is far below the limit but for stalls, which take all requests over it that are in flight together. Then
comes the plugin's time to a verdict where the truth is 15 % away from the limit. Everything is seeded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import _common as common
import numpy as np

from pytest_tfserving.statistics.dependence import inefficiency, is_far_from, tail_inefficiency
from pytest_tfserving.statistics.sequential import (
    AGAIN,
    BURST,
    FIRST_REQUESTS,
    FIRST_SLICES,
    log_partial_beta,
    mean_evidence,
    share_evidence,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Unseen = Callable[[Floats, Floats], Floats]

ALPHA = 0.01
RATE = 100
RUN_S = 300
LOOK_S = 0.5
SLICES_A_S = 40
# Requests that are in flight together, and where the limit is then, in deviations of a logarithm.
IN_FLIGHT = 4
FAR = 25.0
SIGMA = 0.35
AWAY = 1.15
CORRELATIONS = (0.0, 0.5, 0.8, 0.9)
OVER = 0.05
Z95 = NormalDist().inv_cdf(1 - OVER)
_SEED = 20_260_101
_CHUNK = 250
_NEEDED = -math.log(ALPHA)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Of many runs: 1 is PASS, -1 FAIL, 0 neither; and when, in seconds."""

    outcome: NDArray[np.int8]
    at_s: Floats

    def share(self, outcome: int) -> float:
        """How many of the runs had it."""
        return float(np.mean(self.outcome == outcome))

    @property
    def median_s(self) -> float:
        """Half the runs had their verdict by then."""
        return float(np.median(self.at_s))


def autocorrelated(random: np.random.Generator, runs: int, length: int, rho: float) -> Floats:
    """Standard normal AR(1) series, one a row."""
    series = random.standard_normal((length, runs), dtype=np.float32)
    series[1:] *= math.sqrt(1 - rho * rho)
    for at in range(1, length):
        series[at] += rho * series[at - 1]
    return np.ascontiguousarray(series.T)


def chunks(runs: int) -> Iterator[tuple[np.random.Generator, int]]:
    """The runs in parts that fit the memory, each with a generator of its own."""
    for first in range(0, runs, _CHUNK):
        yield np.random.default_rng([_SEED, first]), min(_CHUNK, runs - first)


def joined(parts: list[Verdicts]) -> Verdicts:
    return Verdicts(
        np.concatenate([each.outcome for each in parts]), np.concatenate([each.at_s for each in parts])
    )


# --- the plugin's rule -----------------------------------------------------------------------------


class Watched:
    """Runs that a rule decides one look after the other."""

    def __init__(self, runs: int) -> None:
        self.outcome = np.zeros(runs, np.int8)
        self.at_s = np.full(runs, float(RUN_S))

    def open(self) -> NDArray[np.intp]:
        """Those that are not decided."""
        return np.flatnonzero(self.outcome == 0)

    def decide(self, which: NDArray[np.intp], outcome: int, at_s: float) -> None:
        """Note a verdict."""
        self.outcome[which], self.at_s[which] = outcome, at_s

    def verdicts(self) -> Verdicts:
        """What was decided."""
        return Verdicts(self.outcome, self.at_s)


def _next_measure(measure_at: float, seen: int) -> float:
    """When the inefficiency is measured again."""
    while measure_at <= seen:
        measure_at *= AGAIN
    return measure_at


def sequential_share(
    values: Floats, over: NDArray[np.bool_], share: float, least: float = 1.0, unseen: Unseen | None = None
) -> Verdicts:
    """PASS when the share over the limit is proved below ``share``, FAIL when it is proved above.

    The inefficiency is ``least`` at least; of runs with none over the limit when it was measured, what
    ``unseen`` says of their values so far and of what was measured.
    """
    hits = np.cumsum(over, axis=1, dtype=np.int32)
    watched, measure_at = Watched(len(values)), float(FIRST_REQUESTS)
    for seen in range(FIRST_REQUESTS, values.shape[1] + 1, int(RATE * LOOK_S)):
        if seen >= measure_at:
            found = tail_inefficiency(values[:, :seen], over[:, :seen].astype(float), share)
            scale = 1 / np.maximum(found, least)
            measure_at = _next_measure(measure_at, seen)
            is_unseen = hits[:, seen - 1] == 0
        left = watched.open()
        counts = hits[left, seen - 1]
        weight = scale[left]
        if unseen and (none := is_unseen[left]).any():
            weight[none] = 1 / unseen(values[left[none], :seen], 1 / weight[none])
        below, above = share_evidence(share, counts * weight, (seen - counts) * weight)
        watched.decide(left[below >= _NEEDED], 1, seen / RATE)
        watched.decide(left[above >= _NEEDED], -1, seen / RATE)
    return watched.verdicts()


def sequential_percentile(values: Floats, limit: float, in_flight: float = 1.0) -> Verdicts:
    """The p95 against a limit; both are logarithms in units of `SIGMA`."""

    def unseen(values: Floats, measured: Floats) -> Floats:
        far = is_far_from(math.exp(SIGMA * limit), np.exp(SIGMA * values))
        return np.where(far, in_flight, np.maximum(measured, in_flight))

    return sequential_share(values, values > limit, OVER, unseen=unseen)


def sequential_mean(slices: Floats, limit: float) -> Verdicts:
    """PASS when the mean of the slices is proved above ``limit``, FAIL when it is proved below."""
    sums = np.cumsum(slices / limit, axis=1, dtype=float)
    squares = np.cumsum((slices / limit) ** 2, axis=1, dtype=float)
    watched, measure_at = Watched(len(slices)), float(FIRST_SLICES)
    for seen in range(FIRST_SLICES, slices.shape[1] + 1, int(SLICES_A_S * LOOK_S)):
        if seen >= measure_at:
            correlation = inefficiency(slices[:, :seen].astype(float))[1]
            measure_at = _next_measure(measure_at, seen)
        left = watched.open()
        mean = sums[left, seen - 1] / seen
        deviation = np.sqrt(np.maximum(squares[left, seen - 1] / seen - mean**2, 0) * seen / (seen - 1))
        below, above = mean_evidence(seen, mean, deviation, correlation[left])
        watched.decide(left[above >= _NEEDED], 1, seen / SLICES_A_S)
        watched.decide(left[below >= _NEEDED], -1, seen / SLICES_A_S)
    return watched.verdicts()


# --- the others' -----------------------------------------------------------------------------------


def point_estimate(values: Floats, limit: float) -> Verdicts:
    passed = (values > limit).mean(axis=1) < OVER
    return Verdicts(np.where(passed, 1, -1).astype(np.int8), np.full(len(values), float(RUN_S)))


def k6(values: Floats, limit: float) -> Verdicts:
    """Aborts as soon as the p95 so far is over the limit."""
    hits = np.cumsum(values > limit, axis=1, dtype=np.int32)
    watched = Watched(len(values))
    for seen in range(10 * RATE, values.shape[1] + 1, 2 * RATE):
        left = watched.open()
        watched.decide(left[hits[left, seen - 1] >= OVER * seen], -1, seen / RATE)
    watched.decide(watched.open(), 1, RUN_S)
    return watched.verdicts()


def perf_analyzer(values: Floats, limit: float) -> Verdicts:
    """Three windows have to agree; arrivals are constant here, so that their rates always do."""
    size, most = 5 * RATE, 10
    windows = np.quantile(values[:, : most * size].reshape(len(values), most, size), 1 - OVER, axis=2)
    watched = Watched(len(values))
    for trial in range(3, most + 1):
        left = watched.open()
        last = np.exp(SIGMA * windows[left, trial - 3 : trial])
        agreed = left[last.max(axis=1) <= 1.1 * last.min(axis=1)]
        over = (values[agreed, (trial - 3) * size : trial * size] > limit).mean(axis=1) >= OVER
        watched.decide(agreed[~over], 1, 5.0 * trial)
        watched.decide(agreed[over], -1, 5.0 * trial)
    return watched.verdicts()


def mlperf(values: Floats, limit: float) -> Verdicts:
    """Passes as soon as so few of so many are over the limit that chance explains it with at most 1 %."""
    hits = np.cumsum(values > limit, axis=1, dtype=np.int32)
    needed = _mlperf_minimum(int(1.2 * OVER * values.shape[1]))
    watched = Watched(len(values))
    for seen in range(int(RATE * LOOK_S), values.shape[1] + 1, int(RATE * LOOK_S)):
        left = watched.open()
        watched.decide(
            left[seen >= needed[np.minimum(hits[left, seen - 1], len(needed) - 1)]], 1, seen / RATE
        )
    return watched.verdicts()


@cache
def _mlperf_minimum(most_over: int) -> NDArray[np.int64]:
    """For each number of requests over the limit, how many it takes: P(no more of them) <= 1 % at 5 %."""
    over = np.arange(most_over + 1)
    low, high = over + 1, np.full(most_over + 1, 40 * most_over + 200)
    while np.any(low < high):
        middle = (low + high) // 2
        enough = log_partial_beta(1 - OVER, middle - over, over + 1.0) - _log_beta(middle - over, over + 1)
        low, high = np.where(enough <= math.log(0.01), (low, middle), (middle + 1, high))
    return np.asarray(high)


def _log_beta(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    lgamma = np.frompyfunc(math.lgamma, 1, 1)
    return np.asarray(lgamma(a) + lgamma(b) - lgamma(a + b), float)


RULES: dict[str, Callable[[Floats, float], Verdicts]] = {
    "sequential": sequential_percentile,
    "point estimate": point_estimate,
    "k6": k6,
    "perf_analyzer": perf_analyzer,
    "MLPerf, looped": mlperf,
}


# --- what is tried ---------------------------------------------------------------------------------


def percentiles(runs: int, rho: float, away: float) -> dict[str, Verdicts]:
    """All rules on a p95 limit ``away`` times the true p95."""
    limit = Z95 + math.log(away) / SIGMA
    parts: dict[str, list[Verdicts]] = {name: [] for name in RULES}
    for random, count in chunks(runs):
        values = autocorrelated(random, count, RATE * RUN_S, rho)
        for name, rule in RULES.items():
            parts[name].append(rule(values, limit))
    return {name: joined(each) for name, each in parts.items()}


def errors(runs: int, rho: float, share: float) -> Verdicts:
    """The plugin's rule on an error rate that is the limit."""
    parts = []
    for random, count in chunks(runs):
        values = autocorrelated(random, count, RATE * RUN_S, rho)
        failed = values > NormalDist().inv_cdf(1 - share)
        parts.append(sequential_share(failed.astype(np.float32), failed, share, BURST))
    return joined(parts)


def stalls(runs: int, rho: float) -> Verdicts:
    """The plugin's rule where `OVER` of the requests are over a far limit, `IN_FLIGHT` at a time."""
    parts = []
    for random, count in chunks(runs):
        values = autocorrelated(random, count, RATE * RUN_S, rho)
        values += 2 * FAR * _stalled(random, values.shape)
        parts.append(sequential_percentile(values, FAR, IN_FLIGHT))
    return joined(parts)


def _stalled(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which requests a stall catches: `OVER` of them, each stall `IN_FLIGHT` in a row."""
    most = shape[1] // IN_FLIGHT + 1
    gaps = random.geometric(OVER / (IN_FLIGHT * (1 - OVER) + OVER), (shape[0], most)) - 1
    ends = np.cumsum(gaps + IN_FLIGHT, axis=1)
    stalled = np.zeros(shape, bool)
    for back in range(1, IN_FLIGHT + 1):
        rows, columns = np.nonzero(ends - back < shape[1])
        stalled[rows, ends[rows, columns] - back] = True
    return stalled


def rates(runs: int, rho: float, away: float) -> Verdicts:
    """The plugin's rule on a limit of 1 / ``away`` of the true rate, that of a server busy all the time."""
    parts = []
    for random, count in chunks(runs):
        service = np.exp(SIGMA * autocorrelated(random, count, int(1.2 * RATE * RUN_S), rho) - SIGMA**2 / 2)
        slices = (np.cumsum(service, axis=1, dtype=float) / RATE * SLICES_A_S).astype(np.int32)
        parts.append(sequential_mean(_counts(slices, SLICES_A_S * RUN_S), RATE / SLICES_A_S / away))
    return joined(parts)


def _counts(slices: NDArray[np.int32], most: int) -> Floats:
    """How many values of each row are 0, 1, 2 and so on, below ``most``."""
    rows = np.arange(len(slices))[:, None] * most
    inside = slices < most
    found = np.bincount((rows + slices)[inside], minlength=len(slices) * most)
    return np.asarray(found.reshape(len(slices), most), float)


def _on_boundary(runs: int) -> tuple[dict[str, Any], float]:
    """Wrong verdicts of every rule where the truth is the limit."""
    figures: dict[str, Any] = {}
    for rho in CORRELATIONS:
        common.note(f"boundary, autocorrelation {rho:g}")
        found = percentiles(runs, rho, 1.0)
        found |= {
            f"sequential, errors {100 * share:g} %": errors(runs, rho, share) for share in (0.01, 0.001)
        }
        found["sequential, stalls"] = stalls(runs, rho)
        found["sequential, rps"] = rates(runs, rho, 1.0)
        for name, verdicts in found.items():
            figures.setdefault(name, {})[f"{rho:g}"] = {
                "pass": verdicts.share(1),
                "fail": verdicts.share(-1),
            }
    return figures, max(
        max(each.values()) for name, row in figures.items() if "sequential" in name for each in row.values()
    )


def _away(runs: int) -> dict[str, Any]:
    """Verdicts and times where the server is 15 % better, or worse, than the limit."""
    figures: dict[str, Any] = {}
    for rho in CORRELATIONS:
        common.note(f"15 % away, autocorrelation {rho:g}")
        for truth, away in (("better", AWAY), ("worse", 1 / AWAY)):
            found = {**percentiles(runs, rho, away), "sequential, rps": rates(runs, rho, away)}
            right = 1 if truth == "better" else -1
            for name, verdicts in found.items():
                figures.setdefault(name, {}).setdefault(truth, {})[f"{rho:g}"] = {
                    "right": verdicts.share(right),
                    "wrong": verdicts.share(-right),
                    "median_s": verdicts.median_s,
                    "p90_s": float(np.quantile(verdicts.at_s, 0.9)),
                }
    return figures


def main() -> None:
    args = common.arguments(__doc__)
    runs, fewer = (100, 50) if args.quick else (1000, 200)
    boundary, most_wrong = _on_boundary(runs)
    away = _away(fewer)
    common.note("")
    print(f"truth on the limit, {runs} runs: wrong PASS / wrong FAIL in %, by autocorrelation\n")
    common.table(
        ["rule", *(f"{rho:g}" for rho in CORRELATIONS)],
        [
            [name, *(f"{100 * each['pass']:.1f} / {100 * each['fail']:.1f}" for each in row.values())]
            for name, row in boundary.items()
        ],
    )
    for truth in ("better", "worse"):
        print(f"\ntruth 15 % {truth}, {fewer} runs: median seconds to a verdict, and wrong verdicts in %\n")
        common.table(
            ["rule", *(f"{rho:g}" for rho in CORRELATIONS)],
            [
                [
                    name,
                    *(f"{each['median_s']:.1f} s, {100 * each['wrong']:.1f}" for each in row[truth].values()),
                ]
                for name, row in away.items()
            ],
        )
    ours = [row[truth] for name, row in away.items() if "sequential" in name for truth in ("better", "worse")]
    slowest = max(each["median_s"] for row in ours for each in row.values())
    # What chance adds to a share of alpha in so many runs, three standard errors of it.
    chance = 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
    common.finish(
        args,
        {"boundary": boundary, "away": away, "runs": runs, "runs_away": fewer},
        [
            common.Target(
                "most wrong verdicts on the boundary", most_wrong, ALPHA + (chance if args.quick else 0)
            ),
            common.Target("slowest median verdict 15 % away, s", slowest, RUN_S / 5),
        ],
    )


if __name__ == "__main__":
    main()
