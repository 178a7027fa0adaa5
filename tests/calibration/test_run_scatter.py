"""The scatter between runs, from the calibration."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import pytest

import planted_results
from pytest_tfserving.calibration.run_scatter import RunScatter
from pytest_tfserving.slo.metrics import metric_of

if TYPE_CHECKING:
    from pytest_tfserving.calibration.content import GateRun, ScatterData

RUNS: list[GateRun] = [{"p95_ms": 10 * 1.5**at, "rps": 100.0, "verdicts": {}} for at in (-1, 0, 1)]


def test_runs_that_scatter_more_than_the_wander_explains_add_to_it() -> None:
    plain, scattered = planted_results.calibration(), planted_results.calibration()
    assert plain["gate"]
    scattered["gate"] = {**plain["gate"], "runs": RUNS}
    plain["gate"] = None
    scatter = RunScatter.of(scattered)

    explained, none = RunScatter.of(plain).sds(metric_of("p95"), 8)
    same, beyond = scatter.sds(metric_of("p95"), 8)
    assert none == 0
    assert same == explained
    assert math.hypot(explained, beyond) == pytest.approx(math.log(1.5))
    assert scatter.sds(metric_of("rps"), 8)[1] == 0


def test_each_metric_has_its_own() -> None:
    scatter = RunScatter.of(planted_results.calibration())

    sds = {name: scatter.sds(metric_of(name), 60)[0] for name in ("rps", "mean", "p95", "efficiency")}
    assert sds["rps"] == sds["mean"] < sds["p95"]
    assert sds["efficiency"] == 0
    assert scatter.sds(metric_of("rps"), 600)[0] < sds["rps"] / 2


def test_it_is_kept_as_plain_values() -> None:
    scatter = RunScatter.of(planted_results.calibration())

    assert RunScatter.from_data(cast("ScatterData", asdict(scatter))) == scatter
