"""A metric is one row: what stands in it is all that SLOs, verdicts and reports need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.slo.metrics import METRICS, Disturbance, Metric, metric_of

if TYPE_CHECKING:
    from harness import Project

# How much longer than the median request the slowest one in a hundred takes.
SPREAD = Metric(
    name="spread",
    key="spread_ms",
    label="spread",
    units=METRICS["p95"].units,
    read=lambda figures: figures.percentile_ms(99) - figures.percentile_ms(50),
    test=lambda _: None,
    disturbance=Disturbance.ADDS_LATENCY,
    has_interval=False,
    column="spread",
    terminal_width=6,
)
EXPERIMENT = """
defaults: {model: half_plus_two, profile: tiny}
profiles: {tiny: {users: 2, spawn_rate: 2, run_time_s: 3}}
experiments: [{shape: 1cpu-2gb-1n, inter_op: [1, 2], slo: [%s]}]
"""


def test_a_new_row_is_in_verdicts_and_in_every_report(project: Project) -> None:
    project.monkeypatch.setitem(METRICS, SPREAD.name, SPREAD)
    planted.instead_of_load(project)
    project.write(EXPERIMENT % '"spread<0.1ms"')

    run, (result, _) = project.results(
        "--junit-xml=out.xml", "--tfserving-html=out.html", "--tfserving-markdown=out.md"
    )

    run.assert_outcomes(failed=2)
    run.stdout.fnmatch_lines(["*FAIL * spread<0.1ms: spread is * ms, * above the limit*"])
    run.stdout.fnmatch_lines(["* eff. spread verdict"])
    spread_ms = result["metrics"]["spread_ms"]
    assert spread_ms == pytest.approx(result["metrics"]["p99_ms"] - result["metrics"]["p50_ms"])
    folder = project.pytester.path
    assert 'name="spread_ms"' in (folder / "out.xml").read_text()
    assert "| spread ms |" in (folder / "out.md").read_text()
    assert ">spread<" in (folder / "out.html").read_text()


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_has_an_slo(metric: Metric) -> None:
    assert metric_of(metric.name) is metric
    assert metric.units


def test_a_percentile_that_results_do_not_keep_is_a_metric() -> None:
    assert metric_of("p97.5").key == "p97_5_ms"


@pytest.mark.parametrize("name", ["p95_ms", "latency", "p100", "p0", ""])
def test_other_names_are_errors(name: str) -> None:
    with pytest.raises(ConfigurationError, match="p95"):
        metric_of(name)
