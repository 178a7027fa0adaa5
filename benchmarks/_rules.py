"""What other tools would have made of a run: each rule judges a limit of its p95.

* point estimate: the p95 after all of the run
* k6: `abortOnFail`, the p95 of all requests so far every 2 s after 10 s, and at the end
* perf_analyzer: windows of 5 s until three in a row agree within 10 % in rate and p95, at most ten; their p95
* MLPerf: its early-stopping rule at 0.99, asked again every half second until it passes; it never fails
* t-interval: the run in five, as runs of their own; the 95 % t-interval of their p95
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from _watch import FAIL, NEITHER, PASS, Verdict

from pytest_tfserving.statistics.sequential import log_partial_beta

if TYPE_CHECKING:
    from collections.abc import Callable

    from _noise import Floats, Run
    from numpy.typing import NDArray

_OVER = 0.05
_K6_FIRST_S, _K6_EVERY_S = 10.0, 2.0
_WINDOW_S, _MOST_WINDOWS, _AGREE = 5.0, 10, 1.1
_MLPERF_EVERY_S, _MLPERF_CONFIDENCE = 0.5, 0.99
_RUNS = 5
# Student's t of 95 % for four degrees of freedom.
_T = 2.776


def point_estimate(run: Run, limit_ms: float, run_time_s: float) -> Verdict:
    return Verdict(_passes(run.latencies_ms, limit_ms), run_time_s)


def k6(run: Run, limit_ms: float, run_time_s: float) -> Verdict:
    """Abort as soon as the p95 so far is over the limit."""
    looks_s = np.arange(_K6_FIRST_S, run_time_s + _K6_EVERY_S / 2, _K6_EVERY_S)
    seen, over = _so_far(run, limit_ms, looks_s)
    aborts = np.flatnonzero(over >= _OVER * seen)
    return Verdict(FAIL, float(looks_s[aborts[0]])) if len(aborts) else Verdict(PASS, run_time_s)


def perf_analyzer(run: Run, limit_ms: float, run_time_s: float) -> Verdict:
    """Take the p95 of the first three windows in a row that agree."""
    windows = _pieces(run, np.linspace(0, _MOST_WINDOWS * _WINDOW_S, _MOST_WINDOWS + 1))
    figures = np.array([(len(each), np.quantile(each, 1 - _OVER)) for each in windows])
    for last in range(3, _MOST_WINDOWS + 1):
        three = figures[last - 3 : last]
        if (three.max(axis=0) <= _AGREE * three.min(axis=0)).all():
            joined = np.concatenate(windows[last - 3 : last])
            return Verdict(_passes(joined, limit_ms), last * _WINDOW_S)
    return Verdict(NEITHER, min(_MOST_WINDOWS * _WINDOW_S, run_time_s))


def mlperf(run: Run, limit_ms: float, run_time_s: float) -> Verdict:
    """Pass as soon as so few of so many are over the limit that chance explains it with at most 1 %."""
    looks_s = np.arange(_MLPERF_EVERY_S, run_time_s + _MLPERF_EVERY_S / 2, _MLPERF_EVERY_S)
    seen, over = _so_far(run, limit_ms, looks_s)
    needed = _mlperf_needs(1 << int(_OVER * len(run.ended_s) + 1).bit_length())
    enough = np.flatnonzero(seen >= needed[np.minimum(over, len(needed) - 1)])
    return Verdict(PASS, float(looks_s[enough[0]])) if len(enough) else Verdict(NEITHER, run_time_s)


def t_interval(run: Run, limit_ms: float, run_time_s: float) -> Verdict:
    pieces = _pieces(run, np.linspace(0, run_time_s, _RUNS + 1))
    p95_ms = np.array([np.quantile(each, 1 - _OVER) for each in pieces])
    half = _T * p95_ms.std(ddof=1) / math.sqrt(_RUNS)
    away = limit_ms - p95_ms.mean()
    return Verdict(NEITHER if abs(away) <= half else PASS if away > 0 else FAIL, run_time_s)


RULES: dict[str, Callable[[Run, float, float], Verdict]] = {
    "point estimate": point_estimate,
    "k6, abortOnFail": k6,
    "perf_analyzer, three windows": perf_analyzer,
    "MLPerf's early stopping, looped": mlperf,
    "t-interval over 5 runs": t_interval,
}


def _passes(latencies_ms: Floats, limit_ms: float) -> int:
    return PASS if np.mean(latencies_ms > limit_ms) < _OVER else FAIL


def _pieces(run: Run, edges_s: Floats) -> list[Floats]:
    """Return the latencies of the requests that ended between each two edges."""
    at = np.searchsorted(run.ended_s, edges_s)
    return np.split(run.latencies_ms, at)[1:-1]


def _so_far(run: Run, limit_ms: float, looks_s: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many requests had ended at each look, and how many of them were over the limit."""
    seen = np.searchsorted(run.ended_s, looks_s)
    over = np.append(0, np.cumsum(run.latencies_ms > limit_ms))
    return seen, over[seen]


@cache
def _mlperf_needs(most_over: int) -> NDArray[np.int64]:
    """Return for each number over the limit how many requests it takes: P(no more of them) <= 1 % at 5 %."""
    over = np.arange(most_over + 1)
    low, high = over + 1, np.full(most_over + 1, 40 * most_over + 200)
    while np.any(low < high):
        middle = (low + high) // 2
        log_p = log_partial_beta(1 - _OVER, middle - over, (over + 1).astype(np.float64)) - _log_beta(
            middle - over, over + 1
        )
        too_few = log_p > math.log(1 - _MLPERF_CONFIDENCE)
        low, high = np.where(too_few, middle + 1, low), np.where(too_few, high, middle)
    return np.asarray(high)


def _log_beta(a: NDArray[np.int64], b: NDArray[np.int64]) -> Floats:
    lgamma = np.frompyfunc(math.lgamma, 1, 1)
    return np.asarray(lgamma(a) + lgamma(b) - lgamma(a + b), float)
