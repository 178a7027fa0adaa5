"""The exit code never contradicts the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

import planted_results as planted
from harness import EXPERIMENTS

if TYPE_CHECKING:
    from harness import Project
    from pytest_tfserving.experiments.load_profile import LoadProfile

MISSED = EXPERIMENTS.replace('["rps>=1"]', '["rps>=1", "p95<1ms"]')
NAME = "1cpu-1gb-1n-interop1"
# By name: tests that pass although the experiment misses an SLO.
GREEN = {
    "check is forgotten": "def test_it(load):\n    load()\n",
    "another metric is checked": 'def test_it(load):\n    load().check("rps")\n',
    "another figure is asserted on": "def test_it(load):\n    assert load().rps > 1\n",
    "the failure is caught": (
        "def test_it(load):\n    with pytest.raises(pytest.fail.Exception):\n        load().check()\n"
    ),
    "the session is ended with 0": (
        "def test_it(load):\n    load()\ndef test_end():\n    pytest.exit('enough', returncode=0)\n"
    ),
    "the missed SLO is a mark's": (
        '@pytest.mark.slo("mean<1us")\ndef test_it(load):\n    load().check("rps")\n'
    ),
}
# By name: tests of which one answers for the missed SLO, and what pytest's own exit code is.
ANSWERED = {
    "it fails": ("def test_it(load):\n    load().check()\n", 1),
    "another one fails": ("def test_it(load):\n    load()\ndef test_gate(load):\n    load().check()\n", 1),
    "it is expected": ("@pytest.mark.xfail(strict=True)\ndef test_it(load):\n    load().check()\n", 0),
    "it is reported only": (
        '@pytest.mark.slo("p50<1us", strict=False)\ndef test_it(load):\n    load().check()\n',
        0,
    ),
}

# By name: experiments, an option, and what fails a session whose only test passes.
FAILING = {
    "a verdict": (MISSED, "--tfserving-unjudged=warn", f"{NAME} is FAIL, and no test failed for that"),
    "a run that is not judged": (
        EXPERIMENTS,
        "--tfserving-unjudged=fail",
        f"{NAME}: load() ran, and no test called check()",
    ),
    "nothing judged": (
        EXPERIMENTS.replace('    slo: ["rps>=1"]\n', ""),
        "--tfserving-nothing-judged=fail",
        "NOT JUDGED: the only experiment was not judged",
    ),
}


@pytest.mark.parametrize("name", GREEN)
def test_a_failure_in_the_table_is_one_of_the_session(project: Project, name: str) -> None:
    planted.instead_of_load(project)
    project.write(MISSED, f"import pytest\n{GREEN[name]}")

    run = project.run()

    assert "failed" not in run.parseoutcomes()
    run.stdout.fnmatch_lines([f"{NAME} * FAIL"])
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert run.outlines[-1].startswith(
        f"tfserving: {NAME} is FAIL, and no test failed for that (test_perf.py::"
    )


@pytest.mark.parametrize("name", ANSWERED)
def test_a_failure_that_a_test_answers_for_is_said_once(project: Project, name: str) -> None:
    planted.instead_of_load(project)
    tests, status = ANSWERED[name]
    project.write(MISSED if "strict=False" not in tests else EXPERIMENTS, f"import pytest\n{tests}")

    run = project.run()

    assert run.ret == status
    run.stdout.no_fnmatch_line("*no test failed*")


@pytest.mark.parametrize(
    ("cause", "verdict"),
    [
        ({"aborted": "replica 0 exited with code 9"}, "FAIL"),
        ({"invalid": "the load generator was killed by signal 9"}, "INVALID"),
    ],
    ids=["aborted", "invalid"],
)
def test_a_spoilt_run_that_a_test_shrugs_off_fails_the_session(
    project: Project, cause: dict[str, Any], verdict: str
) -> None:
    def special(_: LoadProfile) -> dict[str, Any]:
        return cause

    planted.instead_of_load(project, special)
    project.write(
        tests="import pytest\ndef test_it(load):\n"
        "    with pytest.raises(pytest.fail.Exception):\n        load()\n"
    )

    run = project.run()

    run.assert_outcomes(passed=1)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert run.outlines[-1].startswith(
        f"tfserving: {NAME} is {verdict}, and no test failed for that (test_perf.py::"
    )


def test_workers_are_held_to_the_table_too(project: Project) -> None:
    planted.in_every_process(project.pytester, project.monkeypatch)
    project.write(MISSED, GREEN["check is forgotten"])

    run = project.run("-n", "1")

    run.assert_outcomes(passed=1, warnings=1)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert run.outlines[-1].startswith(
        f"tfserving: {NAME} is FAIL, and no test failed for that (test_perf.py::"
    )


@pytest.mark.parametrize(
    ("name", "workers"),
    [*((name, ()) for name in FAILING), ("a verdict", ("-n", "1"))],
    ids=[*FAILING, "a verdict, xdist"],
)
def test_junit_has_a_failure_where_only_the_exit_code_has_one(
    project: Project, name: str, workers: tuple[str, ...]
) -> None:
    if workers:
        planted.in_every_process(project.pytester, project.monkeypatch)
    else:
        planted.instead_of_load(project)
    experiments, option, said = FAILING[name]
    project.write(experiments, GREEN["check is forgotten"])

    run = project.run("--junit-xml=out.xml", option, *workers)

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    (suite,) = ET.parse(project.pytester.path / "out.xml").getroot()
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("2", "1")
    passed, failed = suite.iter("testcase")
    assert passed.find("failure") is None
    assert (failed.attrib["classname"], failed.attrib["name"]) == ("pytest-tfserving", "session")
    (failure,) = failed
    assert failure.attrib["message"].startswith(said)
    assert failure.text == failure.attrib["message"]


def test_a_session_that_agrees_with_its_table_ends_with_pytests_own_line(project: Project) -> None:
    planted.instead_of_load(project)

    run = project.run()

    assert run.ret == pytest.ExitCode.OK
    assert "1 passed" in run.outlines[-1]


def test_a_run_is_named_as_in_the_table(project: Project) -> None:
    planted.instead_of_load(project, lambda profile: {"p50_ms": 300.0 * profile.users})
    calls = "".join(f"    load(users={users}, spawn_rate=8).check('rps')\n" for users in (1, 8))
    project.write(EXPERIMENTS.replace('["rps>=1"]', '["rps>=1", "p95<1s"]'), f"def test_gate(load):\n{calls}")

    run = project.run()

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines([f"tfserving: {NAME} (*users 8*) is FAIL, and no test failed for that (*)"])
    run.stdout.no_fnmatch_line(f"tfserving: {NAME} (*users 1*")
