"""``--tfserving-compare-fail``: limits on changes that fail the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import stored_sessions

if TYPE_CHECKING:
    from harness import Project


def test_a_change_that_is_proved_fails_the_session(project: Project) -> None:
    stored_sessions.saved(project, p50_ms=300.0)
    stored_sessions.measure(project, p50_ms=330.0)

    run = project.run("--tfserving-compare=main", "--tfserving-compare-fail=p95:5%", "--junit-xml=out.xml")

    run.assert_outcomes(passed=1)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    said = "1cpu-1gb-1n-interop1: FAIL: p95:5%: worse: p95 +10 % [[]+*, +1*[]], +5 % is allowed; *"
    run.stdout.fnmatch_lines([said, f"tfserving: {said}"])
    xml = (project.pytester.path / "out.xml").read_text(encoding="utf-8")
    assert 'classname="pytest-tfserving" name="session"' in xml
    assert "FAIL: p95:5%: worse" in xml


def test_a_change_within_the_limit_passes(project: Project) -> None:
    stored_sessions.saved(project, p50_ms=300.0)
    stored_sessions.measure(project, p50_ms=303.0)

    run, comparison = stored_sessions.comparison(
        project, "--tfserving-compare=main", "--tfserving-compare-fail=p95:5%"
    )

    assert run.ret == pytest.ExitCode.OK
    (limit,) = comparison["limits"]
    assert limit["verdict"] == "PASS"
    assert limit["reason"].startswith("not worse than +5 %: p95 +1.0 % [")


@pytest.mark.parametrize(
    ("inconclusive", "status"), [("warn", pytest.ExitCode.OK), ("fail", pytest.ExitCode.TESTS_FAILED)]
)
def test_what_cannot_be_told_is_inconclusive(project: Project, inconclusive: str, status: int) -> None:
    stored_sessions.saved(project, rps=1.0, p50_ms=300.0)
    stored_sessions.measure(project, rps=1.0, p50_ms=318.0)

    run, comparison = stored_sessions.comparison(
        project,
        "--tfserving-compare=main",
        "--tfserving-compare-fail=p95:5%",
        f"--tfserving-inconclusive={inconclusive}",
    )

    assert run.ret == status
    (limit,) = comparison["limits"]
    assert limit["verdict"] == "INCONCLUSIVE"
    assert limit["reason"].startswith("cannot tell whether it is worse than +5 %: p95 +6.0 % [")
    assert "; this comparison could have seen " in limit["reason"]


def test_a_rate_is_worse_when_it_falls(project: Project) -> None:
    stored_sessions.saved(project, rps=100.0)
    stored_sessions.measure(project, rps=80.0)

    run = project.run(
        "--tfserving-compare=main", "--tfserving-compare-fail=rps:3%", "--tfserving-compare-fail=p95:5%"
    )

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines(["tfserving: *: FAIL: rps:3%: worse: rps -20 % [[]*[]], -3 % is allowed; *"])


def test_errors_are_limited_by_their_difference(project: Project) -> None:
    stored_sessions.saved(project, errors={})
    stored_sessions.measure(
        project,
        errors={"HTTP 500": 400},
        intervals={"error_rate": (0.045, 0.056)},
        n_eff={"error_rate": 7000},
    )

    run = project.run("--tfserving-compare=main", "--tfserving-compare-fail=errors:1%")

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines(
        ["tfserving: *FAIL: errors:1%: worse: errors +5.1 points [[]*[]], +1 points is*"]
    )


def test_a_refused_comparison_never_passes(project: Project) -> None:
    stored_sessions.saved(project)
    stored_sessions.change(project, "model", "0" * 64, "identity")

    run = project.run("--tfserving-compare=main", "--tfserving-compare-fail=p95:5%")

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines(["tfserving: *NOT JUDGED: p95:5%: not compared: model was 00000000, is *"])


def test_nothing_to_compare_never_passes(project: Project) -> None:
    stored_sessions.saved(project)
    stored_sessions.change(project, "experiment", "another")

    run = project.run("--tfserving-compare=main", "--tfserving-compare-fail=p95:5%")

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines(
        ["tfserving: --tfserving-compare-fail: NOT JUDGED: main (*) has none of these *"]
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("p95", "'p95' is not METRIC:CHANGE; write it as p95:5%."),
        ("p95:5", "'p95:5' is not METRIC:CHANGE; write it as p95:5%."),
        ("p59x:5%", "'p59x' is not a metric; *valid: rps, *"),
        ("max:5%", "'max:5%': results have no interval of max; valid: rps, *"),
    ],
)
def test_a_limit_that_is_none_is_refused(project: Project, given: str, said: str) -> None:
    run = project.run("--tfserving-compare=main", f"--tfserving-compare-fail={given}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*--tfserving-compare-fail: {said}"])


def test_it_needs_a_run_to_compare_with(project: Project) -> None:
    run = project.run("--tfserving-compare-fail=p95:5%")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["*--tfserving-compare-fail needs --tfserving-compare, the run to compare with."]
    )
