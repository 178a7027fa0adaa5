"""Limits out of a run's reach, and how soon they are decided; recordings of real runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import _common as common
import numpy as np
from _noise import Run
from _watch import FAIL, PASS, watched

from pytest_tfserving.slo.language import parse_slos
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA
from pytest_tfserving.statistics.sequential import share_evidence

if TYPE_CHECKING:
    from _noise import Floats

# The SLOs that are tried, by the verdict that is right.
FAR = {"p95 PASS": PASS, "p99 PASS": PASS, "p95 FAIL": FAIL, "rps PASS": PASS, "rps FAIL": FAIL}
RECORDINGS = common.HERE / "recordings"
# A recording begins while users do.
_SKIPPED_S = 1.0
_NEEDED = -math.log(DEFAULT_ALPHA)


def far_times(run: Run, length_s: float) -> Floats:
    """Return after how many seconds each of `FAR` is decided, infinite where it is not, or wrongly.

    Those of percentiles that pass are multiples of what counting alone takes, NaN where ``length_s`` is less.
    """
    verdicts = watched(run, parse_slos(_far_slos(run)), length_s)
    times = [
        each.after_s if each.outcome == right else math.inf
        for each, right in zip(verdicts, FAR.values(), strict=True)
    ]
    for at, share in enumerate((0.05, 0.01)):
        counted_s = _counted_s(run, share)
        times[at] = times[at] / counted_s if counted_s < length_s else math.nan
    return np.array(times)


def _far_slos(run: Run) -> list[str]:
    """Return twice the highest latency, half of the lowest, a tenth and ten times the rate."""
    high_ms, low_ms = 2 * run.latencies_ms.max(), run.latencies_ms.min() / 2
    rps = len(run.ended_s) / run.ended_s[-1]
    latencies = [f"p95<{high_ms:.9g}ms", f"p99<{high_ms:.9g}ms", f"p95<{low_ms:.9g}ms"]
    return [*latencies, f"rps>={rps / 10:.9g}", f"rps>={rps * 10:.9g}"]


def _counted_s(run: Run, share: float) -> float:
    """Return when the requests are enough of which none is over, those in flight counted as one."""
    ended_s, taken_s = run.ended_s[~run.failed], run.latencies_ms[~run.failed] / 1000
    in_flight = np.maximum(np.cumsum(taken_s) / ended_s, 1)
    below, _ = share_evidence(share, 0.0, np.arange(1, len(ended_s) + 1) / in_flight)
    enough = np.flatnonzero(below >= _NEEDED)
    return float(ended_s[enough[0]]) if len(enough) else math.inf


def recorded() -> dict[str, Run]:
    """Return the recordings kept with the benchmark, each from where its users run."""
    found: dict[str, Run] = {}
    for path in sorted(RECORDINGS.glob("*.npz")):
        with np.load(path) as arrays:
            found |= {f"{path.stem}, {name}": _as_run(rows) for name, rows in arrays.items()}
    return found


def _as_run(rows: Floats) -> Run:
    ended_s, latencies_ms = np.asarray(rows[rows[:, 0] >= _SKIPPED_S], float).T
    return Run(ended_s - _SKIPPED_S, latencies_ms, np.zeros(len(ended_s), bool), np.empty((4, 0)))
