"""Verdicts on single requests and on parts of a run: goodput, windows, and the time after a spike.

What is true of a part of a run is true given the level in it: a request with a level is over a limit with a
known probability, and the share over the limit is the mean of this over the requests of the part.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from _noise import base_ms
from _watch import watched

from pytest_tfserving.slo.expected_load import ExpectedLoad, Fall
from pytest_tfserving.slo.language import parse_slos
from pytest_tfserving.slo.request_limits import RequestLimits

if TYPE_CHECKING:
    from _noise import Floats, Run, Truth
    from _trials import Batch, Cell

OVER = 1.15
WINDOW_S = 10.0
FALL_S, RECOVERY_S, WITHIN_S = 20.0, 5.0, 5.0
# The server is slow by so much until it has recovered, which is sooner than the limit, or later.
_SLOW = 20.0
SOON_S, LATE_S = 2.0, 7.0
_SHARE = 0.05
_BISECTIONS = 50
_ERF = np.frompyfunc(NormalDist().cdf, 1, 1)


def try_goodput(batch: Batch, truth: Truth) -> Floats:
    """Return verdicts where the truth is on the limit, and where the server is 15 % over its latency."""
    slos = parse_slos([f"goodput>={100 * truth.good:.9g}%"])
    length_s = batch.cell.length_s
    loads = [ExpectedLoad(length_s, _limits(truth.p95 / over)) for over in (1.0, OVER)]
    return np.array([[watched(run, slos, length_s, load)[0] for load in loads] for run in batch.runs()])


def try_windows(batch: Batch) -> Floats:
    """Return verdicts where the worst window is on the limit, and where it is 15 % over it."""
    return np.array([_windows(run, batch.cell) for run in batch.runs()])


def _windows(run: Run, cell: Cell) -> list[tuple[int, float]]:
    count = int(cell.length_s // WINDOW_S)
    limit_ms = max(limit_of(run, cell, at * WINDOW_S, (at + 1) * WINDOW_S) for at in range(count))
    texts = [f"p95<{limit_ms / over:.9g}ms every {WINDOW_S:g}s" for over in (1.0, OVER)]
    return list(watched(run, parse_slos(texts), cell.length_s, ExpectedLoad(cell.length_s)))


def try_recovery(batch: Batch) -> Floats:
    """Return verdicts where the share of slow requests is on the limit, on a soon and on a late recovery."""
    return np.array([_recoveries(_without_failures(run), batch.cell) for run in batch.runs()])


def _recoveries(run: Run, cell: Cell) -> list[tuple[int, float]]:
    limit_ms = limit_of(run, cell, FALL_S + RECOVERY_S, FALL_S + RECOVERY_S + WITHIN_S)
    slos, falls = parse_slos([f"recovery<{RECOVERY_S:g}s"]), (Fall(FALL_S, cell.length_s),)
    soon, late = (_slow_until(run, FALL_S + after_s) for after_s in (SOON_S, LATE_S))
    tried = ((run, limit_ms), (soon, 2 * limit_ms), (late, 2 * limit_ms))
    length_s = cell.length_s
    return [
        watched(each, slos, length_s, ExpectedLoad(length_s, _limits(limit), falls))[0]
        for each, limit in tried
    ]


def _without_failures(run: Run) -> Run:
    """Return a run in which a request is bad only if it is slow."""
    return replace(run, failed=np.zeros(len(run.failed), bool))


def _slow_until(run: Run, until_s: float) -> Run:
    slower = np.where(run.ended_s < until_s, _SLOW, 1.0)
    return replace(run, latencies_ms=run.latencies_ms * slower)


def _limits(limit_ms: float) -> RequestLimits:
    return RequestLimits.parse(f"{limit_ms:.9g}ms")


def limit_of(run: Run, cell: Cell, start_s: float, end_s: float) -> float:
    """Return the latency that 5 % of the requests of a part are over, given the level in it, in ms."""
    noise, part = cell.noise, slice(*np.searchsorted(run.ended_s, [start_s, end_s]))
    shares = math.sqrt(noise.share), math.sqrt(1 - noise.share)
    if not noise.tau_s:
        # Without a memory, what is a level here is noise of each request.
        return base_ms(cell.server, noise) * math.exp(noise.sigma * NormalDist().inv_cdf(1 - _SHARE))
    levels = shares[0] * run.levels[part]
    low, high = -10.0, 10.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        over = 1 - float(np.mean(np.asarray(_ERF((middle - levels) / shares[1]), float)))
        low, high = (middle, high) if over > _SHARE else (low, middle)
    return base_ms(cell.server, noise) * math.exp(noise.sigma * high)
