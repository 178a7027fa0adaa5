"""Results as JSON values and back; see ``docs/results.md``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_tfserving.load.result import (
    SCHEMA_PERCENTILES,
    Arrivals,
    BareRates,
    Generator,
    Result,
    Window,
    percentile_name,
)
from pytest_tfserving.server_side.observed import ServerSide
from pytest_tfserving.slo import Decision, Undecided

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.slo import Judgement


# Fields of a result that its JSON has not.
NOT_WRITTEN = frozenset({"latencies_ms", "slos", "on_check"})


def json_text(content: dict[str, Any]) -> str:
    """``content`` as JSON, with null for numbers that are not known."""
    return json.dumps(finite(content), indent=2, allow_nan=False) + "\n"


def metrics(result: Result) -> dict[str, float]:
    """Every metric by its name, with its unit in the name; ratios are fractions of 1."""
    found: dict[str, float] = {"rps": result.rps}
    for percentile in SCHEMA_PERCENTILES:
        found[percentile_name(percentile)] = result.percentile_ms(percentile)
    found |= {"mean_ms": result.mean_ms, "max_ms": result.max_ms, "error_rate": result.error_rate}
    found |= {"requests": result.requests, "efficiency": result.efficiency}
    return found


def result_as_dict(result: Result) -> dict[str, Any]:
    """A result without its latencies."""
    values = {name: getattr(result, name) for name in result.__dataclass_fields__ if name not in NOT_WRITTEN}
    for name in ("window", "generator", "bare", "server", "arrivals"):
        values[name] = asdict(values[name]) if values[name] is not None else None
    for name in ("decided", "undecided"):
        values[name] = {text: asdict(each) for text, each in values[name].items()}
    return values


def result_from_dict(values: dict[str, Any], latencies_ms: NDArray[np.float64]) -> Result:
    """The result that `result_as_dict` and its latencies came from."""
    bare, server = values["bare"], values["server"]
    return Result(
        **{
            **values,
            "latencies_ms": latencies_ms,
            "window": Window(**values["window"]),
            "generator": Generator(**values["generator"]),
            "decided": {text: Decision(**each) for text, each in values["decided"].items()},
            "undecided": {text: _undecided(each) for text, each in values["undecided"].items()},
            "bare": BareRates(tuple(bare["rps"]), tuple(bare["latency_ms"])) if bare else None,
            "server": ServerSide(**{**server, "happened": tuple(server["happened"])}) if server else None,
            "arrivals": Arrivals(**values["arrivals"]) if values["arrivals"] else None,
        }
    )


def _undecided(values: dict[str, Any]) -> Undecided:
    more_s = values["more_s"]
    return Undecided(**{**values, "more_s": math.inf if more_s is None else more_s})


def judgement_as_dict(judgement: Judgement) -> dict[str, Any]:
    """One SLO's verdict; ``value`` and ``limit`` are in the unit the SLO is written in."""
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
    """The same JSON with null for what is not a finite number."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
