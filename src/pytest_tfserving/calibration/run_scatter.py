"""Scatter between runs on one machine, from the calibration: what a comparison of two runs must allow for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.calibration.wander import P95_NOISE, Wander
from pytest_tfserving.slo.metrics import Source, percentile_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.calibration.content import Measurements, ScatterData, WanderData, WanderFigures
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
    def of(cls, calibration: Measurements) -> RunScatter:
        """Return the scatter that a calibration has measured."""
        core = calibration["cores"][-1]
        wall, cpu, gate = _wander(core["wall"]), _wander(core["cpu"]), calibration["gate"]
        latency_sd = rate_sd = 0.0
        if gate:
            length_s, runs = gate["run_time_s"], gate["runs"]
            latency_sd = _beyond(
                _scatter([run.get("p95_ms") for run in runs]), wall.mean_sd(length_s, P95_NOISE)
            )
            rate_sd = _beyond(_scatter([run.get("rps") for run in runs]), wall.mean_sd(length_s))
        return cls(wall, cpu, latency_sd, rate_sd, calibration["measured_at"])

    @classmethod
    def from_data(cls, values: ScatterData) -> RunScatter:
        """Return the scatter that was written as ``values``."""
        return cls(
            _wander(values["wall"]),
            _wander(values["cpu"]),
            values["latency_sd"],
            values["rate_sd"],
            values["measured_at"],
        )

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


def _wander(values: WanderFigures | WanderData) -> Wander:
    return Wander(
        scatter=values["scatter"],
        level_sd=values["level_sd"],
        noise_sd=values["noise_sd"],
        memory_s=values["memory_s"],
        memory_high_s=values["memory_high_s"],
    )


def _scatter(figures: Sequence[float | None]) -> float:
    """Return the standard deviation of a figure's logarithm between runs; 0 if there are too few."""
    values = [each for each in figures if each]
    return float(np.log(values).std(ddof=1)) if len(values) >= _FEWEST_RUNS else 0.0


def _beyond(seen_sd: float, explained_sd: float) -> float:
    return math.sqrt(max(seen_sd**2 - explained_sd**2, 0.0))
