"""Construction of a result from the records and the reports of a run of load."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from pytest_tfserving.load.baseline import Baseline, Stretches
from pytest_tfserving.load.bounds import CLEARED
from pytest_tfserving.load.generator.good_requests import GoodRequests
from pytest_tfserving.load.generator.health import generator_state, limited_by_generator, unrecorded
from pytest_tfserving.load.generator.kind_statistics import KindStatistics
from pytest_tfserving.load.lateness import Lateness
from pytest_tfserving.load.littles_law import LittlesLaw
from pytest_tfserving.load.recorder import DROPPED, SUCCESS, record_blocks
from pytest_tfserving.load.result import CpuUse, Result, ScheduleAdherence, Window
from pytest_tfserving.load.shedding import Shedding
from pytest_tfserving.server_side.cpu import CpuHistory
from pytest_tfserving.slo.language import no_such_kind
from pytest_tfserving.statistics.intervals import ratio_interval
from pytest_tfserving.statistics.latencies import Collected, Latencies
from pytest_tfserving.statistics.span import PerSecondHistograms, SpanStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.experiments.load_shape import Stage
    from pytest_tfserving.load.generator.generator import LoadPlan
    from pytest_tfserving.load.generator.run_state import RunState
    from pytest_tfserving.load.kinds import KindFigures
    from pytest_tfserving.load.result import Figure, Percentiles, StageFigures
    from pytest_tfserving.load.run_record import RunRecord
    from pytest_tfserving.server_side.cpu import CpuCurve
    from pytest_tfserving.statistics.histogram import Histogram
    from pytest_tfserving.statistics.intervals import Interval

    Floats = NDArray[np.float64]

SHORTEST_WINDOW_S = 1.0
# Most slices of a run whose histograms a result keeps; slices are whole seconds.
MOST_SLICES = 60
_MS = 1_000


def outcome(  # noqa: PLR0913, PLR0917 - what a result is made of
    plan: LoadPlan,
    deployment: Deployment,
    run_state: RunState,
    records: Sequence[Path],
    started_at: str,
    cpu: CpuCurve | None = None,
) -> Result:
    """Return the result of a run that has ended.

    Args:
        plan: the plan of the run.
        deployment: the deployment that was loaded.
        run_state: the reports of the load processes, and the decisions made during the run.
        records: the files of records, one for each load process.
        started_at: the start of the run, in ISO 8601.
        cpu: the CPU time of the replicas; None if it was not read.
    """
    window = _window(plan, run_state)
    blocks = _blocks(cpu or CpuHistory().curve(0.0), window)
    seen = _Aggregates(plan, window, run_state, blocks.at_s)
    seen.read(records)
    used = _cpu_use(blocks, seen.successes_by_block, window, deployment)
    intervals, n_eff = _intervals(seen, blocks, used, run_state.monitor.noise_memory_s)
    result = Result(
        experiment=deployment.label,
        target=deployment.experiment.target,
        profile=plan.profile.as_fields(),
        started_at=started_at,
        window=window,
        latencies=seen.window.latencies,
        errors=_by_cause(seen.errors_from_window_on, run_state),
        users=plan.profile.users,
        run_s=run_state.ended_at_s,
        total_requests=seen.requests,
        total_errors=seen.errors.total(),
        generator=generator_state(run_state, window),
        cpu=used,
        baseline=Baseline.of(run_state.pulses),
        via=deployment.via,
        endpoints=[str(endpoint) for endpoint in deployment.loaded],
        intervals=intervals,
        n_eff=n_eff,
        good_requests=seen.good.count if seen.good else None,
        arrivals=_arrivals(plan, seen, run_state, window),
        configuration=deployment.configuration,
        environment=deployment.environment,
        incomplete=run_state.incomplete,
    )
    return _with_causes(_without_needless(_with_details(result, seen, run_state)), plan, run_state, seen)


def _blocks(cpu: CpuCurve, window: Window) -> CpuCurve:
    """Return the readings of the replicas' CPU that cut the window into blocks."""
    inside = cpu.within(window.start_s, window.end_s)
    return inside.blocks() if inside.is_enough else inside


def _intervals(
    seen: _Aggregates, blocks: CpuCurve, used: CpuUse, noise_memory_s: float
) -> tuple[dict[str, Interval], dict[str, float]]:
    """Return the 95 % intervals of the window's figures, and how many independent requests each rests on."""
    intervals, n_eff = seen.window.intervals()
    if not used.unknown and (interval := _cpu_interval(blocks, seen.successes_by_block, noise_memory_s)):
        intervals["cpu_per_request_ms"] = interval
    if seen.good and (interval := seen.good.interval()):
        intervals["goodput"], n_eff["goodput"] = interval, round(seen.good.n_eff(), 1)
    return intervals, n_eff


def _with_efficiency_interval(result: Result, stretches: Stretches, noise_memory_s: float) -> Result:
    """Return the result with the interval of its efficiency, if there is one."""
    interval = stretches.interval(result.efficiency, noise_memory_s)
    if interval is None:
        return result
    return replace(
        result,
        intervals={**result.intervals, "efficiency": interval},
        n_eff={**result.n_eff, "efficiency": result.n_eff.get("rps", 0.0)},
    )


def _cpu_interval(blocks: CpuCurve, successes: Floats, noise_memory_s: float) -> Interval | None:
    """Return the 95 % interval of the CPU ms per request."""
    used_ms = np.diff(blocks.cpu_s) * _MS
    return ratio_interval(used_ms, successes, float(np.diff(blocks.at_s).mean()), noise_memory_s)


class _Aggregates:
    """All figures that are computed from a run's records, whose blocks are read twice."""

    def __init__(self, plan: LoadPlan, window: Window, run_state: RunState, block_edges_s: Floats) -> None:
        memory_s, profile = run_state.monitor.noise_memory_s, plan.profile
        self._profile = profile
        self._block_edges_s = block_edges_s
        self.successes_by_block = np.zeros(max(len(block_edges_s) - 1, 0))
        self._window = window
        self.lateness = Lateness(run_state.late_rows)
        self.stretches = Stretches(run_state.pulses, window.start_s, window.end_s)
        self.cleared = Collected()
        self.window = SpanStatistics(window.start_s, window.end_s, memory_s)
        self.alternatives = {
            name: SpanStatistics(window.start_s, window.end_s, memory_s) for name in _alternatives(profile)
        }
        self.stages = [
            (stage, SpanStatistics(from_s, min(stage.end_s, run_state.loaded_until_s), memory_s))
            for stage, from_s in _loaded_stages(profile, run_state)
        ]
        limits = profile.expected.request_limits
        self.good = GoodRequests(limits, plan.kinds, window) if limits else None
        self._kinds = plan.kinds
        self.kinds = KindStatistics(plan.kinds, window, memory_s)
        self.seconds = PerSecondHistograms()
        self.littles_law = LittlesLaw(profile, window)
        self.shedding = Shedding(run_state.causes)
        self.requests = 0
        self.errors: Counter[int] = Counter()
        self.errors_from_window_on: Counter[int] = Counter()
        self.due: Counter[int] = Counter()
        self.delays_ms = Collected()

    def read(self, records: Sequence[Path]) -> None:
        """See all blocks of records, twice."""
        for block in record_blocks(records):
            self.add(block)
        self.close()
        for block in record_blocks(records):
            self.see_again(block)

    def add(self, records: Floats) -> None:
        """Add a block of records in the first pass."""
        finished_s = records[:, 0] + records[:, 1] / _MS
        latencies_ms, failed = records[:, 1] + records[:, 3], records[:, 2] != SUCCESS
        for part in self._judged:
            part.add(finished_s, latencies_ms, failed)
        for name, part in self.alternatives.items():
            part.add(*_from_elsewhere(name, self._profile, records[~failed]))
        if self.good:
            self.good.add(finished_s, latencies_ms, failed, self._kinds.of_records(records))
        self.kinds.add(records)
        self.seconds.add(finished_s, latencies_ms, failed)
        self.littles_law.add(records[:, 0], records[:, 1], failed)
        self.shedding.add(records[:, 1], records[:, 2])
        self.stretches.add(finished_s[~failed])
        if len(self.successes_by_block):
            self.successes_by_block += np.histogram(finished_s[~failed], self._block_edges_s)[0]
        self.requests += len(records)
        self.errors += _counts(records[failed, 2])
        self.errors_from_window_on += _counts(records[failed & (finished_s >= self._window.start_s), 2])
        due_s = records[:, 0] - records[:, 3] / _MS
        due = (due_s >= self._window.start_s) & (due_s <= self._window.end_s)
        self.due += _counts(records[due, 2])
        self.delays_ms.add(records[due, 3])

    def close(self) -> None:
        """End the first pass."""
        for part in self._parts:
            part.close()
        self.kinds.close()

    def see_again(self, records: Floats) -> None:
        """Add a block of records in the second pass."""
        finished_s = records[:, 0] + records[:, 1] / _MS
        latencies_ms, failed = records[:, 1] + records[:, 3], records[:, 2] != SUCCESS
        for part in self._judged:
            part.see_again(finished_s, latencies_ms, failed)
        for name, part in self.alternatives.items():
            part.see_again(*_from_elsewhere(name, self._profile, records[~failed]))
        self.kinds.see_again(records)
        if self.lateness:
            inside = (finished_s >= self._window.start_s) & (finished_s <= self._window.end_s) & ~failed
            self.cleared.add(self.lateness.cleared(records[inside, 0], records[inside, 1]))

    @property
    def _judged(self) -> list[SpanStatistics]:
        return [self.window, *(part for _, part in self.stages)]

    @property
    def _parts(self) -> list[SpanStatistics]:
        return [*self._judged, *self.alternatives.values()]


def _counts(outcomes: Floats) -> Counter[int]:
    values, counts = np.unique(outcomes.astype(int), return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _by_cause(outcomes: Counter[int], run_state: RunState) -> Counter[str]:
    counts: Counter[str] = Counter()
    for outcome, count in outcomes.items():
        counts[run_state.causes.get(outcome, "unknown")] += count
    return Counter(dict(counts.most_common()))


def _window(plan: LoadPlan, run_state: RunState) -> Window:
    """Return the steady part of the run, in which load is as requested; else the whole run."""
    start_s, until_s = run_state.monitor.start_s, run_state.loaded_until_s
    is_steady = not (
        math.isnan(run_state.settled_s) or plan.whole_run_counts or run_state.aborted or run_state.early_end
    )
    if is_steady and not (run_state.invalid and start_s >= until_s):
        return Window(start_s, until_s)
    return Window(0.0, until_s)


def _with_causes(result: Result, plan: LoadPlan, run_state: RunState, seen: _Aggregates) -> Result:
    all_errors = _by_cause(seen.errors, run_state)
    if run_state.aborted or run_state.early_end:
        return replace(result, aborted=run_state.aborted or _abort_text(result, plan, run_state, all_errors))
    if cause := run_state.invalid or unrecorded(run_state, seen.requests):
        return replace(result, invalid=cause)
    if plan.whole_run_counts or run_state.incomplete:
        return result
    if cause := _nothing_succeeded(result, all_errors) or _limit_of_no_kind(plan):
        return replace(result, aborted=cause)
    if math.isnan(run_state.settled_s) or result.window.length_s < SHORTEST_WINDOW_S:
        return replace(
            result,
            incomplete=f"no steady window: after {result.run_s:.0f} s the {result.load_text} "
            "had not all had a response; raise run_time_s (--tfserving-run-time)",
        )
    return replace(
        result, invalid=limited_by_generator(result) or _against_littles_law(result, plan, run_state, seen)
    )


def _nothing_succeeded(result: Result, all_errors: Counter[str]) -> str:
    """Return a sentence if all requests failed; empty if one succeeded, and without requests."""
    if not result.total_requests or result.total_errors < result.total_requests:
        return ""
    text = f"no request succeeded in {result.run_s:.1f} s: all {result.total_requests} failed"
    return f"{text} ({_most_frequent(all_errors)})"


def _limit_of_no_kind(plan: LoadPlan) -> str:
    """Return the limit on requests of a kind of which none came, as a sentence; empty if all came."""
    for kind in plan.profile.expected.request_limits.kinds:
        if not plan.kinds.has_come(kind):
            cause = no_such_kind(kind, plan.kinds.reported)
            return f"request_limits of load profile {plan.profile.name!r}: {cause}"
    return ""


def _against_littles_law(result: Result, plan: LoadPlan, run_state: RunState, seen: _Aggregates) -> str:
    """Return why requests and users of a closed loop do not fit; empty if they fit, or users vary."""
    profile = plan.profile
    if profile.is_open or run_state.own_users or not profile.has_plateau:
        return ""
    return seen.littles_law.contradiction(profile.users, result.generator, run_state.late_rows)


def _run_record(run_state: RunState, read: int) -> RunRecord:
    """Return the load requested and reached, with the counts of requests sent and recorded."""
    found = run_state.recorder.record(run_state.ended_at_s, run_state.watch.asked_at)
    if run_state.end is None:
        return replace(found, recorded=read)
    to_record, under_way = run_state.end["to_record"], run_state.end["under_way"]
    return replace(found, to_record=to_record, under_way=under_way, recorded=read)


def _with_details(result: Result, seen: _Aggregates, run_state: RunState) -> Result:
    """Return the result with its decisions, and its figures by stage, slice and second."""
    slice_s, slices = _slices(seen.seconds, run_state)
    return replace(
        _with_efficiency_interval(result, seen.stretches, run_state.monitor.noise_memory_s),
        decided=run_state.monitor.decisions,
        undecided=run_state.monitor.undecided(run_state.ended_at_s),
        parts=run_state.monitor.parts,
        evidence=run_state.monitor.evidence,
        alternatives=_all_alternatives(seen),
        stages=[_stage(*each) for each in seen.stages],
        kinds=_kinds(seen, run_state),
        slice_s=slice_s,
        slices=slices,
        series=_series(seen.seconds, run_state),
        tracebacks=tuple(run_state.tracebacks),
        run_record=_run_record(run_state, seen.requests),
        warnings=tuple(filter(None, [seen.shedding.found()])),
    )


def _kinds(seen: _Aggregates, run_state: RunState) -> dict[str, KindFigures]:
    """Return the figures of each kind of requests."""
    found = seen.kinds.figures(partial(_by_cause, run_state=run_state))
    if not seen.good:
        return found
    return {name: replace(each, good_requests=seen.good.of_kind(name)) for name, each in found.items()}


def _without_needless(result: Result) -> Result:
    """Return the result; without trouble of the load generator, drop the percentiles cleared of lateness."""
    if result.trouble:
        return result
    return replace(
        result, alternatives={name: found for name, found in result.alternatives.items() if name != CLEARED}
    )


def _abort_text(result: Result, plan: LoadPlan, run_state: RunState, all_errors: Counter[str]) -> str:
    causes = _most_frequent(all_errors)
    if run_state.early_end == "stalled":
        return f"no response came for {plan.stall_s:.0f} s; stopped after {result.run_s:.1f} s ({causes})"
    return (
        f"stopped after {result.run_s:.1f} s: {result.total_errors} of {result.total_requests} requests "
        f"failed, more than {100 * plan.profile.max_failure_ratio:g} %, the profile's max_failure_ratio "
        f"({causes})"
    )


def _most_frequent(errors: Counter[str]) -> str:
    return ", ".join(f"{count} x {cause}" for cause, count in errors.most_common(3))


def _arrivals(
    plan: LoadPlan, seen: _Aggregates, run_state: RunState, window: Window
) -> ScheduleAdherence | None:
    """Return how an open loop kept to its schedule for the requests due in the window; None if not open."""
    if not plan.profile.is_open or not window.length_s:
        return None
    due = sum(1 for at_s in plan.due_times() if window.start_s <= at_s < window.end_s)
    dropped = sum(
        count for cause, count in _by_cause(seen.due, run_state).items() if cause.startswith(DROPPED)
    )
    delays = seen.delays_ms.latencies()
    return ScheduleAdherence(
        due_rps=due / window.length_s,
        sent_rps=(seen.due.total() - dropped) / window.length_s,
        dropped=dropped,
        delay_p50_ms=delays.percentile_ms(50) if len(delays) else 0.0,
        delay_p95_ms=delays.percentile_ms(95) if len(delays) else 0.0,
        delay_max_ms=delays.max_ms if len(delays) else 0.0,
        delay_p99_ms=delays.percentile_ms(99) if len(delays) else 0.0,
    )


def _cpu_use(blocks: CpuCurve, successes: Floats, window: Window, deployment: Deployment) -> CpuUse:
    """Return the CPU time between the first and the last reading in the window, or why it is unknown."""
    if unknown := _cpu_unknown(blocks, window, deployment.experiment.target):
        return CpuUse(unknown=unknown)
    if not successes.sum():
        return CpuUse(unknown="no request succeeded between two readings of the server's CPU")
    used_s = float(blocks.cpu_s[-1] - blocks.cpu_s[0])
    return CpuUse(float(blocks.at_s[0]), float(blocks.at_s[-1]), used_s, int(successes.sum()))


def _cpu_unknown(blocks: CpuCurve, window: Window, target: str) -> str:
    if blocks.unseen:
        return f"the server's CPU cannot be seen: {blocks.unseen}"
    if blocks.began_anew:
        return "a replica was restarted in the window, and its CPU was counted from 0 again"
    if blocks.is_enough:
        return ""
    if target == "kubernetes":
        return f"the kubelet measures CPU every 10 to 20 s, and the window was {window.length_s:.0f} s"
    if target == "url":
        return "target url cannot see the server's CPU"
    return f"the server's CPU was not read twice in the window of {window.length_s:.1f} s"


def _alternatives(profile: LoadProfile) -> list[str]:
    """Return the names of the percentiles beside those that are judged; see `Result.alternatives`."""
    if profile.is_open:
        return ["from_send"]
    return ["corrected"] if profile.pace_s else []


def _from_elsewhere(
    name: str, profile: LoadProfile, records: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return when successes ended, their latencies counted as ``name`` says, and that none failed."""
    finished_s, latencies_ms = records[:, 0] + records[:, 1] / _MS, records[:, 1]
    if name == "corrected":
        missing = _missing(latencies_ms, profile.pace_s * _MS)
        finished_s = np.concatenate([finished_s, np.repeat(finished_s, missing)])
        latencies_ms = corrected(latencies_ms, profile.pace_s * _MS)
    return finished_s, latencies_ms, np.zeros(len(finished_s), bool)


def _percentiles(part: SpanStatistics) -> dict[str, Figure]:
    """Return percentiles of a part, with their intervals and effective sizes."""
    if not len(part.latencies):
        return {}
    intervals, n_eff = part.intervals()
    found = part.latencies.named_percentiles()
    return {
        **found,
        "intervals": {name: interval for name, interval in intervals.items() if name in found},
        "n_eff": {name: value for name, value in n_eff.items() if name in found},
    }


def _all_alternatives(seen: _Aggregates) -> dict[str, dict[str, Figure]]:
    """Return all percentiles that stand beside those that are judged."""
    found = {name: _percentiles(part) for name, part in seen.alternatives.items()}
    return found | ({CLEARED: _plain(seen.cleared.latencies())} if seen.lateness else {})


def _plain(latencies: Latencies) -> dict[str, Figure]:
    """Return percentiles and mean without intervals."""
    if not len(latencies):
        return {}
    return {**latencies.named_percentiles(), "mean_ms": latencies.mean_ms, "intervals": {}, "n_eff": {}}


def _loaded_stages(profile: LoadProfile, run_state: RunState) -> list[tuple[Stage, float]]:
    """Return the stages whose level was reached, and the second it was reached; none of a single stage."""
    if len(profile.stages) == 1:
        return []
    found = [(stage, run_state.watch.reached_s(stage)) for stage in profile.stages]
    return [(stage, from_s) for stage, from_s in found if from_s < min(stage.end_s, run_state.loaded_until_s)]


def _stage(stage: Stage, part: SpanStatistics) -> StageFigures:
    """Return the figures of one stage."""
    intervals, n_eff = part.intervals()
    percentiles = part.latencies.named_percentiles() if len(part.latencies) else {}
    rounded = {name: round(value, 3) for name, value in percentiles.items()}
    return {
        "start_s": stage.start_s,
        "loaded_from_s": part.start_s,
        "end_s": part.end_s,
        "level": stage.last,
        "requests": part.requests,
        "errors": part.failures,
        "rps": len(part.latencies) / (part.end_s - part.start_s),
        **cast("Percentiles", rounded),
        "intervals": intervals,
        "n_eff": n_eff,
    }


def corrected(latencies_ms: Floats, pace_ms: float) -> Floats:
    """Return latencies, and those of the requests that slow responses kept from being sent at their pace.

    If a user waits for longer than its pace, the requests that it should have sent in that time would have
    waited too, each by one pace less (HdrHistogram, copyCorrectedForCoordinatedOmission).
    """
    missing = _missing(latencies_ms, pace_ms)
    steps = np.arange(missing.sum()) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    return np.concatenate([latencies_ms, np.repeat(latencies_ms, missing) - steps * pace_ms])


def _missing(latencies_ms: Floats, pace_ms: float) -> NDArray[np.int64]:
    """Return how many requests each slow response kept from being sent."""
    return np.maximum(np.ceil(latencies_ms / pace_ms).astype(np.int64) - 1, 0)


def _series(seconds: PerSecondHistograms, run_state: RunState) -> list[dict[str, float]]:
    """Return a row for each second: users, and successes, errors, median and p95 of requests that ended."""
    series = []
    for second in range(int(run_state.ticks[-1]["at_s"]) + 1 if run_state.ticks else 0):
        found = seconds.histogram(second, second + 1)
        row: dict[str, float] = {
            "at_s": second,
            "users": run_state.recorder.users(second),
            "successes": len(found),
        }
        row["errors"] = seconds.errors(second)
        if len(found):
            row["p50_ms"] = round(found.percentile_ms(50), 3)
            row["p95_ms"] = round(found.percentile_ms(95), 3)
        series.append(row)
    return series


def _slices(seconds: PerSecondHistograms, run_state: RunState) -> tuple[int, list[Histogram]]:
    """Return the seconds in a slice, and a histogram of the successes in each slice of the run."""
    length_s = int(run_state.ended_at_s) + 1
    slice_s = -(-length_s // MOST_SLICES)
    return slice_s, [seconds.histogram(at, at + slice_s) for at in range(0, length_s, slice_s)]
