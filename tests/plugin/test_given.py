"""Figures that a test reads: they are those of the run, and those that rest on too little say so."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import planted_results as planted
from harness import EXPERIMENTS, RESULT
from pytest_tfserving.load.result import CpuUse, Result
from pytest_tfserving.measurement.search import SearchResult, Trial
from pytest_tfserving.plugin.given import GivenResult, GivenSearchResult, too_little
from pytest_tfserving.slo.language import Decision, Slo, Undecided
from pytest_tfserving.statistics.latencies import Latencies

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Project
    from pytest_tfserving.experiments.load_profile import LoadProfile

NINETY = replace(RESULT, latencies=Latencies.of(np.arange(1.0, 91.0)), errors={}, baseline=None)
MANY = replace(
    RESULT,
    latencies=Latencies.of(np.arange(1.0, 5001.0)),
    intervals={"rps": (1.0, 2.0), "mean_ms": (1.0, 2.0), "p50_ms": (1.0, 2.0), "p99_9_ms": (1.0, 2.0)},
)
READ: dict[str, Callable[[Result], object]] = {
    "rps": lambda result: result.rps,
    "p95_ms": lambda result: result.p95_ms,
    "p99_9_ms": lambda result: result.p99_9_ms,
    "mean_ms": lambda result: result.mean_ms,
    "errors": lambda result: result.errors,
    "error_rate": lambda result: result.error_rate,
    "latencies_ms": lambda result: len(result.latencies_ms),
    "p97.5": lambda result: result.percentile_ms(97.5),
    "efficiency": lambda result: result.metric("efficiency"),
    "judge": lambda result: [str(each) for each in result.judge([Slo.parse("rps>=1")])],
}


@pytest.mark.parametrize("figure", READ)
def test_a_figure_that_is_read_is_that_of_the_run_and_is_reported(figure: str) -> None:
    seen: list[str] = []
    given = GivenResult.reporting(RESULT, lambda figure, _: seen.append(figure))

    assert READ[figure](given) == READ[figure](RESULT)
    assert seen == [figure]


def test_what_is_no_figure_is_not_reported() -> None:
    seen: list[str] = []
    given = GivenResult.reporting(RESULT, lambda figure, _: seen.append(figure))

    assert isinstance(given, Result)
    assert repr(given) == repr(RESULT)
    assert (given.users, given.experiment, given.window) == (1, "e", RESULT.window)
    assert not seen


def test_a_copy_has_the_same_figures() -> None:
    given = GivenResult.reporting(RESULT, lambda *_: None)

    assert replace(given, users=3).p95_ms == RESULT.p95_ms
    assert replace(given, users=3).percentile_ms(75) == RESULT.percentile_ms(75)
    assert copy.copy(given).rps == RESULT.rps


def test_percentiles_of_the_latencies_are_reported_too() -> None:
    seen: list[tuple[str, bool]] = []
    given = GivenResult.reporting(RESULT, lambda figure, why: seen.append((figure, bool(why))))

    assert given.latencies.percentile_ms(99.99) == RESULT.latencies.percentile_ms(99.99)
    assert given.latencies.named_percentiles()["p50_ms"] == RESULT.p50_ms
    assert [figure for figure, _ in seen if figure != "latencies"] == [
        "latencies, p99.99",
        "latencies.p50_ms",
    ]
    assert ("latencies, p99.99", True) in seen


def test_what_a_search_found_is_reported_likewise() -> None:
    seen: list[str] = []
    found = SearchResult(4.0, confirmed=True, probes=(Trial(4.0, holds=True),))

    given = GivenSearchResult.reporting(found, lambda figure, _: seen.append(figure))

    assert (given.knee, given.confirmed, given.table()) == (4.0, True, found.table())
    assert str(given) == str(found)
    assert seen[:3] == ["knee", "confirmed", "table"]


@pytest.mark.parametrize(
    ("result", "figure", "said"),
    [
        (NINETY, "p99_9_ms", "90 requests are too few for p99.9, it needs 1000"),
        (NINETY, "p99.5", "90 requests are too few for p99.5, it needs 200"),
        (NINETY, "p95_ms", "90 requests in a window of 10.0 s are too few to tell how far off p95 is"),
        (NINETY, "rps", "90 requests in a window of 10.0 s are too few to tell how far off rps is"),
        (NINETY, "error_rate", "90 requests in a window of 10.0 s are too few to tell how far off errors is"),
        (NINETY, "efficiency", "it is not known: the in-process baseline was not measured here"),
        (
            replace(NINETY, cpu=CpuUse(unknown="target url cannot see the server's CPU")),
            "cpu_per_request_ms",
            "it is not known: target url cannot see the server's CPU",
        ),
        (
            replace(RESULT, latencies=Latencies.of(np.empty(0))),
            "p50_ms",
            "it is not known: no request succeeded in the window",
        ),
        (
            replace(
                MANY,
                slos=(Slo.parse("p50<1s"),),
                undecided={"p50<1s": Undecided(alpha=0.01, more_s=5.0)},
            ),
            "p50_ms",
            "INCONCLUSIVE: p50<1s: p50 is 2.5 s, *",
        ),
    ],
)
def test_a_figure_that_rests_on_too_little_says_why(result: Result, figure: str, said: str) -> None:
    pytest.LineMatcher([too_little(result, figure)]).fnmatch_lines([said])


@pytest.mark.parametrize(
    ("result", "figure"),
    [
        (MANY, "rps"),
        (MANY, "p99_9_ms"),
        (MANY, "p97.5"),
        (NINETY, "max_ms"),
        (NINETY, "latencies_ms"),
        (NINETY, "judge"),
        (RESULT, "error_rate"),
        (
            replace(
                NINETY,
                slos=(Slo.parse("p95<1s"),),
                decided={"p95<1s": Decision(holds=True, alpha=0.01, after_s=5.0, at_s=6.0, n_eff=60.0)},
            ),
            "p95_ms",
        ),
    ],
)
def test_a_figure_that_rests_on_enough_says_nothing(result: Result, figure: str) -> None:
    assert not too_little(result, figure)


def few_requests(_: LoadProfile) -> dict[str, Any]:
    """Return what a run that was stopped early would have measured: an SLO is decided, hardly more."""
    decided = Decision(holds=True, alpha=0.01, after_s=5.0, at_s=6.0, n_eff=60.0)
    latencies = Latencies.of(np.arange(1.0, 91.0))
    return {"latencies": latencies, "intervals": {}, "n_eff": {}, "decided": {"p95<10s": decided}}


DECIDED = EXPERIMENTS.replace('["rps>=1"]', '["p95<10s"]')


def test_an_assertion_on_too_little_is_a_warning_at_its_line(project: Project) -> None:
    planted.instead_of_load(project, few_requests)
    project.write(
        DECIDED,
        "def test_decided(load):\n    assert load().p95_ms <= 10_000\n"
        "def test_tail(load):\n    result = load()\n    assert result.p99_9_ms < 1e6\n"
        "    assert result.p99_9_ms\n"
        "def test_any(load):\n    assert load().percentile_ms(99.9) < 1e6\n",
    )

    run = project.run()

    run.assert_outcomes(passed=3, warnings=2)
    run.stdout.fnmatch_lines(
        [
            "*test_perf.py:5: TFServingWarning: 1cpu-1gb-1n-interop1 on local: p99_9_ms: "
            "90 requests are too few for p99.9, it needs 1000",
            "*test_perf.py:8: TFServingWarning: * p99.9: 90 requests are too few for p99.9, it needs 1000",
        ]
    )


def test_a_warning_of_check_is_at_the_line_that_calls_it(project: Project) -> None:
    planted.instead_of_load(project, few_requests)
    project.write(
        DECIDED,
        "import pytest\npytestmark = pytest.mark.slo('p99.9<10s')\n"
        "def test_it(load):\n    result = load()\n    result.check()\n"
        "def judge(result):\n    result.check('p99.9')\n"
        "def test_by_a_helper(load):\n    judge(load())\n",
    )

    run = project.run()

    run.assert_outcomes(passed=2)
    run.stdout.fnmatch_lines(
        [
            "*test_perf.py:5: TFServingWarning: 1cpu-1gb-1n-interop1: INCONCLUSIVE: p99.9<10s: *",
            "*test_perf.py:7: TFServingWarning: 1cpu-1gb-1n-interop1: INCONCLUSIVE: p99.9<10s: *",
        ]
    )


def test_where_inconclusive_fails_so_does_a_figure_on_too_little(project: Project) -> None:
    planted.instead_of_load(project, few_requests)
    project.write(
        DECIDED,
        "def test_tail(load):\n    assert load().p99_9_ms < 1e6\n"
        "def test_decided(load):\n    assert load().p95_ms < 1e6\n",
    )

    run = project.run("--tfserving-inconclusive=fail")

    run.assert_outcomes(failed=1, passed=1)
    run.stdout.fnmatch_lines(["*p99_9_ms: 90 requests are too few for p99.9, it needs 1000"])
    run.stdout.no_fnmatch_line("*given.py*")


def test_a_relative_figure_that_is_not_known_says_so_before_it_is_compared(project: Project) -> None:
    """A comparison with what is not a number is false, and its opposite passes."""
    planted.instead_of_load(project)
    project.write(tests="def test_it(load):\n    assert not load().efficiency < 0.8\n")

    run = project.run()

    run.assert_outcomes(passed=1, warnings=1)
    run.stdout.fnmatch_lines(["*efficiency: it is not known: the in-process baseline was not measured*"])


def staged(_: LoadProfile) -> dict[str, Any]:
    """Return what a run in two stages could have measured, the second one of 90 requests."""
    row = {"start_s": 0.0, "end_s": 10.0, "level": 1.0, "requests": 5000, "errors": 0, "p99_9_ms": 50.0}
    stages = [row, {**row, "requests": 95, "errors": 5, "p50_ms": 5.0}]
    alternatives = {"from_send": {"p99_9_ms": 5.0, "intervals": {}, "n_eff": {}}}
    return {
        "stages": [{**each, "rps": 1.0, "intervals": {}, "n_eff": {}} for each in stages],
        "alternatives": alternatives,
    }


def test_a_percentile_of_a_part_of_the_run_says_so_too(project: Project) -> None:
    planted.instead_of_load(project, staged)
    project.write(
        tests="from dataclasses import asdict\n"
        "def test_it(load):\n"
        "    first, second = load().stages\n"
        "    assert first['p99_9_ms'] < 60\n"
        "    assert second['p50_ms'] < 60 and second['level'] == 1\n"
        "    assert second['p99_9_ms'] < 60\n"
        "    assert load().alternatives['from_send'].get('p99_9_ms') < 60\n"
        "    assert asdict(load())['stages'][0]['requests'] == 5000\n"
    )

    run = project.run()

    run.assert_outcomes(passed=1, warnings=1)
    run.stdout.fnmatch_lines(
        ["*test_perf.py:6: *: stages[[]1[]].p99_9_ms: 90 requests are too few for p99.9, it needs 1000"]
    )
