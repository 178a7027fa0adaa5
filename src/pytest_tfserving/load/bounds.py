"""Bounds on the effect of the load generator's own trouble on each figure of a result. No I/O.

A generator that waits for a core sends late and reads late. The share of this lateness in each latency is
measured for each request (`lateness`). In a closed loop the generator also sends less: users that were kept
waiting for the share w of the time would have sent 1/(1 - w) times as many requests. The bound uses twice w,
since a late user begins its next pause late, too. Under n times the load, a server responds at most n times
as slowly, because the same number of users wait for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.load.recorder import DROPPED
from pytest_tfserving.slo.language import Doubt, Slo
from pytest_tfserving.slo.metrics import Disturbance, Metric, percentile_of
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES, percentile_key

if TYPE_CHECKING:
    from pytest_tfserving.load.result import Result

# Key in a result's `alternatives` for percentiles of latencies without the generator's lateness.
CLEARED = "without_lateness"
# If the host takes a larger share of the cores, neither side had the cores it was given.
_MOST_STEAL = 0.1
# A generator that uses more of a core has too little room for others.
_BUSY_CPU = 0.5
# A lag of the event loop up to this share of the median latency does no harm.
_LAG_SHARE = 0.1
# Failures that lateness can explain: the response may have come in time, and been read too late.
_MAYBE_LATE = ("no response", "DEADLINE_EXCEEDED", DROPPED)
_SAFETY = 2.0

Factors = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Trouble:
    """The load generator's trouble: what kept it from its work.

    Attributes:
        cause: a sentence.
        share: the fraction of the time that was lost.
        remedy: a phrase that says what helps.
        is_servers_too: the trouble struck all cores of the machine, the server's too.
    """

    cause: str
    share: float
    remedy: str
    is_servers_too: bool = False


def trouble(result: Result) -> Trouble | None:
    """Return what kept the load generator from its work for longer than the profile allows, or None."""
    generator, profile = result.generator, result.profile
    allowed_ms = max(profile["max_lag_ms"], _LAG_SHARE * result.p50_ms)
    late_ms = max(generator.lag_p95_ms, result.arrivals.delay_p95_ms if result.arrivals else 0.0)
    missed = generator.wait + max(generator.steal, generator.stood)
    is_stolen = generator.steal > max(_MOST_STEAL, profile["max_cpu_wait"])
    if generator.wait > profile["max_cpu_wait"]:
        return Trouble(
            f"the load generator waited for a core {100 * generator.wait:.0f} % of the time ({_who(result)})",
            missed,
            f"{_most_helpful(result)}, or {_allowing_wait(result, generator.wait)}",
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
            "find out what stops it or its machine, or what its locustfile computes, or "
            f"{_allowing_wait(result, generator.stood)}",
        )
    if late_ms > allowed_ms:
        return Trouble(
            f"the load generator ran late, by {late_ms:.0f} ms (p95), more than {allowed_ms:.0f} ms",
            max(missed, late_ms / (late_ms + result.p50_ms)),
            f"{less_load(result)}, take more load processes (--tfserving-load-processes), or allow for it "
            f"with --tfserving-max-lag-ms={10 * math.ceil(late_ms / 10)} (max_lag_ms of load profile "
            f"{profile['name']!r} is {profile['max_lag_ms']:g})",
        )
    return None


def _most_helpful(result: Result) -> str:
    """Return what helps against a wait for a core, the remedy that helps most first."""
    stop_it = "stop that or keep it off the generator's cores (taskset)"
    order = [less_load(result), stop_it] if result.generator.cpu > _BUSY_CPU else [stop_it, less_load(result)]
    return ", ".join(order)


def less_load(result: Result) -> str:
    """Return how a run is given less load, with the option."""
    if result.profile.get("rate"):
        return "send fewer requests a second (--tfserving-rate)"
    return "take fewer users (--tfserving-users)"


def _allowing_wait(result: Result, share: float) -> str:
    per_cent = min(5 * math.ceil(20 * share + 1e-9), 100)
    return (
        f"allow for it with --tfserving-max-cpu-wait={per_cent}% (max_cpu_wait of load profile "
        f"{result.profile['name']!r} is {result.profile['max_cpu_wait']:g})"
    )


def _who(result: Result) -> str:
    taken_by = result.generator.taken_by
    unseen = "what ran there is not visible from here: another container, or the host"
    return taken_by[0] if taken_by else unseen


def doubt(result: Result, slo: Slo) -> Doubt | None:
    """Return the bounds of the figure of ``slo`` under the generator's trouble, None without trouble."""
    found = trouble(result)
    low, value, high = result.metric_range(slo)
    if due := _too_few_due(result, slo, value):
        return due
    if found is None or math.isnan(value):
        return None
    least, most = factors(result.of_slo(slo), slo.definition, found)
    if slo.kind and slo.definition.disturbance is Disturbance.ADDS_LATENCY:
        # The lateness in the latencies of one kind is not known.
        least = 0.0
    if not (slo.relative or slo.judges_parts):
        low, high = _interval(result, slo) or (value, value)
    return Doubt(
        cause=found.cause,
        remedy=found.remedy,
        low=value if least == 1 else low * least,
        high=value if most == 1 else high * most,
        lowest=value * least,
        highest=value * most,
    )


def _too_few_due(result: Result, slo: Slo, value: float) -> Doubt | None:
    """Return the doubt that the schedule of an open loop, and not its server, kept a rate below the limit."""
    arrivals = result.arrivals
    if arrivals is None or slo.holds(arrivals.due_rps) or slo.holds(value) or not result.is_exact(slo):
        return None
    rate = f"the rate of load profile {result.profile['name']!r}, now {result.profile['rate']:g}"
    return Doubt(
        cause=f"only {arrivals.due_rps:.4g} requests a second were due",
        remedy=f"raise {rate}, clearly above the limit",
        low=value,
        high=math.inf,
        lowest=value,
        highest=math.inf,
    )


def factors(result: Result, metric: Metric, found: Trouble) -> Factors:
    """Return the least and the most by which a figure would be multiplied without the trouble ``found``.

    If the host took the server's cores too, the server may be better by any amount.
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
        case Disturbance.SPOILS_REQUESTS:
            value = metric.read(result)
            return 1.0, 1 / value if value > 0 else math.inf
        case Disturbance.DELAYS_RECOVERY:
            return 0.0, more
        case Disturbance.ADDS_LATENCY:
            return 0.0 if found.is_servers_too else _cleared(result, metric), more


def _surely_failed(result: Result) -> float:
    """Return the share of failures that lateness cannot explain."""
    late = sum(count for cause, count in result.errors.items() if cause.startswith(_MAYBE_LATE))
    failed = sum(result.errors.values())
    return 1 - late / failed if late else 1.0


def _cleared(result: Result, metric: Metric) -> float:
    """Return the share of a latency that lateness cannot explain.

    For a percentile that was not kept, this is the lower share of its two neighbours.
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
    found = [
        figure / values[name]
        for name in names
        if isinstance(figure := cleared.get(name), int | float) and values[name]
    ]
    return min(found, default=1.0)


def _interval(result: Result, slo: Slo) -> tuple[float, float] | None:
    name = slo.definition.key
    intervals = result.of_slo(slo).intervals
    if name not in intervals:
        return None
    low, high = intervals[name]
    return low / slo.unit.factor, high / slo.unit.factor
