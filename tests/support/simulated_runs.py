"""Simulated runs of load, and what an SLO's test decides when it sees one of them grow."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.slo.language import Slo
from pytest_tfserving.slo.monitor import SHORTEST_WINDOW_S
from pytest_tfserving.slo.sequential_tests import ObservedWindow, PulseSeries, SeriesSet, SloTest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _noise import Noise, Run, Server
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALPHA = 0.01
NEEDED = -math.log(ALPHA)
NOISE_MEMORY_S = 10.0
# Tests look again when the window is so many times as long.
_NEXT_LOOK = 1.08
_FAILURES = 0.01
_Z = {"p50": 0.0, "p95": 1.6448536, "p99": 2.3263479}


def autocorrelated(random: np.random.Generator, length: int, rho: float, runs: int = 1) -> Floats:
    """Standard normal AR(1) series, one a row."""
    series = random.standard_normal((length, runs))
    series[1:] *= math.sqrt(1 - rho * rho)
    for at in range(1, length):
        series[at] += rho * series[at - 1]
    return series.T


def truth(metric: str, server: Server, noise: Noise) -> float:
    """What a server of `_noise` does in the long run, in ms, a second, or as a fraction of 1.

    In a closed loop a fast moment has more requests: seen from these, the level is lower.
    """
    level = noise.share * noise.sigma**2 if noise.tau_s else 0.0
    whole = noise.sigma**2
    base_ms = 1e3 * server.users / server.rps * math.exp(-whole / 2) if server.users else 2e3 / server.rps
    shift = level if server.users else 0.0
    if metric == "errors":
        return _FAILURES * math.exp(noise.share * whole / 2 - shift)
    if metric == "rps":
        return server.rps * math.exp(shift) * (1 - truth("errors", server, noise))
    if metric == "mean":
        return base_ms * math.exp(whole / 2 - shift)
    return base_ms * math.exp(_Z[metric] * noise.sigma - shift)


def slo_text(metric: str, limit: float) -> str:
    """An SLO on a metric, in its own unit."""
    if metric in ("rps", "efficiency"):
        return f"{metric}>={limit:.9f}" if metric == "rps" else f"{metric}>={100 * limit:.9f}%"
    return f"{metric}<{100 * limit:.9f}%" if metric == "errors" else f"{metric}<{limit:.9f}ms"


@dataclass(frozen=True)
class Found:
    """What a test decided: that an SLO holds, that it does not, or None, and after how many seconds."""

    holds: bool | None
    after_s: float


def window(run: Run, until_s: float, cpu: tuple[Floats, Floats] | None = None) -> ObservedWindow:
    """The window of a run's first seconds; ``cpu`` has the replicas' CPU seconds so far, and when."""
    last = int(np.searchsorted(run.ended_s, until_s, side="right"))
    good = ~run.failed[:last]
    at_s, calls, busy_s, latency_ms = run.pulses[:, run.pulses[0] <= until_s]
    found = ObservedWindow(
        run.latencies_ms[:last][good],
        run.failed[:last],
        run.ended_s[:last][good],
        until_s,
        PulseSeries(at_s, calls / busy_s, latency_ms),
    )
    return replace(found, cpu_at_s=cpu[0], cpu_s=cpu[1]) if cpu else found


def new_test(text: str, shared: SeriesSet | None = None) -> SloTest:
    """The test of an SLO."""
    found = Slo.parse(text).sequential_test(NOISE_MEMORY_S, shared or SeriesSet(NOISE_MEMORY_S))
    assert found
    return found


def looks(length_s: float) -> list[float]:
    """When a test is asked, from the shortest window on."""
    count = int(math.log(length_s / SHORTEST_WINDOW_S) / math.log(_NEXT_LOOK))
    return [SHORTEST_WINDOW_S * _NEXT_LOOK**look for look in range(count + 1)]


def decided(text: str, run: Run, length_s: float = 60.0, cpu: tuple[Floats, Floats] | None = None) -> Found:
    """What the test of an SLO decides of a run, and when."""
    slo, test = Slo.parse(text), new_test(text)
    for until_s in looks(length_s):
        seen = window(run, until_s, cpu)
        evidence = test.look(seen.beside_baseline() if slo.relative else seen)
        if evidence.most >= NEEDED:
            holds = (evidence.above if slo.higher_is_better else evidence.below) >= NEEDED
            return Found(holds, until_s)
    return Found(None, length_s)


def all_decided(text: str, runs: Sequence[Run], length_s: float = 60.0) -> tuple[int, int, float]:
    """In how many runs an SLO was found to hold, and not to, and the median of the seconds it took."""
    found = [decided(text, run, length_s) for run in runs]
    passed, failed = (sum(each.holds is holds for each in found) for holds in (True, False))
    return passed, failed, float(np.median([each.after_s for each in found]))
