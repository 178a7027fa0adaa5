"""Conversion of results to JSON values and back; see ``docs/results.md``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pytest_tfserving.load.baseline import Baseline
from pytest_tfserving.load.kinds import KindFigures
from pytest_tfserving.load.result import CpuUse, Generator, Result, ScheduleAdherence, Window
from pytest_tfserving.load.run_record import RunRecord
from pytest_tfserving.load.server_comparison import ServerComparison
from pytest_tfserving.server_side.observed import ServerSide
from pytest_tfserving.slo.change_tests import ServerChange
from pytest_tfserving.slo.evidence_path import EvidencePath
from pytest_tfserving.slo.language import Decision, Undecided
from pytest_tfserving.slo.metrics import METRICS
from pytest_tfserving.slo.noise import Noise, NoiseKind
from pytest_tfserving.slo.span_figure import SpanFigure
from pytest_tfserving.statistics.histogram import Histogram, packed_floats, unpacked_floats
from pytest_tfserving.statistics.latencies import Latencies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_tfserving.report.schema import (
        ArrivalsData,
        BaselineData,
        DecisionData,
        EvidencePathData,
        GeneratorData,
        JudgementData,
        KindData,
        LatencyData,
        NoiseData,
        PartData,
        RecordingData,
        RunData,
        RunRecordData,
        ServerChangeData,
        ServerComparisonData,
        ServerData,
        UndecidedData,
    )
    from pytest_tfserving.slo.language import Judgement
    from pytest_tfserving.text.json_value import JsonValue


# Fields of a result that its JSON omits.
NOT_WRITTEN = frozenset({"latencies", "slice_s", "slices", "tracebacks", "slos", "on_check"})
# Parts of a result that have another type in its JSON.
_PLAIN = ("window", "generator", "baseline", "server", "cpu", "arrivals", "run_record")
_CONVERTED = frozenset(
    {*_PLAIN, "comparison", "decided", "undecided", "evidence", "parts", "warnings", "recording", "kinds"}
)
# The percentiles of a distribution, in per cent: finer towards the tail.
_DISTRIBUTION = (*range(0, 90, 2), *np.arange(90, 99, 0.5), *np.arange(99, 100, 0.05), 99.99, 100)
# The most latencies that a recording has one by one.
MOST_RECORDED = 10_000


def json_text(content: Mapping[str, object] | Sequence[object]) -> str:
    """Return ``content`` as JSON text, with null for unknown numbers."""
    return json.dumps(finite(content), indent=2, allow_nan=False) + "\n"


def metrics(result: Result) -> dict[str, float]:
    """Return every metric by its name, which has the unit in it; ratios are fractions of 1."""
    return {**{each.key: each.read(result) for each in METRICS.values()}, "requests": result.requests}


def result_as_dict(result: Result) -> RunData:
    """Return a result as plain values, its latencies as a recording."""
    values = {name: getattr(result, name) for name in result.__dataclass_fields__ if name not in NOT_WRITTEN}
    for name in _PLAIN:
        values[name] = asdict(values[name]) if values[name] is not None else None
    if found := result.comparison:
        values["comparison"] = _comparison_as_dict(found)
    values["kinds"] = {name: _kind_as_dict(result.of_kind(name)) for name in result.kinds}
    for name in ("decided", "undecided", "evidence"):
        values[name] = {text: asdict(each) for text, each in values[name].items()}
    values["parts"] = {text: [asdict(each) for each in parts] for text, parts in result.parts.items()}
    return cast("RunData", {**values, "recording": _recording(result)})


def _kind_as_dict(of_kind: Result) -> KindData:
    """Return the figures of one kind of requests, from the result of these requests."""
    return {
        "errors": of_kind.errors,
        "metrics": metrics(of_kind),
        "distribution": distribution(of_kind.latencies),
        "intervals": of_kind.intervals,
        "n_eff": of_kind.n_eff,
        "recording": _latencies_as_dict(of_kind.latencies),
        "good_requests": of_kind.good_requests,
    }


def _comparison_as_dict(found: ServerComparison) -> ServerComparisonData:
    return {
        "against": found.against,
        "slice_s": found.slice_s,
        "differences": list(found.differences),
        "changes": {key: cast("ServerChangeData", asdict(change)) for key, change in found.changes.items()},
        "metrics": metrics(found.result),
        "distribution": distribution(found.result.latencies),
        "result": result_as_dict(found.result),
    }


def distribution(latencies: Latencies) -> list[tuple[float, float]]:
    """Return enough percentiles to draw the whole distribution, as (per cent, ms)."""
    if not len(latencies):
        return []
    return [(round(float(at), 2), round(latencies.percentile_ms(at), 4)) for at in _DISTRIBUTION]


def _recording(result: Result) -> RecordingData:
    """Return the recorded latencies, from which the figures can be computed again."""
    return {
        **_latencies_as_dict(result.latencies),
        "slice_s": result.slice_s,
        "slices": [each.encoded() for each in result.slices],
    }


def _latencies_as_dict(latencies: Latencies) -> LatencyData:
    exact_ms = latencies.exact_ms
    is_short = exact_ms is not None and len(exact_ms) <= MOST_RECORDED
    return {
        "count": len(latencies),
        "mean_ms": latencies.mean_ms,
        "max_ms": latencies.max_ms,
        "exact_ms": packed_floats(exact_ms) if exact_ms is not None and is_short else None,
        "window": latencies.histogram.encoded(),
    }


def recorded_latencies(recording: LatencyData, exact_ms: NDArray[np.float64] | None = None) -> Latencies:
    """Return the latencies of the window: ``exact_ms`` if they were kept elsewhere, else as recorded."""
    if exact_ms is None and recording["exact_ms"] is not None:
        exact_ms = unpacked_floats(recording["exact_ms"])
    mean_ms, max_ms = number(recording["mean_ms"]), number(recording["max_ms"])
    return Latencies(Histogram.decoded(recording["window"]), mean_ms, max_ms, exact_ms)


def result_from_dict(values: RunData, exact_ms: NDArray[np.float64] | None = None) -> Result:
    """Return the result from the values that `result_as_dict` made; see `recorded_latencies`."""
    baseline, server, run_record = values["baseline"], values["server"], values.get("run_record")
    comparison = values.get("comparison")
    unchanged: dict[str, Any] = {name: value for name, value in values.items() if name not in _CONVERTED}
    return Result(
        **unchanged,
        latencies=recorded_latencies(values["recording"], exact_ms),
        slice_s=values["recording"]["slice_s"],
        slices=[Histogram.decoded(each) for each in values["recording"]["slices"]],
        window=Window(**values["window"]),
        generator=_generator(values["generator"]),
        decided={text: _decision(each) for text, each in values["decided"].items()},
        undecided={text: _undecided(each) for text, each in values["undecided"].items()},
        parts={text: tuple(map(_part, each)) for text, each in values.get("parts", {}).items()},
        evidence={text: _evidence(each) for text, each in values.get("evidence", {}).items()},
        baseline=_baseline(baseline) if baseline else None,
        server=_server(server) if server else None,
        cpu=CpuUse(**values["cpu"]),
        arrivals=_arrivals(values["arrivals"]) if values["arrivals"] else None,
        run_record=_run_record(run_record) if run_record else None,
        comparison=_comparison(comparison) if comparison else None,
        warnings=tuple(values.get("warnings", ())),
        kinds={name: _kind(each) for name, each in values.get("kinds", {}).items()},
    )


def _kind(values: KindData) -> KindFigures:
    latencies = recorded_latencies(values["recording"])
    return KindFigures(
        latencies, values["errors"], values["intervals"], values["n_eff"], values.get("good_requests")
    )


def _comparison(values: ServerComparisonData) -> ServerComparison:
    changes = {
        key: ServerChange(
            number(each["value"]), number(each["low"]), number(each["high"]), number(each["resolution"])
        )
        for key, each in values["changes"].items()
    }
    result = result_from_dict(values["result"])
    return ServerComparison(
        values["against"], result, changes, values["slice_s"], tuple(values["differences"])
    )


def _arrivals(values: ArrivalsData) -> ScheduleAdherence:
    known: dict[str, Any] = {**values, "delay_p99_ms": number(values.get("delay_p99_ms"))}
    return ScheduleAdherence(**known)


def _generator(values: GeneratorData) -> Generator:
    return Generator(
        cpu=number(values["cpu"]),
        lag_p95_ms=number(values["lag_p95_ms"]),
        wait=number(values["wait"]),
        steal=number(values["steal"]),
        processes=values["processes"],
        stood=number(values.get("stood", 0.0)),
        taken_by=tuple(values["taken_by"]),
    )


def _server(values: ServerData) -> ServerSide:
    return ServerSide(
        cores=values["cores"],
        rss_bytes=values["rss_bytes"],
        throttled=values["throttled"],
        throttled_s=values["throttled_s"],
        context_switches_per_s=values["context_switches_per_s"],
        major_faults=values["major_faults"],
        restarts=values["restarts"],
        incidents=tuple(values["incidents"]),
        tf_metrics=values["tf_metrics"],
        rss_growth_bytes_per_s=values.get("rss_growth_bytes_per_s"),
        idle_cores=values.get("idle_cores"),
        model_load_s=values.get("model_load_s"),
    )


def _run_record(values: RunRecordData) -> RunRecord:
    return RunRecord(
        unit=values["unit"],
        step_s=values["step_s"],
        asked=tuple(values["asked"]),
        reached=tuple(values["reached"]),
        sent=tuple(values["sent"]),
        ended=tuple(values["ended"]),
        processes=tuple(values["processes"]),
        to_record=values["to_record"],
        under_way=values["under_way"],
        recorded=values["recorded"],
    )


def _baseline(values: BaselineData) -> Baseline:
    """Return the baseline; older versions measured it in slices of equal length, at unknown times."""
    rps = tuple(values["rps"])
    at_s = tuple(map(number, values.get("at_s", [None] * len(rps))))
    return Baseline(at_s, rps, tuple(values["latency_ms"]), tuple(values.get("calls", rps)))


def _decision(values: DecisionData) -> Decision:
    return Decision(
        holds=values["holds"],
        alpha=values["alpha"],
        after_s=values["after_s"],
        at_s=values["at_s"],
        n_eff=values["n_eff"],
        noise_memory_s=number(values.get("noise_memory_s")),
    )


def _undecided(values: UndecidedData) -> Undecided:
    return Undecided(
        alpha=values["alpha"],
        more_s=math.inf if values["more_s"] is None else values["more_s"],
        unsteady=values["unsteady"],
        noise=noise_from_dict(values.get("noise")),
        length_s=number(values.get("length_s")),
        noise_memory_s=number(values.get("noise_memory_s")),
        cause=values.get("cause", ""),
    )


def _part(values: PartData) -> SpanFigure:
    return SpanFigure(values["start_s"], values["end_s"], number(values["value"]), values["holds"])


def _evidence(values: EvidencePathData) -> EvidencePath:
    return EvidencePath(
        needed=values["needed"],
        at_s=tuple(values["at_s"]),
        holds=tuple(map(number, values["holds"])),
        fails=tuple(map(number, values["fails"])),
    )


def noise_from_dict(values: NoiseData | None) -> Noise | None:
    """Return the noise that was written as ``values``."""
    if values is None:
        return None
    return Noise(
        kind=NoiseKind(values["kind"]),
        sd=number(values["sd"]),
        memory_s=number(values["memory_s"]),
        in_flight=values["in_flight"],
        resolution=number(values["resolution"]),
    )


def number(value: float | None) -> float:
    """Return a number of a document, NaN for an unknown one."""
    return math.nan if value is None else value


def judgement_as_dict(judgement: Judgement) -> JudgementData:
    """Return an SLO's verdict as plain values; ``value`` and ``limit`` are in the unit of the SLO."""
    return {
        "slo": judgement.slo.text,
        "strict": judgement.slo.strict,
        "guard": judgement.slo.guard,
        "verdict": str(judgement.verdict),
        "value": judgement.value,
        "limit": judgement.slo.limit,
        "unit": judgement.slo.unit.text,
        "reason": judgement.reason,
    }


def finite(value: object) -> JsonValue:
    """Return a value as JSON has it, with null for numbers that are not finite.

    Raises:
        TypeError: for a value that JSON cannot express.
    """
    match value:
        case dict():
            return {name: finite(part) for name, part in value.items()}
        case list() | tuple():
            return [finite(part) for part in value]
        case float():
            return value if math.isfinite(value) else None
        case str() | int() | None:
            return value
        case _:
            raise TypeError(f"{value!r} is not a value of JSON")
