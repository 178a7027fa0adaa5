"""Whatever a server does wrong: FAIL with the cause named, never a hang, never PASS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness import LONG_ENOUGH

if TYPE_CHECKING:
    from harness import Project

pytestmark = pytest.mark.needs("long-runs")


def test_a_good_server_passes(project: Project) -> None:
    run, (result,) = project.results(*LONG_ENOUGH)

    run.assert_outcomes(passed=1)
    assert result["verdict"] == "PASS"
    assert result["errors"] == {}
    assert result["metrics"]["requests"] > 50


@pytest.mark.parametrize("after", [0, 40], ids=["from the start", "in mid-load"])
@pytest.mark.parametrize(
    ("mode", "cause"),
    [
        ("http500", "HTTP 500: out of cheese"),
        ("not_json", "the response is not JSON"),
        ("half", "*"),
        ("close", "*"),
        ("nothing", "no response *"),
        ("die", "replica 0 exited with code 9 (fatal: the fake server dies now)"),
    ],
)
def test_a_bad_server_fails_with_its_cause(project: Project, mode: str, cause: str, after: int) -> None:
    project.behave(mode=mode, after=after)

    run, (result,) = project.results("--tfserving-run-time=10")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([f"FAIL: *{cause}*", "1cpu-1gb-1n-interop1 on local: FAIL"])
    assert result["verdict"] == "FAIL"
    assert result["aborted"]
    run.stdout.no_fnmatch_line("*Traceback*")


def test_another_shape_is_named_in_mid_load(project: Project) -> None:
    """From the start it is the shape that the model has, as far as anyone can tell."""
    project.behave(mode="wrong_shape", after=40)

    _, (result,) = project.results("--tfserving-run-time=10")

    assert result["verdict"] == "FAIL"
    assert "the response's shape is [3, 2], not [3]" in result["aborted"]


def test_half_an_answer_is_named_in_mid_load(project: Project) -> None:
    project.behave(mode="half", after=40)

    _, (result,) = project.results("--tfserving-run-time=10")

    assert "connection closed after half a response" in result["aborted"]


def test_rows_that_do_not_come_back_are_named(project: Project) -> None:
    project.behave(mode="missing_row")

    project.run().stdout.fnmatch_lines(["*FAIL: a first request to * failed: 2 rows came back for 3*"])


def test_a_few_errors_fail_the_default_slo(project: Project) -> None:
    project.write(tests='def test_gate(load):\n    load(max_failure_ratio=0.9, run_time_s=3).check("rps")\n')
    project.behave(mode="http500", after=20, every=3)

    run, (result,) = project.results()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*FAIL*errors<1%: errors is*above the limit*", "*x HTTP 500: out of cheese*"])
    assert result["errors"].keys() == {"HTTP 500: out of cheese"}


def test_the_servers_log_is_shown_when_it_fails(project: Project) -> None:
    project.behave(mode="die", after=40)

    run = project.run("--tfserving-run-time=10")

    run.stdout.fnmatch_lines(
        ["*log of replica 0*", "flags: *--tensorflow_intra_op_parallelism=1*", "fatal: *"]
    )


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ({"start": "exit"}, "replica 0 exited with code 3 (error: cannot find the cheese)"),
        (
            {"start": "hog"},
            "replica 0 used * GB of RAM, more than its node's 1 GB, and was stopped as out of memory",
        ),
        (
            {"state": "END", "state_error": "no graph"},
            "the model at http://127.0.0.1:*/v1/models/half did not load: no graph",
        ),
        (
            {"start": "silent"},
            "the model at * was not AVAILABLE after 2 s (last: no response); raise --tfserving-ready-*",
        ),
    ],
    ids=["exits", "out of memory", "does not load", "silent"],
)
def test_a_server_that_does_not_become_ready_is_named(
    project: Project, how: dict[str, Any], cause: str
) -> None:
    project.behave(**how)
    timeout = "2" if how.get("start") == "silent" else "30"
    hog = ["--tfserving-run-time=20"] if how.get("start") == "hog" else []

    run, (result,) = project.results(f"--tfserving-ready-timeout={timeout}", *hog)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([f"*{cause}*"])
    assert result["verdict"] == "FAIL"


def test_one_failed_deployment_is_not_tried_again(project: Project) -> None:
    project.behave(start="exit")
    project.write(tests="def test_one(load):\n    load()\n\ndef test_two(load):\n    load()\n")

    run, results = project.results()

    run.assert_outcomes(failed=2)
    assert len(results) == 1
