"""Results: the figures of one run of load, from exact latencies; percentiles are observed values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.load.bounds import doubt, trouble
from pytest_tfserving.server_side.observed import findings
from pytest_tfserving.slo.language import (
    Decision,
    Doubt,
    Judgement,
    Slo,
    Undecided,
    Verdict,
    no_such_kind,
)
from pytest_tfserving.slo.metrics import Source, metric_of
from pytest_tfserving.slo.span_figure import worst_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.experiments.load_profile import ProfileFields
    from pytest_tfserving.load.baseline import Baseline
    from pytest_tfserving.load.kinds import KindFigures
    from pytest_tfserving.load.run_record import RunRecord
    from pytest_tfserving.load.server_comparison import ServerComparison
    from pytest_tfserving.server_side.observed import ServerSide
    from pytest_tfserving.slo.evidence_path import EvidencePath
    from pytest_tfserving.slo.metrics import Metric
    from pytest_tfserving.slo.span_figure import SpanFigure
    from pytest_tfserving.statistics.histogram import Histogram
    from pytest_tfserving.statistics.latencies import Latencies
    from pytest_tfserving.text.json_value import JsonValue

    OnCheck = Callable[["Result", list[Judgement], tuple[str, ...]], None]

# A server that answers this share of the requests that are due keeps up with them.
_KEPT_UP = 0.98
# A figure of a part of a run: a percentile, or the intervals or the effective sizes of all percentiles.
Figure: TypeAlias = "float | Mapping[str, float] | Mapping[str, Sequence[float]] | None"


class Percentiles(TypedDict, total=False):
    """The percentiles that are kept; none without a success."""

    p50_ms: float
    p75_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    p99_9_ms: float


class StageFigures(Percentiles):
    """Figures of a part of a run with its own level of load.

    The part begins at ``start_s``, and had its level from ``loaded_from_s``; figures count from then on.
    """

    start_s: float
    loaded_from_s: float
    end_s: float
    level: float
    requests: int
    errors: int
    rps: float
    intervals: Mapping[str, Sequence[float]]
    n_eff: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the run that figures are computed from, without the ramp; in seconds of the run."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Length of the window in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Generator:
    """State of the load generator in the window; of several processes, the worst of each figure.

    Attributes:
        cpu: the CPU time used, as a fraction of one core; NaN if no process lived long enough.
        lag_p95_ms: the 95th percentile of the event loop's lag, in ms; NaN like ``cpu``.
        wait: the fraction of the time that the process waited for a core.
        steal: the fraction of its cores' time that the machine's host took.
        processes: the number of load processes.
        stood: the fraction of the time that processes stood still for another cause, as a signal; a mean of
            all processes.
        taken_by: a phrase for each other process that used the generator's cores while the generator waited
            for one.
    """

    cpu: float
    lag_p95_ms: float
    wait: float = 0.0
    steal: float = 0.0
    processes: int = 1
    stood: float = 0.0
    taken_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CpuUse:
    """CPU time of all replicas in the window, and the successes in the same time.

    Attributes:
        start_s: when the CPU time was first read in the window, in seconds of the run.
        end_s: when the CPU time was last read in the window.
        used_s: CPU seconds that all replicas used from ``start_s`` to ``end_s``.
        successes: the number of successful requests that ended from ``start_s`` to ``end_s``.
        unknown: a sentence that says why the CPU time is not known; empty if it is.
    """

    start_s: float = 0.0
    end_s: float = 0.0
    used_s: float = 0.0
    successes: int = 0
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleAdherence:
    """Adherence of an open loop to its schedule, for the requests that were due in the window.

    Attributes:
        due_rps: requests due, a second.
        sent_rps: requests sent, a second.
        dropped: the number of requests that were not sent, because too many were under way.
        delay_p50_ms: the median delay from when a request was due until it was sent, in ms.
        delay_p95_ms: the 95th percentile of this delay, in ms.
        delay_max_ms: the longest delay, in ms.
        delay_p99_ms: the 99th percentile of this delay, in ms; NaN if unknown.
    """

    due_rps: float
    sent_rps: float
    dropped: int
    delay_p50_ms: float
    delay_p95_ms: float
    delay_max_ms: float
    delay_p99_ms: float = math.nan

    def is_kept_by(self, rps: float) -> bool:
        """Return whether a server with so many successes a second kept up with the schedule."""
        return rps >= _KEPT_UP * self.due_rps


@dataclass(frozen=True, repr=False)
class Result:
    """Result of one run of load on one deployment.

    Latencies are in ms. They count from when a request was sent; in an open loop, from when it was due.

    Attributes:
        experiment: the label of the deployment, see `Deployment.label`.
        target: the name of the target, as ``local``.
        profile: the fields of the load profile, by name.
        started_at: the start of the load, in ISO 8601 and UTC.
        window: the part of the run that figures are computed from.
        latencies: latencies of the successful requests that ended in the window.
        errors: the number of failed requests that ended from the window's start on, by cause.
        users: the number of users of a closed loop; 0 in an open loop.
        run_s: the duration of the load in seconds.
        total_requests: the number of requests in the whole run.
        total_errors: the number of failed requests in the whole run.
        generator: the state of the load generator in the window.
        via: the way from the load generator to the replicas, in words.
        endpoints: the addresses that were loaded, one for each replica, or one for all.
        baseline: the baseline's pulses in the whole run; None if the baseline was not measured.
        aborted: a sentence that says why the run failed; empty if it did not.
        invalid: a sentence that says why the load generator's figures cannot be believed; empty if they can.
        incomplete: a sentence that says why the run ended too early to judge; empty if it did not.
        not_judged: a sentence that says why nothing can be judged; empty if something can.
        server: resources and metrics of the replicas during the run; None if nothing was seen.
        cpu: the CPU time of the replicas, and the successes in the same time.
        arrivals: the adherence of an open loop to its schedule; None in a closed loop.
        alternatives: further percentiles that are not judged, by name. ``from_send`` (open loop): counted
            from when requests were sent. ``corrected`` (with a pace): with the requests that slow responses
            kept from being sent. ``without_lateness``: without the load generator's own lateness.
        stages: the figures of each part of the run, if the level of load changes; requests that were under
            way when a part began are in it. Empty without such parts.
        kinds: the figures of each kind of requests, by its name; empty if all requests are of one kind.
        intervals: the lower and the upper end of the 95 % confidence intervals, by metric, as ``p95_ms``.
        n_eff: the number of independent requests that each interval rests on, by metric.
        decided: what was proved while load ran, by the text of the SLO.
        undecided: what was not proved while load ran, by the text of the SLO.
        good_requests: the number of successful requests in the window that took no longer than their limit;
            None if the profile has no limits on single requests.
        parts: the figures of the parts of the run that an SLO judges one by one, by the text of the SLO: of
            windows, and the recovery from each fall of the load.
        evidence: the evidence at each look of the sequential tests, by the text of the SLO.
        noise_memory_s: the longest time in seconds over which the machine's speed is correlated, by
            assumption; None if nothing was measured.
        configuration: the experiment's configuration; empty if the target did not deploy it.
        origin: where the experiment comes from, as its file. Not a part of its name.
        identity: what was served and what was sent. It tells results with the same name apart.
        slice_s: the length of a slice, in whole seconds.
        slices: a histogram of the successes of each slice, over the whole run.
        series: a row for each second of the run: users, successes, errors, percentiles, the server's CPU.
        run_record: the load requested and the load reached, step by step; None if it was not recorded.
        warnings: sentences on what else the figures rest on, as a server that sheds load.
        environment: machine, versions, commit, cores and how the server ran.
        tracebacks: the first traceback of each kind of exception in a locustfile.
        comparison: the comparison with a baseline server; None without one.
        slos: the SLOs that `check` judges.
        on_check: called by `check` with the result, the judgements and the metrics; None outside of a test.
    """

    experiment: str
    target: str
    profile: ProfileFields
    started_at: str
    window: Window
    latencies: Latencies
    errors: Mapping[str, int]
    users: int
    run_s: float
    total_requests: int
    total_errors: int
    generator: Generator
    via: str
    endpoints: Sequence[str]
    baseline: Baseline | None = None
    aborted: str = ""
    invalid: str = ""
    incomplete: str = ""
    not_judged: str = ""
    server: ServerSide | None = None
    cpu: CpuUse = CpuUse(unknown="the server's CPU was not read")
    arrivals: ScheduleAdherence | None = None
    alternatives: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    stages: Sequence[StageFigures] = ()
    kinds: Mapping[str, KindFigures] = field(default_factory=dict)
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    n_eff: Mapping[str, float] = field(default_factory=dict)
    decided: Mapping[str, Decision] = field(default_factory=dict)
    undecided: Mapping[str, Undecided] = field(default_factory=dict)
    good_requests: int | None = None
    parts: Mapping[str, Sequence[SpanFigure]] = field(default_factory=dict)
    evidence: Mapping[str, EvidencePath] = field(default_factory=dict)
    noise_memory_s: float | None = None
    configuration: Mapping[str, JsonValue] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, object] = field(default_factory=dict)
    slice_s: int = 1
    slices: Sequence[Histogram] = ()
    series: Sequence[Mapping[str, float]] = ()
    run_record: RunRecord | None = None
    warnings: Sequence[str] = ()
    environment: Mapping[str, object] = field(default_factory=dict)
    tracebacks: Sequence[str] = field(default=(), compare=False)
    comparison: ServerComparison | None = None
    slos: tuple[Slo, ...] = field(default=(), compare=False)
    on_check: OnCheck | None = field(default=None, compare=False)

    @property
    def is_measured(self) -> bool:
        """True if the figures are a measurement of the server under the whole load requested."""
        spoilt = self.aborted or self.invalid or self.incomplete or self.not_judged
        return bool(self.successes) and not spoilt

    @property
    def load_text(self) -> str:
        """Level of load in words."""
        return (
            f"{self.profile['rate']:g} requests a second due"
            if self.profile.get("rate")
            else f"{self.users} users"
        )

    @property
    def latencies_ms(self) -> NDArray[np.float64]:
        """Latencies in ms of the successes in the window, sorted, shape ``(n,)``; see `Latencies`."""
        return self.latencies.values_ms

    @property
    def successes(self) -> int:
        """Number of successful requests in the window."""
        return len(self.latencies)

    @property
    def requests(self) -> int:
        """Number of requests that ended in the window."""
        return self.successes + sum(self.errors.values())

    @property
    def rps(self) -> float:
        """Successful responses a second in the window; 0 if the window is empty."""
        return self.successes / self.window.length_s if self.window.length_s > 0 else 0.0

    @property
    def error_rate(self) -> float:
        """Failed requests as a fraction of all requests in the window; 1 if there were no requests."""
        return sum(self.errors.values()) / self.requests if self.requests else 1.0

    @property
    def p50_ms(self) -> float:
        """Median latency in ms."""
        return self.percentile_ms(50)

    @property
    def p90_ms(self) -> float:
        """90th percentile of the latency in ms."""
        return self.percentile_ms(90)

    @property
    def p95_ms(self) -> float:
        """95th percentile of the latency in ms."""
        return self.percentile_ms(95)

    @property
    def p99_ms(self) -> float:
        """99th percentile of the latency in ms."""
        return self.percentile_ms(99)

    @property
    def p99_9_ms(self) -> float:
        """99.9th percentile of the latency in ms."""
        return self.percentile_ms(99.9)

    @property
    def mean_ms(self) -> float:
        """Mean latency in ms."""
        return self.latencies.mean_ms

    @property
    def max_ms(self) -> float:
        """Highest latency in ms."""
        return self.latencies.max_ms

    @property
    def efficiency(self) -> float:
        """Efficiency: ``rps`` as a fraction of the baseline's; NaN without a baseline."""
        baseline = self.baseline_in_window
        return self.rps / baseline.mean_rps if baseline else math.nan

    @property
    def baseline_in_window(self) -> Baseline | None:
        """Baseline's pulses in the window, or all pulses if none is in it; None without a baseline."""
        return self.baseline.within(self.window.start_s, self.window.end_s) if self.baseline else None

    @property
    def cpu_per_request_ms(self) -> float:
        """CPU milliseconds of all replicas per success; NaN if the CPU time is not known."""
        return 1e3 * self.cpu.used_s / self.cpu.successes if self.cpu.successes else math.nan

    @property
    def goodput(self) -> float:
        """Good requests as a fraction of all requests in the window; NaN without limits on requests."""
        if self.good_requests is None:
            return math.nan
        return self.good_requests / self.requests if self.requests else 0.0

    @property
    def recovery_ms(self) -> float:
        """Longest time in ms from a fall of the load until requests were good again; NaN if unknown."""
        texts = [text for text in self.parts if Slo.parse(text).subject == "recovery"]
        return max((each.value for text in texts for each in self.parts[text]), default=math.nan)

    @property
    def server_findings(self) -> list[str]:
        """Sentences on causes that may have slowed the server down, the surest causes first."""
        if not self.server:
            return []
        vcpus, nodes = self.configuration.get("vcpus"), self.configuration.get("nodes")
        every = vcpus * nodes if isinstance(vcpus, int) and isinstance(nodes, int) else None
        return list(findings(self.server, length_s=self.window.length_s, vcpus=every, errors=self.errors))

    def of_kind(self, kind: str) -> Result:
        """Return the result of the requests of one kind, without figures that are not known by kind.

        Raises:
            ConfigurationError: if the run has no such kind.
        """
        __tracebackhide__ = True
        if kind not in self.kinds:
            raise ConfigurationError(f"{no_such_kind(kind, self.kinds)}.")
        found = self.kinds[kind]
        return replace(
            self,
            latencies=found.latencies,
            errors=found.errors,
            intervals=found.intervals,
            n_eff=found.n_eff,
            good_requests=found.good_requests,
            baseline=None,
            cpu=CpuUse(unknown="the server's CPU is not known by kind"),
            kinds={},
        )

    def percentile_ms(self, percentile: float) -> float:
        """Return the nearest-rank percentile in ms: that many per cent of latencies do not exceed it."""
        return self.latencies.percentile_ms(percentile)

    def metric(self, name: str) -> float:
        """Return a metric of the SLO language in its own unit: ms, requests a second, or a fraction."""
        return metric_of(name).read(self)

    def metric_range(self, slo: Slo) -> tuple[float, float, float]:
        """Return the lowest, best and highest estimate of the figure that ``slo`` limits, in its unit."""
        metric = slo.definition
        if slo.against:
            return self._change_range(slo)
        if slo.kind and slo.kind not in self.kinds:
            return math.nan, math.nan, math.nan
        if slo.judges_parts:
            worst = self._worst_part(slo)
            value = worst.value / slo.unit.factor if worst else math.nan
            return value, value, value
        value = metric.read(self.of_slo(slo)) / slo.unit.factor
        if metric.needs is Source.CPU:
            low, high = self.intervals.get(metric.key, (0.0, math.inf))
            return low / slo.unit.factor, value, high / slo.unit.factor
        if slo.relative and metric.needs is not Source.BASELINE:
            value /= self._baseline_figure(metric)
        return value, value, value

    def _worst_part(self, slo: Slo) -> SpanFigure | None:
        return worst_of(self.parts.get(slo.text, ()), higher_is_better=slo.higher_is_better)

    def place(self, slo: Slo) -> str:
        """Return the part of the run that ``slo``'s figure is of, to follow it; empty for the whole run."""
        worst, count = self._worst_part(slo), len(self.parts.get(slo.text, ()))
        if worst is None:
            return ""
        if not slo.every_s:
            return f" after the load fell at {worst.start_s:.4g} s"
        return f" {worst}, the worst of {count} windows" if count > 1 else f" {worst}"

    def _change_range(self, slo: Slo) -> tuple[float, float, float]:
        """Return the lowest, best and highest estimate of the change that ``slo`` limits, in per cent."""
        found = self.comparison.changes.get(slo.definition.key) if self.comparison else None
        if found is None:
            return math.nan, math.nan, math.nan
        factor = slo.unit.factor
        return found.low / factor, found.value / factor, found.high / factor

    def resolution(self, slo: Slo) -> float:
        """Return the smallest change of ``slo``'s figure that the run could have seen, in per cent."""
        found = self.comparison.changes.get(slo.definition.key) if self.comparison else None
        return found.resolution / slo.unit.factor if found else math.nan

    def not_compared(self, slo: Slo) -> str:
        """Return why the change that ``slo`` limits is not known."""
        if self.comparison is None:
            return "it compares with a baseline server, and none was named: add --tfserving-against"
        metric = slo.definition
        if math.isnan(metric.read(self)):
            return self.unknown(metric)
        if math.isnan(metric.read(self.comparison.result)):
            return f"the baseline server: {self.comparison.result.unknown(metric)}"
        return "both servers were steady together for too short a time to compare them"

    def _baseline_figure(self, metric: Metric) -> float:
        baseline = self.baseline_in_window
        if not baseline:
            return math.nan
        return baseline.mean_latency_ms if metric.is_in_ms else baseline.mean_rps

    def unknown(self, metric: Metric) -> str:
        """Return why a metric is not known."""
        if metric.needs is Source.CPU:
            return self.cpu.unknown
        if metric.needs is Source.REQUEST_LIMITS:
            return f"load profile {self.profile['name']!r} has no request_limits"
        if metric.needs is Source.FALLS:
            return (
                "it takes a load that falls, as shape 'spike 10:100', and request_limits in load profile "
                f"{self.profile['name']!r} or an SLO on a percentile, which say when requests are good again"
            )
        return "the in-process baseline was not measured here"

    def decision(self, slo: Slo) -> Decision | Undecided | None:
        """Return what was proved of ``slo`` while load ran; None if it was not tested then."""
        return self.decided.get(slo.text) or self.undecided.get(slo.text)

    def is_exact(self, slo: Slo) -> bool:
        """Return whether ``slo`` limits the rate of an open loop whose schedule the server kept up with."""
        return slo.is_absolute_rate and self.arrivals is not None and self.arrivals.is_kept_by(self.rps)

    def doubt(self, slo: Slo) -> Doubt | None:
        """Return the effect that the load generator's trouble can have on ``slo``; None without trouble.

        Trouble of the generator strikes both servers of a comparison alike, since they are loaded in turn.
        """
        return None if slo.against else doubt(self, slo)

    @property
    def trouble(self) -> str:
        """Trouble of the load generator that is longer than the profile allows; empty without trouble."""
        found = trouble(self)
        return found.cause if found else ""

    def of_slo(self, slo: Slo) -> Result:
        """Return the result of the requests that ``slo`` judges; all requests if its kind is not known."""
        return self.of_kind(slo.kind) if slo.kind in self.kinds else self

    def successes_of(self, slo: Slo) -> int:
        """Return the number of successful requests in the window that ``slo`` judges."""
        return self.of_slo(slo).successes

    def judge(self, slos: Sequence[Slo]) -> list[Judgement]:
        """Return the judgement of each of ``slos``."""
        return [slo.judge(self) for slo in slos]

    def check(self, *metrics: str) -> None:
        """Judge every SLO of the experiment and of the test's mark; fail or skip the test accordingly.

        Args:
            metrics: judge only the SLOs of these metrics, as ``"rps"``, ``"efficiency"``, ``"p95"`` or
                ``"p95{large}"``, and the SLO on errors. Without metrics, judge all.
        """
        __tracebackhide__ = True
        asked = (*metrics, "errors")
        chosen = [slo for slo in self.slos if not metrics or slo.metric in asked or slo.subject in asked]
        if self.on_check:
            self.on_check(self, self.judge(chosen), metrics)

    def bound(self, slos: tuple[Slo, ...], on_check: OnCheck) -> Result:
        """Return the result with the SLOs that `check` judges, and the function that acts on verdicts."""
        return replace(self, slos=slos, on_check=on_check)

    def __repr__(self) -> str:
        return (
            f"<{self.experiment} on {self.target}: rps={self.rps:.4g} p95={self.p95_ms:.4g} ms, "
            f"{sum(self.errors.values())} errors in {self.requests} requests, "
            f"window {self.window.length_s:.1f} s, {self.load_text}>"
        )


def verdict_of(result: Result, slos: Sequence[Slo]) -> Verdict:
    """Return the verdict on ``result`` as a whole: the worst of its strict SLOs."""
    for verdict, cause in (
        (Verdict.FAIL, result.aborted),
        (Verdict.INVALID, result.invalid),
        (Verdict.INCONCLUSIVE, result.incomplete),
        (Verdict.NOT_JUDGED, result.not_judged),
    ):
        if cause:
            return verdict
    judgements = result.judge([slo for slo in slos if slo.strict])
    return Verdict.worst(judgement.verdict for judgement in judgements)
