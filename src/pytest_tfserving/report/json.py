"""Conversion of results to JSON values and back; see ``docs/results.md``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_tfserving.load.baseline import Baseline
from pytest_tfserving.load.result import CpuUse, Generator, Result, ScheduleAdherence, Window
from pytest_tfserving.load.run_record import RunRecord
from pytest_tfserving.server_side.observed import ServerSide
from pytest_tfserving.slo.language import Decision, Undecided
from pytest_tfserving.slo.metrics import METRICS
from pytest_tfserving.slo.noise import Noise, NoiseKind
from pytest_tfserving.statistics.histogram import Histogram, packed_floats, unpacked_floats
from pytest_tfserving.statistics.latencies import Latencies

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.slo.language import Judgement


# Fields of a result that its JSON omits.
NOT_WRITTEN = frozenset({"latencies", "slice_s", "slices", "tracebacks", "slos", "on_check"})
# The most latencies that a recording has one by one.
MOST_RECORDED = 10_000


def json_text(content: dict[str, Any] | list[Any]) -> str:
    """Return ``content`` as JSON text, with null for unknown numbers."""
    return json.dumps(finite(content), indent=2, allow_nan=False) + "\n"


def metrics(result: Result) -> dict[str, float]:
    """Return every metric by its name, which has the unit in it; ratios are fractions of 1."""
    return {**{each.key: each.read(result) for each in METRICS.values()}, "requests": result.requests}


def result_as_dict(result: Result) -> dict[str, Any]:
    """Return a result as plain values, its latencies as a recording."""
    values = {name: getattr(result, name) for name in result.__dataclass_fields__ if name not in NOT_WRITTEN}
    for name in ("window", "generator", "baseline", "server", "cpu", "arrivals", "run_record"):
        values[name] = asdict(values[name]) if values[name] is not None else None
    for name in ("decided", "undecided"):
        values[name] = {text: asdict(each) for text, each in values[name].items()}
    return {**values, "recording": _recording(result)}


def _recording(result: Result) -> dict[str, Any]:
    """Return the recorded latencies, from which the figures can be computed again."""
    exact_ms = result.latencies.exact_ms
    return {
        "count": result.successes,
        "mean_ms": result.latencies.mean_ms,
        "max_ms": result.latencies.max_ms,
        "exact_ms": packed_floats(exact_ms)
        if exact_ms is not None and len(exact_ms) <= MOST_RECORDED
        else None,
        "window": result.latencies.histogram.encoded(),
        "slice_s": result.slice_s,
        "slices": [each.encoded() for each in result.slices],
    }


def recorded_latencies(recording: dict[str, Any], exact_ms: NDArray[np.float64] | None = None) -> Latencies:
    """Return the latencies of the window: ``exact_ms`` if they were kept elsewhere, else as recorded."""
    if exact_ms is None and recording["exact_ms"] is not None:
        exact_ms = unpacked_floats(recording["exact_ms"])
    mean_ms, max_ms = (
        math.nan if recording[name] is None else recording[name] for name in ("mean_ms", "max_ms")
    )
    return Latencies(Histogram.decoded(recording["window"]), mean_ms, max_ms, exact_ms)


def result_from_dict(values: dict[str, Any], exact_ms: NDArray[np.float64] | None = None) -> Result:
    """Return the result from the values that `result_as_dict` made; see `recorded_latencies`."""
    baseline, server, generator = values["baseline"], values["server"], values["generator"]
    recording = values["recording"]
    return Result(
        **{
            **{name: value for name, value in values.items() if name != "recording"},
            "latencies": recorded_latencies(recording, exact_ms),
            "slice_s": recording["slice_s"],
            "slices": [Histogram.decoded(each) for each in recording["slices"]],
            "window": Window(**values["window"]),
            "generator": Generator(**{**generator, "taken_by": tuple(generator["taken_by"])}),
            "decided": {text: Decision(**_known(each)) for text, each in values["decided"].items()},
            "undecided": {text: _undecided(each) for text, each in values["undecided"].items()},
            "baseline": _baseline(baseline) if baseline else None,
            "server": ServerSide(**{**server, "incidents": tuple(server["incidents"])}) if server else None,
            "cpu": CpuUse(**values["cpu"]),
            "arrivals": ScheduleAdherence(**values["arrivals"]) if values["arrivals"] else None,
            "run_record": _run_record(values.get("run_record")),
            "warnings": tuple(values.get("warnings", ())),
        }
    )


def _run_record(values: dict[str, Any] | None) -> RunRecord | None:
    """Return the run record; None for results of older versions, which had none."""
    if not values:
        return None
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return RunRecord(**known)


def _baseline(values: dict[str, Any]) -> Baseline:
    """Return the baseline; older versions measured it in slices of equal length, at unknown times."""
    rps = tuple(values["rps"])
    at_s = tuple(math.nan if each is None else each for each in values.get("at_s", [None] * len(rps)))
    return Baseline(at_s, rps, tuple(values["latency_ms"]), tuple(values.get("calls", rps)))


def _undecided(values: dict[str, Any]) -> Undecided:
    more_s = values["more_s"]
    known = {**_known(values), "more_s": math.inf if more_s is None else more_s}
    return Undecided(**{**known, "noise": noise_from_dict(values.get("noise"))})


def noise_from_dict(values: Mapping[str, Any] | None) -> Noise | None:
    """Return the noise that was written as ``values``."""
    return Noise(**{**_known(values), "kind": NoiseKind(values["kind"])}) if values else None


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without null ones, which stand for unknown numbers."""
    return {name: value for name, value in values.items() if value is not None}


def judgement_as_dict(judgement: Judgement) -> dict[str, Any]:
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


def finite(value: Any) -> Any:
    """Return the same JSON value with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
