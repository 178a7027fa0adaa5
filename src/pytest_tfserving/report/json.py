"""Results as JSON, with a versioned schema; see ``docs/results.md``."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfserving import __version__
from pytest_tfserving.load.result import SCHEMA_PERCENTILES, BareRates, Generator, Result, Window

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.report.runlog import Entry
    from pytest_tfserving.session import PerfSession
    from pytest_tfserving.slo import Judgement

SCHEMA_VERSION = 1


def document(entries: list[Entry], *, interrupted: bool) -> dict[str, Any]:
    """Everything one pytest run measured."""
    return {
        "schema_version": SCHEMA_VERSION,
        "pytest_tfserving": __version__,
        "interrupted": interrupted,
        "results": [
            {
                **result_as_dict(entry.result),
                "metrics": metrics(entry.result),
                "verdict": str(entry.verdict),
                "slos": [
                    {"test": nodeid, **judgement_as_dict(judgement)} for nodeid, judgement in entry.judgements
                ],
            }
            for entry in entries
        ],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace ``path`` as a whole, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def metrics(result: Result) -> dict[str, float]:
    """Every metric by its name, with its unit in the name; ratios are fractions of 1."""
    found: dict[str, float] = {"rps": result.rps}
    for percentile in SCHEMA_PERCENTILES:
        name = f"p{percentile:g}_ms".replace(".", "_")
        found[name] = result.percentile_ms(percentile)
    found |= {"mean_ms": result.mean_ms, "max_ms": result.max_ms, "error_rate": result.error_rate}
    found |= {"requests": result.requests, "efficiency": result.efficiency}
    return found


def result_as_dict(result: Result) -> dict[str, Any]:
    """A result without its latencies."""
    left_out = {"latencies_ms", "slos", "on_check"}
    values = {name: getattr(result, name) for name in result.__dataclass_fields__ if name not in left_out}
    for name in ("window", "generator", "bare"):
        values[name] = asdict(values[name]) if values[name] is not None else None
    return values


def result_from_dict(values: dict[str, Any], latencies_ms: NDArray[np.float64]) -> Result:
    """The result that `result_as_dict` and its latencies came from."""
    bare = values["bare"]
    return Result(
        **{
            **values,
            "latencies_ms": latencies_ms,
            "window": Window(**values["window"]),
            "generator": Generator(**values["generator"]),
            "bare": BareRates(tuple(bare["rps"]), tuple(bare["latency_ms"])) if bare else None,
        }
    )


def judgement_as_dict(judgement: Judgement) -> dict[str, Any]:
    """One SLO's verdict; ``value`` and ``limit`` are in the unit the SLO is written in."""
    return {
        "slo": judgement.slo.text,
        "strict": judgement.slo.strict,
        "verdict": str(judgement.verdict),
        "value": judgement.value,
        "limit": judgement.slo.limit,
        "unit": judgement.slo.unit.text,
        "reason": judgement.reason,
    }


class JsonReport:
    """Writes ``path`` anew whenever a test is over, so that an interrupted run leaves what it has."""

    def __init__(self, perf: PerfSession, path: Path) -> None:
        self._perf = perf
        self._path = path
        self._written = 0

    def pytest_runtest_logreport(self) -> None:
        """Write what is new."""
        entries = self._perf.log.entries() if self._perf.has_folder else []
        size = len(entries) + sum(len(entry.judgements) for entry in entries)
        if size != self._written:
            self._written = size
            write(self._path, document(entries, interrupted=False))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write everything, and whether it is everything."""
        entries = self._perf.log.entries() if self._perf.has_folder else []
        write(self._path, document(entries, interrupted=exitstatus == pytest.ExitCode.INTERRUPTED))


def _finite(value: Any) -> Any:
    """The same JSON with null for what is not a finite number."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
