"""What a verdict does to a test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import planted_results as planted
from harness import LONG_ENOUGH, RESULT
from pytest_tfserving.load.generator.health import limited_by_generator
from pytest_tfserving.load.result import Generator, verdict_of
from pytest_tfserving.slo.language import Verdict

if TYPE_CHECKING:
    from harness import Project

EXPERIMENT = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.01, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, %s}
"""


def test_an_impossible_threshold_fails_by_how_much(project: Project) -> None:
    project.decide_soon()
    project.write(EXPERIMENT % 'slo: ["rps>=100000", "errors<50%"]')

    run, (result,) = project.results(*LONG_ENOUGH)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        [
            "1cpu-1gb-1n-interop1 on local: FAIL",
            "*FAIL*rps>=100000: rps is */s, 9*/s below the limit (-9?.? %); hopeless after *",
            "*PASS*errors<50%: errors is 0%*",
            "*requests in a window of * s from * s on, 2 users",
        ]
    )
    assert result["verdict"] == "FAIL"
    assert [slo["verdict"] for slo in result["slos"]] == ["FAIL", "PASS"]


def test_a_trivial_threshold_passes(project: Project) -> None:
    project.decide_soon()
    project.write(EXPERIMENT % 'slo: ["rps>=1", "p95<10s", "errors<50%"]')

    run, (result,) = project.results(*LONG_ENOUGH)

    run.assert_outcomes(passed=1)
    assert result["verdict"] == "PASS"


def test_without_an_slo_it_is_measured_but_not_judged(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(EXPERIMENT % "intra_op: 1")

    run, (result,) = project.results()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(
        ["SKIPPED * test_perf.py:*: NOT JUDGED: no SLO on target 'local'; measured * rps, p95 * ms"]
    )
    assert result["verdict"] == "NOT JUDGED"
    assert result["metrics"]["rps"] > 1


def test_an_slo_for_another_target_does_not_count(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(EXPERIMENT % 'slo: {url: ["rps>=1"]}')

    project.run().assert_outcomes(skipped=1)


def test_asking_for_a_metric_without_an_slo_is_not_judged(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(EXPERIMENT % 'slo: ["rps>=1"]', 'def test_p95(load):\n    load().check("p95")\n')

    run = project.run()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(["*NOT JUDGED: no SLO for p95 on target 'local'*"])


def test_asking_for_what_is_no_metric_is_named(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(tests='def test_p95(load):\n    load().check("p59 ms")\n')

    run = project.run()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["check(): 'p59 ms' is not a metric; *valid: rps, p50, *"])
    run.stdout.no_fnmatch_line("*During handling*")


def test_a_plain_assertion_reads_the_slo(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(
        EXPERIMENT % 'slo: ["rps>=100000"]',
        "def test_rps(experiment, load):\n    assert load().rps >= experiment.slo.min_rps\n"
        "def test_p95(experiment, load):\n    assert load().p95_ms <= experiment.slo.max_p95_ms\n",
    )

    run = project.run()

    run.assert_outcomes(failed=1, skipped=1)
    run.stdout.fnmatch_lines(["*assert * >= 100000.0", "*NOT JUDGED: * has no absolute SLO for p95"])


def test_a_mark_adds_slos(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(
        EXPERIMENT % 'slo: ["rps>=1"]',
        "import pytest\n"
        '@pytest.mark.slo("p95<0.001ms")\n'
        "def test_strict(load):\n    load().check()\n"
        '@pytest.mark.slo("p95<0.001ms", strict=False)\n'
        "def test_reported(load):\n    load().check()\n",
    )

    run, (result,) = project.results()

    run.assert_outcomes(failed=1, passed=1)
    assert {slo["strict"] for slo in result["slos"] if slo["slo"] == "p95<0.001ms"} == {True, False}


def test_a_relative_slo_is_not_judged_where_tensorflow_cannot_tell(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(EXPERIMENT % "slo: [efficiency>=1%]")

    run = project.run()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(["*NOT JUDGED: efficiency>=1%: the in-process baseline was not measured here*"])


@pytest.mark.parametrize(
    ("generator", "cause"),
    [
        (Generator(0.95, 0.1), "the load generator, not the server, was the limit: it used 95 % of its core"),
        (Generator(0.5, 60.0, wait=0.5), ""),
    ],
)
def test_a_generator_that_was_the_limit_is_found_out(generator: Generator, cause: str) -> None:
    found = limited_by_generator(replace(RESULT, generator=generator))

    assert cause in found
    assert bool(cause) == bool(found)


def test_runs_with_equal_arguments_are_one_run(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(
        EXPERIMENT % 'slo: ["rps>=1"]',
        "def test_one(load):\n    load().check()\n"
        "def test_two(load):\n    assert load() is not None\n"
        "def test_other(load):\n    load(users=1).check()\n",
    )

    run, results = project.results()

    run.assert_outcomes(passed=3)
    assert sorted(result["users"] for result in results) == [1, 2]


def test_results_carry_their_environment(project: Project) -> None:
    _, (result,) = project.results()

    facts = result["environment"]
    assert facts["machine"]["cores"] >= 1
    assert facts["versions"]["locust"]
    assert facts["server"] == str(project.server)
    assert result["via"] == "loopback, each replica's own port"


def test_errors_fail_even_where_the_question_is_not_judged(project: Project) -> None:
    project.write(
        EXPERIMENT % "slo: [efficiency>=1%]",
        'def test_gate(load):\n    load(max_failure_ratio=0.9).check("efficiency")\n',
    )
    project.behave(mode="http500", after=20, every=3)

    run = project.run()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*NOT JUDGED*efficiency>=1%*", "*FAIL*errors<1%*"])


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"aborted": "a", "invalid": "b"}, Verdict.FAIL),
        ({"invalid": "b", "incomplete": "c"}, Verdict.INVALID),
        ({"incomplete": "c"}, Verdict.INCONCLUSIVE),
        ({"not_judged": "d"}, Verdict.NOT_JUDGED),
        ({}, Verdict.NOT_JUDGED),
    ],
)
def test_what_spoils_a_result_decides_without_any_slo(changes: dict[str, Any], verdict: Verdict) -> None:
    assert verdict == verdict_of(replace(RESULT, **changes), [])


def test_a_run_whose_slos_are_only_reported_is_not_judged_in_every_report(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(
        EXPERIMENT % "intra_op: 1",
        'import pytest\n@pytest.mark.slo("p95<1ms", strict=False)\ndef test_it(load):\n    load().check()\n',
    )

    run, (result,) = project.results()

    run.assert_outcomes(skipped=1)
    assert result["verdict"] == "NOT JUDGED"
    assert [(slo["slo"], slo["strict"]) for slo in result["slos"]] == [("p95<1ms", False)]


def test_a_figure_that_may_not_be_doubtful_marks_its_run(project: Project) -> None:
    planted.instead_of_load(project, lambda _: {"intervals": {}})
    project.write(tests="def test_it(load):\n    assert load().p99_9_ms > 1\n")

    run, (result,) = project.results("--tfserving-inconclusive=fail")

    run.assert_outcomes(failed=1)
    assert result["verdict"] == "INCONCLUSIVE"
