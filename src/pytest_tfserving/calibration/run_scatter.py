"""Scatter between runs on one machine, from the calibration: what a comparison of two runs must allow for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.calibration.wander import P95_NOISE, Wander
from pytest_tfserving.slo.metrics import Source, percentile_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.slo.metrics import Metric

# Fewer runs say little about how runs scatter.
_FEWEST_RUNS = 3


@dataclass(frozen=True, slots=True)
class RunScatter:
    """Scatter of the logarithm of a figure between runs of the same load on the same server.

    Attributes:
        wall: the wander of wall time.
        cpu: the wander of CPU time.
        latency_sd: the scatter of p95 between runs beyond what the wander explains.
        rate_sd: the scatter of the rate between runs beyond what the wander explains.
        measured_at: when the calibration was made, in ISO 8601.
    """

    wall: Wander
    cpu: Wander
    latency_sd: float
    rate_sd: float
    measured_at: str

    @classmethod
    def of(cls, calibration: Mapping[str, Any]) -> RunScatter:
        """Return the scatter that a calibration has measured."""
        core = calibration["cores"][-1]
        wall, cpu = _wander(core["wall"]), _wander(core["cpu"])
        gate = calibration.get("gate") or {"runs": [], "run_time_s": 1.0}
        latency_sd = _beyond(_scatter(gate, "p95_ms"), wall.mean_sd(gate["run_time_s"], P95_NOISE))
        rate_sd = _beyond(_scatter(gate, "rps"), wall.mean_sd(gate["run_time_s"]))
        return cls(wall, cpu, latency_sd, rate_sd, calibration["measured_at"])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunScatter:
        """Return the scatter that was written as ``values``, as `dataclasses.asdict` does."""
        return cls(**{**values, "wall": _wander(values["wall"]), "cpu": _wander(values["cpu"])})

    def sds(self, metric: Metric, length_s: float) -> tuple[float, float]:
        """Return the standard deviations of a metric's logarithm: within runs of ``length_s``, and between.

        A ratio to the in-process baseline has none, because the machine's speed cancels out.
        """
        if metric.needs is Source.CPU:
            return self.cpu.mean_sd(length_s), 0.0
        if metric.needs is Source.BASELINE:
            return 0.0, 0.0
        if percentile_of(metric.name) is not None:
            return self.wall.mean_sd(length_s, P95_NOISE), self.latency_sd
        return self.wall.mean_sd(length_s), self.latency_sd if metric.is_in_ms else self.rate_sd


def _wander(values: Mapping[str, float]) -> Wander:
    return Wander(**{part.name: float(values[part.name]) for part in fields(Wander)})


def _scatter(gate: Mapping[str, Any], figure: str) -> float:
    """Return the standard deviation of a figure's logarithm between the runs of the gate."""
    values = [run[figure] for run in gate["runs"] if run.get(figure)]
    return float(np.log(values).std(ddof=1)) if len(values) >= _FEWEST_RUNS else 0.0


def _beyond(seen_sd: float, explained_sd: float) -> float:
    return math.sqrt(max(seen_sd**2 - explained_sd**2, 0.0))
