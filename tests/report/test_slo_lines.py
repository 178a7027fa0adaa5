"""SLOs in one line each, on the terminal and at the head of a failure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from harness import EXPERIMENTS
from pytest_tfserving.report.slo_lines import headline, margin_text
from pytest_tfserving.slo.language import Judgement, Slo, Verdict

if TYPE_CHECKING:
    from harness import Project


@pytest.mark.parametrize(
    ("slo", "value", "margin"),
    [
        ("p95<200ms", 150.0, "25 % below"),
        ("p95<200ms", 210.0, "5 % above"),
        ("p95<200ms", 1218.0, "6.1 x"),
        ("rps>=120", 30.0, "75 % below"),
        ("errors<1%", 0.0, "100 % below"),
        ("errors<=0%", 2.0, ""),
        ("p95<=+5%", 2.5, "2.5 points below"),
        ("p95<200ms", math.nan, ""),
    ],
)
def test_a_margin_is_a_share_of_the_limit_or_a_factor(slo: str, value: float, margin: str) -> None:
    assert margin_text(Slo.parse(slo), value) == margin


def judgement(slo: str, verdict: Verdict, value: float) -> Judgement:
    return Judgement(Slo.parse(slo), verdict, value, "")


@pytest.mark.parametrize(
    ("judgements", "text"),
    [
        ([judgement("p95<0.2ms", Verdict.FAIL, 1.218)], "p95 is 1.218 ms, limit 0.2 ms (6.1 x)"),
        ([judgement("rps>=120", Verdict.FAIL, 90.0)], "rps is 90/s, limit 120/s (-25 %)"),
        ([judgement("p95<=+5%", Verdict.FAIL, 9.2)], "p95 changed by +9.2 %, limit +5 %"),
        (
            [
                judgement("rps>=120", Verdict.INVALID, 90.0),
                judgement("p95<200ms", Verdict.FAIL, 412.3),
                judgement("p99<300ms", Verdict.FAIL, 500.0),
            ],
            "p95 is 412.3 ms, limit 200 ms (2.1 x), and 1 more",
        ),
        ([judgement("p95<200ms", Verdict.INVALID, 190.0)], "p95 is 190 ms, limit 200 ms, INVALID"),
        ([judgement("p95<200ms", Verdict.FAIL, math.nan)], "p95 is -, limit 200 ms"),
    ],
)
def test_a_headline_has_the_worst_figure_and_its_limit(judgements: list[Judgement], text: str) -> None:
    assert headline(judgements) == text


def test_a_pass_shows_each_slo_with_value_limit_and_margin_aligned(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(EXPERIMENTS.replace('["rps>=1"]', '["rps>=1", "p95<1000ms"]'))

    run = project.run()

    row = next(at for at, line in enumerate(run.outlines) if line.endswith(" PASS"))
    lines = [line for line in run.outlines[row:] if line.startswith("  PASS ")]
    assert [line.split()[1] for line in lines] == ["rps>=1", "p95<1000ms", "errors<1%"]
    assert len({line.index("limit") + len(line[line.index("limit") :].split("  ")[0]) for line in lines}) == 1
    assert lines[1].split()[4:] == ["limit", "1000", "ms", *lines[1].split()[7:]]
    assert lines[1].endswith(" % below")
    assert all(len(line) <= 80 for line in lines)


def test_the_last_line_of_a_failure_begins_with_the_figure(project: Project) -> None:
    planted.instead_of_load(project)
    project.monkeypatch.setenv("CI", "1")
    project.write(EXPERIMENTS.replace('["rps>=1"]', '["p95<1ms"]\n    name: hopeless'))

    run = project.run("-rf")

    line = next(line for line in run.outlines if line.startswith("FAILED "))
    assert line.startswith("FAILED test_perf.py::test_gate[hopeless] - p95 is ")
    assert " ms, limit 1 ms (" in line
    assert len(line) <= 80
    assert sum("hopeless on local: FAIL" in line for line in run.outlines) == 1


def test_a_run_without_a_request_shows_no_figures(project: Project) -> None:
    planted.instead_of_load(project, lambda _: {"aborted": "replica 0 exited with code 9", "rps": 0.0})

    run = project.run("-rf")

    run.stdout.fnmatch_lines(["1cpu-1gb-1n-interop1 * - * - * FAIL", "FAILED * - FAIL: replica 0 exited*"])
    run.stdout.no_fnmatch_line("*limit*")
    row = next(line for line in run.outlines if line.startswith("1cpu-1gb-1n-interop1  "))
    assert set(row.split()[1:-1]) == {"-"}
