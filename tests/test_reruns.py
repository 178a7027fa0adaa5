"""A test that is run again measures again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

import planted_results as planted
from harness import JUDGED_AT_ONCE, STEADY, TESTS

if TYPE_CHECKING:
    from harness import Project

NAME = "1cpu-1gb-1n-interop1"
RERUNS = ("--reruns=1",)
# Runs each test that fails once more, as plugins do that have their own way of it.
RUNS_AGAIN = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=item.parent, log=False)
    if any(report.failed for report in reports):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
# Judged after a run of any length.
LOOSE, TIGHT = "rps>=1", "p95<50ms"
TWO_TESTS = """
import pytest

@pytest.mark.slo({first!r})
def test_first(load):
    load().check()

@pytest.mark.slo({second!r})
def test_second(load):
    load().check()
"""


def dies_once(project: Project) -> None:
    """Let the first server die after a moment; those after it behave."""
    project.behave(mode="die", after=20, once=str(project.pytester.path / "died"))


def in_turn(project: Project, *runs: dict[str, Any]) -> list[int]:
    """Plant one result after the other; return a list that gets the number of each run of load."""
    numbers: list[int] = []
    waiting = itertools.count()

    def next_result(_: object) -> dict[str, Any]:
        numbers.append(next(waiting))
        return runs[min(numbers[-1], len(runs) - 1)]

    planted.instead_of_load(project, next_result)
    return numbers


@pytest.fixture(params=["rerunfailures", "another plugin"])
def again(request: pytest.FixtureRequest, project: Project) -> tuple[str, ...]:
    """Options that have tests run again."""
    if request.param == "rerunfailures":
        return RERUNS
    (project.pytester.path / "conftest.py").write_text(RUNS_AGAIN)
    return ()


def test_a_server_that_dies_is_replaced(project: Project, again: tuple[str, ...]) -> None:
    dies_once(project)
    project.write(JUDGED_AT_ONCE)

    run, (result,) = project.results(*again, "--tfserving-markdown=out.md")

    run.assert_outcomes(passed=1)
    assert result["verdict"] == "PASS"
    (before,) = result["earlier"]
    assert before.startswith("FAIL: replica 0 exited with code 9")
    told = "measured again for a test that was rerun; before: FAIL: replica 0 exited with code 9"
    run.stdout.fnmatch_lines([f"{NAME} * PASS", f"{NAME}: {told}*"])
    assert told in (project.pytester.path / "out.md").read_text()


@pytest.mark.parametrize("mode", ["http500", "close"])
def test_a_server_that_lives_on_but_fails_is_replaced(project: Project, mode: str) -> None:
    project.behave(mode=mode, after=20, once=str(project.pytester.path / "failed"))
    project.write(JUDGED_AT_ONCE)

    run, (result,) = project.results(*RERUNS)

    run.assert_outcomes(passed=1)
    assert result["verdict"] == "PASS"
    assert result["earlier"][0].startswith("FAIL: ")


def test_tests_that_share_a_run_share_the_new_one(project: Project, again: tuple[str, ...]) -> None:
    dies_once(project)
    project.write(JUDGED_AT_ONCE, TESTS + TESTS.replace("gate", "more"))

    run, (result,) = project.results(*again)

    run.assert_outcomes(passed=2)
    assert result["verdict"] == "PASS"
    assert len({slo["test"] for slo in result["slos"]}) == 2


def test_a_worker_measures_again(project: Project) -> None:
    dies_once(project)
    project.write(JUDGED_AT_ONCE)

    run, (result,) = project.results(*RERUNS, STEADY, "-n", "1")

    run.assert_outcomes(passed=1)
    assert result["verdict"] == "PASS"
    assert len(result["earlier"]) == 1


def test_a_server_that_did_not_start_is_started_again(project: Project, again: tuple[str, ...]) -> None:
    project.behave(start="exit", once=str(project.pytester.path / "died"))
    project.write(JUDGED_AT_ONCE, TESTS + "def test_serving(serving):\n    assert serving.endpoints\n")

    run, (result,) = project.results(*again)

    run.assert_outcomes(passed=2)
    assert result["verdict"] == "PASS"
    assert "exited with code 3" in result["earlier"][0]


def test_without_a_rerun_nothing_is_measured_again(project: Project) -> None:
    numbers = in_turn(project, {"p50_ms": 500.0}, {"p50_ms": 5.0})
    project.write(tests=TWO_TESTS.format(first=TIGHT, second=TIGHT))

    run, (result,) = project.results()

    run.assert_outcomes(failed=2)
    assert numbers == [0]
    assert result["earlier"] == []


def test_a_verdict_is_made_anew(project: Project, again: tuple[str, ...]) -> None:
    numbers = in_turn(project, {"p50_ms": 500.0}, {"p50_ms": 5.0})
    project.write(tests=TWO_TESTS.format(first=TIGHT, second=TIGHT))

    run, (result,) = project.results(*again)

    run.assert_outcomes(passed=2)
    assert numbers == [0, 1]
    assert result["verdict"] == "PASS"
    assert result["earlier"][0].startswith("FAIL: p95<50ms: p95 is ")


def test_a_run_that_another_test_rests_on_stays(project: Project, again: tuple[str, ...]) -> None:
    numbers = in_turn(
        project, {"p50_ms": 500.0}, {"p50_ms": 5.0, "started_at": "2026-04-01T10:00:00.000+00:00"}
    )
    project.write(tests=TWO_TESTS.format(first=LOOSE, second=TIGHT))

    run, results = project.results(*again)

    run.assert_outcomes(passed=2)
    assert numbers == [0, 1]
    assert [(each["label"], each["verdict"]) for each in results] == [
        (f"{NAME} (run 1)", "PASS"),
        (f"{NAME} (run 2)", "PASS"),
    ]
    assert [{slo["test"].split("[")[0] for slo in each["slos"]} for each in results] == [
        {"test_perf.py::test_first"},
        {"test_perf.py::test_second"},
    ]
    assert results[1]["earlier"][0].startswith("FAIL: p95<50ms: ")


def test_a_failure_that_stays_is_a_failure(project: Project, again: tuple[str, ...]) -> None:
    numbers = in_turn(project, {"p50_ms": 500.0})

    project.write(tests=TWO_TESTS.format(first=TIGHT, second=LOOSE))
    run, (result,) = project.results(*again)

    run.assert_outcomes(failed=1, passed=1)
    assert numbers == [0, 1]
    assert result["verdict"] == "FAIL"


def test_what_a_rerun_does_not_measure_again_is_kept(project: Project, again: tuple[str, ...]) -> None:
    numbers = in_turn(project, {"p50_ms": 5.0})
    project.write(
        tests="from pathlib import Path\n"
        "def test_gate(load):\n"
        "    load().check()\n"
        "    if not Path('done').exists():\n"
        "        Path('done').touch()\n"
        "        load(users=1).check()\n"
        "        raise AssertionError\n"
    )

    run, results = project.results(*again)

    run.assert_outcomes(passed=1)
    assert numbers == [0, 1, 2]
    assert [each["users"] for each in results] == [1, 2]


def test_last_failed_measures_again(project: Project) -> None:
    numbers = in_turn(project, {"p50_ms": 500.0}, {"p50_ms": 5.0})
    project.write(tests=TWO_TESTS.format(first=TIGHT, second=LOOSE))

    project.run().assert_outcomes(failed=1, passed=1)
    project.run("--last-failed").assert_outcomes(passed=1)

    assert numbers == [0, 1]


def test_junit_has_the_run_that_counts_and_the_one_before(project: Project) -> None:
    from xml.etree import ElementTree as ET

    in_turn(project, {"p50_ms": 500.0}, {"p50_ms": 5.0})
    project.write(
        tests=f"import pytest\n@pytest.mark.slo({TIGHT!r})\ndef test_gate(load):\n    load().check()\n"
    )

    project.run(*RERUNS, "--junit-xml=out.xml").assert_outcomes(passed=1)

    found = {
        each.attrib["name"]: each.attrib["value"]
        for case in ET.parse(project.pytester.path / "out.xml").getroot().iter("testcase")
        for each in case.iter("property")
    }
    assert found["verdict"] == "PASS"
    assert found["run 1: verdict"] == "FAIL"
