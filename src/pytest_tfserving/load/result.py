"""What one run of load measured: exact latencies, percentiles that are values observed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_tfserving.load.bounds import doubt, trouble
from pytest_tfserving.metrics import Source, metric_of
from pytest_tfserving.server_side.observed import findings
from pytest_tfserving.slo import Decision, Doubt, Judgement, Slo, Undecided, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.load.baseline import Baseline
    from pytest_tfserving.load.histogram import Histogram
    from pytest_tfserving.load.latencies import Latencies
    from pytest_tfserving.load.run_record import RunRecord
    from pytest_tfserving.metrics import Metric
    from pytest_tfserving.server_side.observed import ServerSide

    OnCheck = Callable[["Result", list[Judgement], tuple[str, ...]], None]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the run that counts, in seconds since its start: the ramp is left out."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Seconds in the window."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Generator:
    """The load generator's own state in the window.

    ``cpu`` is what it used as a fraction of a core, ``wait`` the fraction of the time that it waited for one,
    ``steal`` the fraction of its cores' time that the machine's host took, ``lag_p95_ms`` how late its event
    loop was; of several ``processes`` the worst of each. ``stood`` is the fraction of the time that it stood
    still for another cause, as a signal, a mean of its processes. ``taken_by`` is what else used its cores,
    where it had to wait for one.
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
    """CPU seconds that all replicas used from ``start_s`` to ``end_s``, and the successes that ended then.

    These are the times of the first and the last reading of the CPU in the window. ``unknown`` is a sentence
    where there are no two: why.
    """

    start_s: float = 0.0
    end_s: float = 0.0
    used_s: float = 0.0
    successes: int = 0
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How an open loop kept to its schedule in the window.

    Requests a second that were due and that were sent; how many were not, since too many were under way;
    how long after they were due the others were sent.
    """

    due_rps: float
    sent_rps: float
    dropped: int
    delay_p50_ms: float
    delay_p95_ms: float
    delay_max_ms: float


@dataclass(frozen=True, repr=False)
class Result:
    """One run of load on one deployment.

    ``latencies`` are those of the successful requests that ended in the window; ``slices`` are histograms of
    all of the run, ``slice_s`` seconds each. ``aborted``, ``invalid``
    and ``incomplete`` are sentences, empty when there is nothing to say: why the run ended as a failure, why
    the generator cannot be believed, why it ended before it could tell. ``server`` is what was seen of the
    replicas meanwhile, ``cpu`` what requests took of their CPU.

    In an open loop latencies count from when a request was due, ``arrivals`` is how it kept to that, and
    ``alternatives["from_send"]`` has the percentiles from when it was sent. Where users have a pace,
    ``alternatives["corrected"]`` has those with the requests in it that slow answers kept from being sent.

    Where the level of load changes, ``stages`` has the figures of each part of the run, from its start to its
    end: what was under way when it began is in them.

    ``run_record`` is what load was asked for and what was reached, second by second. ``warnings`` are
    sentences on what else the figures rest on, as on a server that sheds load.

    ``intervals`` are the 95 % confidence intervals of the metrics they are named after, ``n_eff`` how
    many independent requests those rest on. ``decided`` and ``undecided`` say, by an SLO's text, what was
    proved of it while load ran, and what was not, given that the machine's speed forgets within
    ``noise_memory_s``, None where nothing was measured. ``configuration`` is the experiment's, empty where
    the target has none to offer. ``tracebacks`` are those of exceptions in a locustfile, one of each kind.
    ``identity`` is what was served and sent, ``origin`` where the experiment comes from: neither is part of a
    name, and both tell results of one name apart.
    """

    experiment: str
    target: str
    profile: Mapping[str, Any]
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
    arrivals: Arrivals | None = None
    alternatives: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stages: Sequence[Mapping[str, Any]] = ()
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    n_eff: Mapping[str, float] = field(default_factory=dict)
    decided: Mapping[str, Decision] = field(default_factory=dict)
    undecided: Mapping[str, Undecided] = field(default_factory=dict)
    noise_memory_s: float | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    slice_s: int = 1
    slices: Sequence[Histogram] = ()
    series: Sequence[Mapping[str, float]] = ()
    run_record: RunRecord | None = None
    warnings: Sequence[str] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    tracebacks: Sequence[str] = field(default=(), compare=False)
    slos: tuple[Slo, ...] = field(default=(), compare=False)
    on_check: OnCheck | None = field(default=None, compare=False)

    @property
    def is_measured(self) -> bool:
        """Whether its figures are a measurement of the server under its whole load."""
        spoilt = self.aborted or self.invalid or self.incomplete or self.not_judged
        return bool(self.successes) and not spoilt

    @property
    def load_text(self) -> str:
        """The level of load, in words."""
        return (
            f"{self.profile['rate']:g} requests a second due"
            if self.profile.get("rate")
            else f"{self.users} users"
        )

    @property
    def latencies_ms(self) -> NDArray[np.float64]:
        """Latencies of the successes in the window, sorted; see `Latencies`."""
        return self.latencies.values_ms

    @property
    def successes(self) -> int:
        """Successful requests in the window."""
        return len(self.latencies)

    @property
    def requests(self) -> int:
        """All requests that ended in the window."""
        return self.successes + sum(self.errors.values())

    @property
    def rps(self) -> float:
        """Successful responses a second in the window."""
        return self.successes / self.window.length_s if self.window.length_s > 0 else 0.0

    @property
    def error_rate(self) -> float:
        """Failed requests as a fraction of all in the window; 1 when there was none at all."""
        return sum(self.errors.values()) / self.requests if self.requests else 1.0

    @property
    def p50_ms(self) -> float:
        """Median latency."""
        return self.percentile_ms(50)

    @property
    def p90_ms(self) -> float:
        """90th percentile of latency."""
        return self.percentile_ms(90)

    @property
    def p95_ms(self) -> float:
        """95th percentile of latency."""
        return self.percentile_ms(95)

    @property
    def p99_ms(self) -> float:
        """99th percentile of latency."""
        return self.percentile_ms(99)

    @property
    def p99_9_ms(self) -> float:
        """99.9th percentile of latency."""
        return self.percentile_ms(99.9)

    @property
    def mean_ms(self) -> float:
        """Mean latency."""
        return self.latencies.mean_ms

    @property
    def max_ms(self) -> float:
        """Highest latency."""
        return self.latencies.max_ms

    @property
    def efficiency(self) -> float:
        """``rps`` as a fraction of the baseline's, NaN where that was not measured."""
        baseline = self.baseline_in_window
        return self.rps / baseline.mean_rps if baseline else math.nan

    @property
    def baseline_in_window(self) -> Baseline | None:
        """The baseline's pulses in the window; all, where none is in it."""
        return self.baseline.within(self.window.start_s, self.window.end_s) if self.baseline else None

    @property
    def cpu_per_request_ms(self) -> float:
        """CPU milliseconds of all replicas for each success, NaN where that is not known."""
        return 1e3 * self.cpu.used_s / self.cpu.successes if self.cpu.successes else math.nan

    @property
    def server_findings(self) -> list[str]:
        """Sentences on what may have slowed the server down, the surest causes first."""
        if not self.server:
            return []
        vcpus = self.configuration.get("vcpus", 0) * self.configuration.get("nodes", 0) or None
        return list(findings(self.server, length_s=self.window.length_s, vcpus=vcpus, errors=self.errors))

    def percentile_ms(self, percentile: float) -> float:
        """The nearest-rank percentile: the least latency that so many per cent do not exceed."""
        return self.latencies.percentile_ms(percentile)

    def metric(self, name: str) -> float:
        """A metric of the SLO language in its own unit: ms, requests a second, or a fraction."""
        return metric_of(name).read(self)

    def metric_range(self, slo: Slo) -> tuple[float, float, float]:
        """Lowest, best and highest estimate of what ``slo`` limits, in the limit's unit."""
        metric = slo.definition
        value = metric.read(self) / slo.unit.factor
        if metric.needs is Source.CPU:
            low, high = self.intervals.get(metric.key, (0.0, math.inf))
            return low / slo.unit.factor, value, high / slo.unit.factor
        if slo.relative and metric.needs is not Source.BASELINE:
            value /= self._baseline_figure(metric)
        return value, value, value

    def _baseline_figure(self, metric: Metric) -> float:
        baseline = self.baseline_in_window
        if not baseline:
            return math.nan
        return baseline.mean_latency_ms if metric.is_in_ms else baseline.mean_rps

    def unknown(self, metric: Metric) -> str:
        """Return why a metric is not known."""
        if metric.needs is Source.CPU:
            return self.cpu.unknown
        return "the bare in-process session was not measured here"

    def decision(self, slo: Slo) -> Decision | Undecided | None:
        """What was proved of ``slo`` while load ran; None where it was not watched."""
        return self.decided.get(slo.text) or self.undecided.get(slo.text)

    def doubt(self, slo: Slo) -> Doubt | None:
        """Return what the load generator's own trouble did to what ``slo`` limits, at most, if it had any."""
        return doubt(self, slo)

    @property
    def trouble(self) -> str:
        """What kept the load generator from its work for longer than its profile allows, if anything did."""
        found = trouble(self)
        return found.cause if found else ""

    def judge(self, slos: Sequence[Slo]) -> list[Judgement]:
        """The verdict on each of ``slos``."""
        return [slo.judge(self) for slo in slos]

    def check(self, *metrics: str) -> None:
        """Judge every SLO of the experiment and of the test's mark; fail or skip the test accordingly.

        Args:
            metrics: judge only the SLOs of these metrics, as ``"rps"``, ``"efficiency"`` or ``"p95"``, and
                the one on errors with them.
        """
        __tracebackhide__ = True
        chosen = [slo for slo in self.slos if not metrics or slo.metric in (*metrics, "errors")]
        if self.on_check:
            self.on_check(self, self.judge(chosen), metrics)

    def bound(self, slos: tuple[Slo, ...], on_check: OnCheck) -> Result:
        """The same result with the SLOs that `check` judges, and what is done with their verdicts."""
        return replace(self, slos=slos, on_check=on_check)

    def __repr__(self) -> str:
        return (
            f"<{self.experiment} on {self.target}: rps={self.rps:.4g} p95={self.p95_ms:.4g} ms, "
            f"{sum(self.errors.values())} errors in {self.requests} requests, "
            f"window {self.window.length_s:.1f} s, {self.load_text}>"
        )


def verdict_of(result: Result, slos: Sequence[Slo]) -> Verdict:
    """The verdict on ``result`` as a whole: the worst of its strict SLOs."""
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
