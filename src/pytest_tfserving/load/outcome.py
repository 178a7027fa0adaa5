"""Builds a result from what a run of load recorded and said."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pytest_tfserving.load.arrivals import arrivals
from pytest_tfserving.load.honesty import generator_state, limited_by_generator
from pytest_tfserving.load.recorder import DROPPED, SUCCESS
from pytest_tfserving.load.result import (
    SCHEMA_PERCENTILES,
    Arrivals,
    Result,
    Window,
    named_percentiles,
    nearest_rank,
    percentile_name,
)
from pytest_tfserving.statistics.dependence import inefficiency
from pytest_tfserving.statistics.intervals import (
    mean_interval,
    percentile_intervals,
    rate_interval,
    share_interval,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.load.child import Plan
    from pytest_tfserving.load.profile import LoadProfile
    from pytest_tfserving.load.shape import Stage
    from pytest_tfserving.load.story import Story
    from pytest_tfserving.statistics.intervals import Interval
    from pytest_tfserving.targets.deployment import Deployment

SHORTEST_WINDOW_S = 1.0
_MS = 1_000


def outcome(
    plan: Plan, deployment: Deployment, story: Story, records: NDArray[np.float64], started_at: str
) -> Result:
    """The result of a run that has ended, from what its child said and recorded."""
    import numpy as np

    window = _window(plan, story)
    finished_s = records[:, 0] + records[:, 1] / _MS
    series = _series(records, finished_s, story)
    inside = (finished_s >= window.start_s) & (finished_s <= window.end_s)
    failed = records[:, 2] != SUCCESS
    took_ms = records[:, 1] + records[:, 3]
    latencies_ms = np.sort(took_ms[inside & ~failed])
    order = np.argsort(finished_s[inside], kind="stable")
    good = ~failed[inside][order]
    intervals, effective = _intervals(
        finished_s[inside][order][good], took_ms[inside][order][good], ~good, window
    )
    result = Result(
        experiment=deployment.label,
        target=deployment.experiment.target,
        profile=asdict(plan.profile),
        started_at=started_at,
        window=window,
        latencies_ms=latencies_ms,
        errors=_by_cause(records[failed & (finished_s >= window.start_s), 2], story),
        users=plan.profile.users,
        run_s=story.ended_at_s,
        total_requests=len(records),
        total_errors=int(failed.sum()),
        generator=generator_state(story, window),
        reached=deployment.reached,
        endpoints=[str(endpoint) for endpoint in deployment.loaded],
        intervals=intervals,
        effective=effective,
        decided=story.decider.decisions,
        undecided=story.decider.undecided(story.ended_at_s),
        arrivals=_arrivals(plan, story, records, window),
        beside=_beside(plan.profile, records[inside & ~failed]),
        stages=_stages(plan.profile, records, finished_s, story.ended_at_s),
        configuration=deployment.configuration,
        series=series,
        circumstances=deployment.circumstances,
        incomplete=story.incomplete,
    )
    return _with_causes(result, plan, story, _by_cause(records[failed, 2], story))


def _intervals(
    finished_s: NDArray[np.float64],
    latencies_ms: NDArray[np.float64],
    failed: NDArray[np.bool_],
    window: Window,
) -> tuple[dict[str, Interval], dict[str, float]]:
    """The interval of each figure, and as how many independent requests those rest on.

    Args:
        finished_s: when each success ended.
        latencies_ms: of successes, as they ended.
        failed: whether each request failed, as they ended.
        window: the time that counts.
    """
    import numpy as np

    ordered = np.sort(latencies_ms)
    percentiles = percentile_intervals(latencies_ms, ordered, SCHEMA_PERCENTILES)
    found = {percentile_name(percentile): interval for percentile, interval in percentiles.items()}
    effective = {
        percentile_name(percentile): _effective(latencies_ms <= _at(ordered, percentile))
        for percentile in percentiles
    }
    if rate := rate_interval(finished_s, window.start_s, window.end_s):
        found["rps"], effective["rps"] = rate, _effective_rate(finished_s, window)
    if mean := mean_interval(latencies_ms):
        found["mean_ms"], effective["mean_ms"] = mean, _effective(latencies_ms)
    if len(failed):
        effective["error_rate"] = _effective(failed)
        errors = share_interval(int(failed.sum()), effective["error_rate"], len(failed))
        found |= {"error_rate": errors} if errors else {}
    return found, {name: round(value, 1) for name, value in effective.items()}


def _at(ordered: NDArray[np.float64], percentile: float) -> float:
    return float(ordered[math.ceil(round(percentile / 100 * len(ordered), 9)) - 1])


def _effective(values: NDArray[Any]) -> float:
    return len(values) / float(inefficiency(values.astype(float))[0])


def _effective_rate(finished_s: NDArray[np.float64], window: Window) -> float:
    """How many independent requests scatter as much as these: n over the dispersion of counts in slices."""
    import numpy as np

    slices = max(len(finished_s) // 5, 1)
    counts, _ = np.histogram(finished_s, bins=slices, range=(window.start_s, window.end_s))
    dispersion = counts.var() / counts.mean() * float(inefficiency(counts.astype(float))[0])
    return len(finished_s) / max(float(dispersion), 1.0)


def _by_cause(outcomes: NDArray[np.float64], story: Story) -> Counter[str]:
    counts = Counter(story.causes.get(int(outcome), "unknown") for outcome in outcomes)
    return Counter(dict(counts.most_common()))


def _window(plan: Plan, story: Story) -> Window:
    """From when load is steady, every user running and answered, to the end; else the whole run."""
    if story.settled and not plan.whole_run_counts and not story.aborted and not story.early_end:
        return Window(story.decider.start_s, story.ended_at_s)
    return Window(0.0, story.ended_at_s)


def _with_causes(result: Result, plan: Plan, story: Story, all_errors: Counter[str]) -> Result:
    if story.aborted:
        return replace(result, aborted=story.aborted)
    if story.early_end:
        return replace(result, aborted=_abort_text(result, plan, story, all_errors))
    if story.invalid:
        return replace(result, invalid=story.invalid)
    if plan.whole_run_counts or story.incomplete:
        return result
    if not story.settled or result.window.length_s < SHORTEST_WINDOW_S:
        return replace(
            result,
            incomplete=f"no steady window: after {result.run_s:.0f} s the {result.load_text} "
            "had not all had an answer; raise the run time",
        )
    return replace(result, invalid=limited_by_generator(result))


def _abort_text(result: Result, plan: Plan, story: Story, all_errors: Counter[str]) -> str:
    causes = ", ".join(f"{count} x {cause}" for cause, count in all_errors.most_common(3))
    if story.early_end == "stalled":
        return f"no answer came for {plan.stall_s:.0f} s; stopped after {result.run_s:.1f} s ({causes})"
    return (
        f"stopped after {result.run_s:.1f} s: {result.total_errors} of {result.total_requests} requests "
        f"failed, more than {100 * plan.profile.max_failure_ratio:g} % ({causes})"
    )


def _arrivals(plan: Plan, story: Story, records: NDArray[np.float64], window: Window) -> Arrivals | None:
    """How an open loop kept to its schedule in the window: requests count by when they were due."""
    import numpy as np

    profile = plan.profile
    if not profile.is_open or not window.length_s:
        return None
    due_s = records[:, 0] - records[:, 3] / _MS
    inside = (due_s >= window.start_s) & (due_s <= window.end_s)
    schedule = list(arrivals(profile.stages, profile.arrivals, profile.seed))
    due = np.searchsorted(schedule, [window.start_s, window.end_s])
    delays_ms = np.sort(records[inside, 3]) if inside.any() else np.zeros(1)
    dropped = sum(count for cause, count in _by_cause(records[inside, 2], story).items() if _is_drop(cause))
    return Arrivals(
        due_rps=float(due[1] - due[0]) / window.length_s,
        sent_rps=(int(inside.sum()) - dropped) / window.length_s,
        dropped=dropped,
        delay_p50_ms=nearest_rank(delays_ms, 50),
        delay_p95_ms=nearest_rank(delays_ms, 95),
        delay_max_ms=float(delays_ms[-1]),
    )


def _is_drop(cause: str) -> bool:
    return cause.startswith(DROPPED)


def _beside(profile: LoadProfile, records: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """The percentiles that stand beside those that are judged, by what they are from; see `Result`."""
    import numpy as np

    if profile.is_open:
        return {"from_send": named_percentiles(np.sort(records[:, 1]))}
    if profile.pace_s:
        return {"corrected": named_percentiles(np.sort(corrected(records[:, 1], profile.pace_s * _MS)))}
    return {}


def _stages(
    profile: LoadProfile, records: NDArray[np.float64], finished_s: NDArray[np.float64], ended_at_s: float
) -> list[dict[str, float]]:
    """The figures of each stage that load came to, where there are several; see `Result`."""
    stages = [stage for stage in profile.stages if stage.start_s < ended_at_s]
    return (
        [_stage(each, records, finished_s, ended_at_s) for each in stages] if len(profile.stages) > 1 else []
    )


def _stage(
    stage: Stage, records: NDArray[np.float64], finished_s: NDArray[np.float64], ended_at_s: float
) -> dict[str, float]:
    import numpy as np

    end_s = min(stage.end_s, ended_at_s)
    part = records[(finished_s >= stage.start_s) & (finished_s < end_s)]
    good = np.sort((part[:, 1] + part[:, 3])[part[:, 2] == SUCCESS])
    row = {"start_s": stage.start_s, "end_s": end_s, "level": stage.last, "requests": len(part)}
    row |= {"rps": len(good) / (end_s - stage.start_s), "errors": len(part) - len(good)}
    return row | (
        {name: round(value, 3) for name, value in named_percentiles(good).items()} if len(good) else {}
    )


def corrected(latencies_ms: NDArray[np.float64], pace_ms: float) -> NDArray[np.float64]:
    """Latencies and those of the requests that a slow answer kept from being sent at their pace.

    While a user waits for longer than its pace, the requests it should have sent meanwhile would have waited
    too, each a pace less (HdrHistogram, copyCorrectedForCoordinatedOmission).
    """
    import numpy as np

    missing = np.maximum(np.ceil(latencies_ms / pace_ms).astype(np.int64) - 1, 0)
    steps = np.arange(missing.sum()) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    return np.concatenate([latencies_ms, np.repeat(latencies_ms, missing) - steps * pace_ms])


def _series(
    records: NDArray[np.float64], finished_s: NDArray[np.float64], story: Story
) -> list[dict[str, float]]:
    """Second by second: successes, errors, median and p95 of the requests that ended in it, users."""
    import numpy as np

    users = {int(tick["at_s"]): tick["users"] for tick in story.ticks}
    seconds = finished_s.astype(np.int32)
    order = np.argsort(seconds, kind="stable")
    edges = np.searchsorted(seconds[order], range(max(users, default=-1) + 2))
    series = []
    for second in range(len(edges) - 1):
        part = records[order[edges[second] : edges[second + 1]]]
        good = np.sort((part[:, 1] + part[:, 3])[part[:, 2] == SUCCESS])
        row = {"at_s": second, "users": users.get(second, 0), "successes": len(good)}
        row["errors"] = len(part) - len(good)
        if len(good):
            row["p50_ms"] = round(float(good[(len(good) - 1) // 2]), 3)
            row["p95_ms"] = round(float(good[math.ceil(0.95 * len(good)) - 1]), 3)
        series.append(row)
    return series
