"""The figures of a simulated run with their intervals, as a result has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from _watch import NOISE_MEMORY_S

from pytest_tfserving.deployment.pulses import PulseRow
from pytest_tfserving.load.baseline import Baseline, Stretches
from pytest_tfserving.statistics.span import SpanStatistics

if TYPE_CHECKING:
    from _noise import Run

    from pytest_tfserving.statistics.intervals import Interval

FIGURES = ("rps", "p50", "p95", "p99", "efficiency")
_NO_INTERVAL = math.nan, math.nan


def figures_of(run: Run, length_s: float) -> list[tuple[float, float, float]]:
    """Return each of `FIGURES` with the ends of its interval; NaN where there is none."""
    pulses = [PulseRow(*row) for row in run.pulses.T.tolist()]
    part, stretches = SpanStatistics(0.0, length_s, NOISE_MEMORY_S), Stretches(pulses, 0.0, length_s)
    part.add(run.ended_s, run.latencies_ms, run.failed)
    part.close()
    part.see_again(run.ended_s, run.latencies_ms, run.failed)
    stretches.add(run.ended_s[~run.failed])
    baseline = Baseline.of(pulses)
    assert baseline
    rps = len(part.latencies) / length_s
    values = {"rps": rps, **part.latencies.named_percentiles(), "efficiency": rps / baseline.mean_rps}
    interval = stretches.interval(values["efficiency"], NOISE_MEMORY_S)
    intervals: dict[str, Interval | None] = {**part.intervals()[0], "efficiency": interval}
    names = (f"{name}_ms" if name.startswith("p") else name for name in FIGURES)
    return [(values[name], *(intervals.get(name) or _NO_INTERVAL)) for name in names]
