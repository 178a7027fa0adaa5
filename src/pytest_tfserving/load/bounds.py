"""What the load generator's own trouble can have done to each figure of a result. Pure.

A generator that waits for a core sends late and reads late. How much of each latency that can be was measured
request by request (`lateness`). In a closed loop it also sends less: users that were kept waiting for the
share w of the time would have sent 1/(1 - w) times as many requests. As a bound w is taken twice, since a
user that is late begins its next pause late, too. A server that gets so many times the load answers at most
so many times as slowly: as many users as before wait for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.load.recorder import DROPPED
from pytest_tfserving.metrics import KEPT_PERCENTILES, Disturbance, Metric, percentile_key, percentile_of
from pytest_tfserving.slo import Doubt, Slo

if TYPE_CHECKING:
    from pytest_tfserving.load.result import Result

# Where results have the percentiles of latencies that were cleared of the generator's lateness.
CLEARED = "without_lateness"
# When the host takes more, neither side had the cores that it is said to have.
_MOST_STEAL = 0.1
# Latencies are late by the lag of the event loop: a tenth of the median is lost in it.
_LAG_SHARE = 0.1
# Requests that fail so may have been answered, and the answer read too late.
_MAYBE_LATE = ("no answer", "DEADLINE_EXCEEDED", DROPPED)
_SAFETY = 2.0

Factors = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What kept the load generator from its work, a sentence; for which share of the time; what helps.

    ``is_servers_too`` says whether it struck all cores of the machine.
    """

    cause: str
    share: float
    remedy: str
    is_servers_too: bool = False


def trouble(result: Result) -> Trouble | None:
    """Return what kept the load generator from its work for longer than its profile allows."""
    generator, profile = result.generator, result.profile
    allowed_ms = max(profile["max_lag_ms"], _LAG_SHARE * result.p50_ms)
    late_ms = max(generator.lag_p95_ms, result.arrivals.delay_p95_ms if result.arrivals else 0.0)
    missed = generator.wait + max(generator.steal, generator.stood)
    is_stolen = generator.steal > max(_MOST_STEAL, profile["max_cpu_wait"])
    if generator.wait > profile["max_cpu_wait"]:
        return Trouble(
            f"the load generator waited for a core {100 * generator.wait:.0f} % of the time ({_who(result)})",
            missed,
            "stop that, keep it off the generator's cores (taskset), or allow for it with max_cpu_wait of "
            f"load profile {profile['name']!r}, now {profile['max_cpu_wait']:g}",
            is_stolen,
        )
    if is_stolen:
        return Trouble(
            f"the machine's host took {100 * generator.steal:.0f} % of the load generator's cores",
            missed,
            "measure on a machine that has its cores to itself",
            is_servers_too=True,
        )
    if generator.stood > profile["max_cpu_wait"]:
        return Trouble(
            f"the load generator stood still {100 * generator.stood:.0f} % of the time",
            missed,
            "find out what stops it or its machine, or what its locustfile computes, or allow for it with "
            f"max_cpu_wait of load profile {profile['name']!r}, now {profile['max_cpu_wait']:g}",
        )
    if late_ms > allowed_ms:
        return Trouble(
            f"the load generator ran late, by {late_ms:.0f} ms (p95), more than {allowed_ms:.0f} ms",
            max(missed, late_ms / (late_ms + result.p50_ms)),
            "take fewer users, more load processes (--tfserving-load-processes), or allow for it with "
            f"max_lag_ms of load profile {profile['name']!r}",
        )
    return None


def _who(result: Result) -> str:
    taken_by = result.generator.taken_by
    unseen = "what ran there is not visible from here: another container, or the host"
    return taken_by[0] if taken_by else unseen


def doubt(result: Result, slo: Slo) -> Doubt | None:
    """Return between what values the figure of ``slo`` lies for all that is known, None without trouble."""
    found = trouble(result)
    low, value, high = result.metric_range(slo)
    if found is None or math.isnan(value):
        return None
    least, most = factors(result, slo.definition, found)
    if not slo.relative:
        low, high = _interval(result, slo) or (value, value)
    return Doubt(
        cause=found.cause,
        remedy=found.remedy,
        low=value if least == 1 else low * least,
        high=value if most == 1 else high * most,
        lowest=value * least,
        highest=value * most,
    )


def factors(result: Result, metric: Metric, found: Trouble) -> Factors:
    """Return how many times its value a figure may be, at least and at most, without the trouble found.

    A server whose host took its cores, too, may be better by any amount.
    """
    kept_waiting = _SAFETY * found.share
    more = 1 / (1 - kept_waiting) if kept_waiting < 1 else math.inf
    if result.profile.get("rate"):
        more = 1.0
    match metric.disturbance:
        case Disturbance.NONE:
            return 1.0, 1.0
        case Disturbance.LOWERS_RATE:
            return 1.0, math.inf if found.is_servers_too else more
        case Disturbance.ADDS_FAILURES:
            return 0.0 if found.is_servers_too else _surely_failed(result), 1.0
        case Disturbance.ADDS_LATENCY:
            return 0.0 if found.is_servers_too else _cleared(result, metric), more


def _surely_failed(result: Result) -> float:
    """Return which share of the failures no lateness can explain."""
    late = sum(count for cause, count in result.errors.items() if cause.startswith(_MAYBE_LATE))
    failed = sum(result.errors.values())
    return 1 - late / failed if late else 1.0


def _cleared(result: Result, metric: Metric) -> float:
    """Return which share of a latency no lateness can explain.

    Of a percentile that was not kept it is the least of its neighbours'.
    """
    cleared = result.alternatives.get(CLEARED, {})
    percentile = percentile_of(metric.name)
    if percentile is None:
        names = [metric.key]
    else:
        below = [each for each in KEPT_PERCENTILES if each <= percentile]
        above = [each for each in KEPT_PERCENTILES if each >= percentile]
        names = [percentile_key(each) for each in {*below[-1:], *above[:1]}]
    values = {**result.latencies.named_percentiles(), "mean_ms": result.mean_ms}
    found = [cleared[name] / values[name] for name in names if cleared.get(name) is not None and values[name]]
    return min(found, default=1.0)


def _interval(result: Result, slo: Slo) -> tuple[float, float] | None:
    name = slo.definition.key
    if name not in result.intervals:
        return None
    low, high = result.intervals[name]
    return low / slo.unit.factor, high / slo.unit.factor
