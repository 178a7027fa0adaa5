"""The types of the document: the content of the JSON report, in schema version 2.

``results.schema.json`` has the same keys, and ``docs/results.md`` describes them. A number that is None, or
NaN before the document is written, is unknown. A key that older documents lack is not required.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfserving.calibration.content import Calibration, ScatterData
    from pytest_tfserving.experiments.load_profile import ProfileFields

# The ends of a 95 % confidence interval, the lower one first.
Ends: TypeAlias = "Sequence[float]"
# Figures by the names of metrics, which have the unit in them.
Metrics: TypeAlias = "Mapping[str, float | None]"
Intervals: TypeAlias = "Mapping[str, Ends]"
SampleSizes: TypeAlias = "Mapping[str, float]"


class WindowData(TypedDict):
    """The fields of a `Window`."""

    start_s: float
    end_s: float


class GeneratorData(TypedDict):
    """The fields of a `Generator`."""

    cpu: float | None
    lag_p95_ms: float | None
    wait: float | None
    steal: float | None
    processes: int
    taken_by: Sequence[str]
    stood: NotRequired[float | None]


class BaselineData(TypedDict):
    """The fields of a `Baseline`; older versions measured it in slices, at unknown times."""

    rps: Sequence[float]
    latency_ms: Sequence[float]
    at_s: NotRequired[Sequence[float | None]]
    calls: NotRequired[Sequence[float]]


class ArrivalsData(TypedDict):
    """The fields of a `ScheduleAdherence`; older versions had no 99th percentile."""

    due_rps: float
    sent_rps: float
    dropped: int
    delay_p50_ms: float
    delay_p95_ms: float
    delay_max_ms: float
    delay_p99_ms: NotRequired[float | None]


class PercentileData(TypedDict):
    """Percentiles and the mean of a part of the requests, and the independent requests that they rest on."""

    p50_ms: NotRequired[float | None]
    p75_ms: NotRequired[float | None]
    p90_ms: NotRequired[float | None]
    p95_ms: NotRequired[float | None]
    p99_ms: NotRequired[float | None]
    p99_9_ms: NotRequired[float | None]
    mean_ms: NotRequired[float | None]
    max_ms: NotRequired[float | None]
    n_eff: NotRequired[SampleSizes]


class AlternativeData(PercentileData):
    """Percentiles that are not judged, with their intervals."""

    intervals: NotRequired[Intervals]


class StageData(PercentileData):
    """The figures of a part of the run that has a level of load of its own."""

    start_s: float
    end_s: float
    level: float
    requests: int
    errors: int
    rps: float | None
    intervals: Intervals
    loaded_from_s: NotRequired[float]


class ServerData(TypedDict):
    """The fields of a `ServerSide`."""

    cores: float | None
    rss_bytes: int | None
    throttled: float | None
    throttled_s: float | None
    context_switches_per_s: float | None
    major_faults: int | None
    restarts: int | None
    incidents: Sequence[str]
    tf_metrics: Mapping[str, float]
    rss_growth_bytes_per_s: NotRequired[float | None]
    idle_cores: NotRequired[float | None]
    model_load_s: NotRequired[float | None]


class CpuData(TypedDict):
    """The fields of a `CpuUse`."""

    start_s: float
    end_s: float
    used_s: float
    successes: int
    unknown: str


class RunRecordData(TypedDict):
    """The fields of a `RunRecord`."""

    unit: str
    step_s: int
    asked: Sequence[float]
    reached: Sequence[float]
    sent: Sequence[float]
    ended: Sequence[float]
    processes: Sequence[int]
    to_record: int
    under_way: int
    recorded: int


class DecisionData(TypedDict):
    """The fields of a `Decision`."""

    holds: bool
    alpha: float
    after_s: float
    at_s: float
    n_eff: float
    noise_memory_s: NotRequired[float | None]


class NoiseData(TypedDict):
    """The fields of a `Noise`."""

    kind: str
    sd: float | None
    memory_s: float | None
    in_flight: float
    resolution: float | None


class UndecidedData(TypedDict):
    """The fields of an `Undecided`; ``more_s`` is None for a time without end."""

    alpha: float
    more_s: float | None
    unsteady: str
    noise: NotRequired[NoiseData | None]
    length_s: NotRequired[float | None]
    noise_memory_s: NotRequired[float | None]
    cause: NotRequired[str]


class PartData(TypedDict):
    """The fields of a `SpanFigure`; ``holds`` is None if nothing is proved."""

    start_s: float
    end_s: float
    value: float | None
    holds: bool | None


class EvidencePathData(TypedDict):
    """The fields of an `EvidencePath`; evidence is None where it is not finite."""

    needed: float
    at_s: Sequence[float]
    holds: Sequence[float | None]
    fails: Sequence[float | None]


class ConfigurationData(TypedDict, total=False):
    """The configuration of an experiment; empty if the target did not deploy it."""

    shape: str
    vcpus: int
    ram_gb: int
    nodes: int
    intra_op: int
    inter_op: int
    batching: bool
    protocol: str
    model: str
    payload: str


class SecondData(TypedDict):
    """A second of the run."""

    at_s: int
    users: int
    successes: int
    errors: int
    p50_ms: NotRequired[float]
    p95_ms: NotRequired[float]
    server_cpu: NotRequired[float]


class LatencyData(TypedDict):
    """The recorded latencies of the window, from which the figures can be computed again."""

    count: int
    mean_ms: float | None
    max_ms: float | None
    exact_ms: str | None
    window: str


class RecordingData(LatencyData):
    """The recorded latencies of the window and of the slices of the run."""

    slice_s: int
    slices: list[str]


class KindData(TypedDict):
    """The figures of the requests of one kind."""

    errors: Mapping[str, int]
    metrics: Metrics
    distribution: Sequence[Sequence[float]]
    intervals: Intervals
    n_eff: SampleSizes
    recording: LatencyData
    good_requests: NotRequired[int | None]


class ServerChangeData(TypedDict):
    """The fields of a `ServerChange`: fractions; None if not known."""

    value: float | None
    low: float | None
    high: float | None
    resolution: float | None


class ServerComparisonData(TypedDict):
    """The comparison with a baseline server, whose own run is the ``result``."""

    against: str
    slice_s: float
    differences: Sequence[str]
    changes: Mapping[str, ServerChangeData]
    metrics: Metrics
    distribution: Sequence[Sequence[float]]
    result: RunData


class RunData(TypedDict):
    """A run of load: the fields of a `Result`, with its latencies as a recording."""

    experiment: str
    target: str
    profile: ProfileFields
    started_at: str
    window: WindowData
    errors: Mapping[str, int]
    users: int
    run_s: float
    total_requests: int
    total_errors: int
    generator: GeneratorData
    via: str
    endpoints: Sequence[str]
    baseline: BaselineData | None
    aborted: str
    invalid: str
    incomplete: str
    not_judged: str
    arrivals: ArrivalsData | None
    alternatives: Mapping[str, AlternativeData]
    stages: Sequence[StageData]
    server: ServerData | None
    cpu: CpuData
    intervals: Intervals
    n_eff: SampleSizes
    decided: Mapping[str, DecisionData]
    undecided: Mapping[str, UndecidedData]
    noise_memory_s: float | None
    configuration: ConfigurationData
    series: Sequence[SecondData]
    environment: Mapping[str, object]
    recording: RecordingData
    evidence: NotRequired[Mapping[str, EvidencePathData]]
    origin: NotRequired[Mapping[str, str]]
    identity: NotRequired[Mapping[str, object]]
    run_record: NotRequired[RunRecordData | None]
    comparison: NotRequired[ServerComparisonData | None]
    warnings: NotRequired[Sequence[str]]
    good_requests: NotRequired[int | None]
    parts: NotRequired[Mapping[str, Sequence[PartData]]]
    kinds: NotRequired[Mapping[str, KindData]]


class JudgementData(TypedDict):
    """The verdict on an SLO; ``value`` and ``limit`` are in the unit of the SLO."""

    slo: str
    strict: bool
    guard: bool
    verdict: str
    value: float | None
    limit: float
    unit: str
    reason: str


class SloData(JudgementData):
    """The verdict on an SLO in a test, which is named by its node id."""

    test: str


class AssertionData(TypedDict):
    """A failed assertion of a test, which is named by its node id, on a figure of the run."""

    test: str
    verdict: str
    text: str


class JudgedData(RunData):
    """A run of load with its metrics and its verdicts."""

    measured: bool
    metrics: Metrics
    distribution: Sequence[Sequence[float]]
    verdict: str
    slos: list[SloData]
    earlier: NotRequired[list[str]]
    assertions: NotRequired[list[AssertionData]]


class LabelledData(JudgedData):
    """A run of load with a label: its name, and its differences from others of the name."""

    label: NotRequired[str]


class CostData(TypedDict):
    """The cost of a configuration in US dollars; ``million_usd`` is None if nothing was measured."""

    month_usd: float
    million_usd: float | None


class ResultData(LabelledData):
    """A result of the document; ``cost`` is None without a configuration."""

    cost: CostData | None


class ProbeData(TypedDict):
    """A load that a search tried: the fields of a `Trial`."""

    load: float
    holds: bool
    rps: float | None
    p95_ms: float | None
    reason: str
    rps_interval: Ends | None
    p95_interval: Ends | None


class SearchData(TypedDict):
    """A search for the largest load that meets its SLOs."""

    experiment: str
    target: str
    over: str
    slos: list[str]
    knee: float
    confirmed: bool
    found: str
    probes: list[ProbeData]
    origin: NotRequired[Mapping[str, str]]
    label: NotRequired[str]


class PricesData(TypedDict):
    """The fields of `Prices`, the hours a month that a deployment runs, and whether an option set either."""

    vcpu_hour_usd: float
    gb_hour_usd: float
    source: str
    date: str
    shapes: Mapping[str, float]
    hours_a_month: float
    asked: NotRequired[bool]


class ChoiceData(TypedDict):
    """The fields of a `Choice`."""

    name: str
    ties: Sequence[str]


class RecommendationData(TypedDict):
    """The fields of a `Recommendation`."""

    sentence: str
    cheapest: ChoiceData | None
    fastest: ChoiceData | None
    front_rps: Sequence[str]
    front_p95: Sequence[str]


class PricedParts(TypedDict):
    """The parts of the document that depend on prices."""

    prices: PricesData
    recommendation: RecommendationData
    results: list[ResultData]


class ChangeData(TypedDict):
    """The change of a metric since a stored run: the ratio minus 1, or else a difference of shares."""

    metric: str
    key: str
    before: float | None
    now: float | None
    is_ratio: bool
    change: float | None
    interval: Sequence[float | None]
    smallest_change: float | None
    finding: str


class ComparedData(TypedDict):
    """An experiment with its changes; ``not_compared`` says why there are none."""

    label: str
    not_compared: str
    differences: Sequence[str]
    changes: list[ChangeData]


class LimitData(TypedDict):
    """The verdict on a limit of a change."""

    label: str
    limit: str
    verdict: str
    reason: str


class ComparisonData(TypedDict):
    """The comparison with a stored run."""

    base: str
    forced: bool
    scatter: str
    sentence: str
    experiments: list[ComparedData]
    limits: list[LimitData]


class StoredResult(TypedDict):
    """A result as a stored run has it."""

    experiment: str
    label: str
    target: str
    profile: ProfileFields
    started_at: str
    window: WindowData
    verdict: str
    measured: bool
    metrics: Metrics
    intervals: Intervals
    configuration: ConfigurationData
    environment: Mapping[str, object]
    n_eff: NotRequired[SampleSizes]
    origin: NotRequired[Mapping[str, str]]
    identity: NotRequired[Mapping[str, object]]


class StoredRun(TypedDict):
    """The content of a file of `--tfserving-save`; ``stored.schema.json`` has the same keys."""

    stored_version: int
    pytest_tfserving: str
    name: str
    saved_at: str
    commit: str | None
    interrupted: bool
    scatter: ScatterData | None
    results: list[StoredResult]


class Document(PricedParts):
    """All that pytest runs measured; ``calibration`` is that of the machine, None without one.

    ``comparison`` is with a stored run, None without one.
    """

    schema_version: int
    pytest_tfserving: str
    interrupted: bool
    searches: list[SearchData]
    calibration: Calibration | None
    comparison: ComparisonData | None
