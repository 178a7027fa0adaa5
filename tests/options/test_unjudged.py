"""``--tfserving-unjudged``: a run of load that no test judges."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from harness import EXPERIMENTS

if TYPE_CHECKING:
    from harness import Project

FORGOTTEN = "def test_forgets(load):\n    load()\n"
# By name: tests that judge each of their runs.
JUDGING = {
    "check": "def test_it(load):\n    load().check()\n",
    "check of one metric": 'def test_it(load):\n    load().check("rps")\n',
    "another test that shares the run": f"{FORGOTTEN}def test_gate(load):\n    load().check()\n",
    "a figure": "def test_it(load):\n    assert load().rps > 1\n",
    "a percentile": "def test_it(load):\n    assert load().percentile_ms(75) < 1e6\n",
    "failed requests": "def test_it(load):\n    assert not load().errors\n",
    "a figure read by a helper": (
        "def is_fast(result):\n    return result.p50_ms < 1e6\n"
        "def test_it(load):\n    assert is_fast(load())\n"
    ),
    "a result of a fixture": (
        "import pytest\n@pytest.fixture\ndef result(load):\n    return load()\n"
        "def test_it(result):\n    assert result.mean_ms < 1e6\n"
    ),
    "a test that fails before": f"{FORGOTTEN}    assert False\n",
    "a test that skips itself before": f"import pytest\n{FORGOTTEN}    pytest.skip('later')\n",
    "what a search found": ('def test_it(load):\n    assert load.max_rps("rps>=1", most=2).knee == 2\n'),
}
# By name: tests that do not, and what is said of the first.
FORGETTING = {
    "nothing is asked": (FORGOTTEN, "load() ran, and no test called check() on its result or read a figure"),
    "only the load is looked at": (
        "def test_it(load):\n    assert load().users\n",
        "load() ran, and no test",
    ),
    "only its text is": ("def test_it(load):\n    print(load())\n", "load() ran, and no test"),
    "one of two runs": (
        "def test_it(load):\n    load(users=1)\n    load(users=2).check()\n",
        "load() ran, and no test",
    ),
    "check is not called": ("def test_it(load):\n    assert load().check\n", "load() ran, and no test"),
    "a search that is not looked at": (
        'def test_it(load):\n    load.max_rps("rps>=1", most=2)\n',
        "load.max_rps() searched, and no test read what it found",
    ),
    "without a function": (
        "import pytest\n@pytest.mark.usefixtures('load')\n"
        "class TestIt:\n    def test_it(self, load):\n        self.result = load(users=1)\n",
        "load() ran, and no test",
    ),
}


@pytest.mark.parametrize("name", JUDGING)
def test_a_run_that_is_judged_is_let_through(project: Project, name: str) -> None:
    planted.instead_of_load(project)
    project.write(tests=JUDGING[name])

    run = project.run("--tfserving-unjudged=fail")

    run.stdout.no_fnmatch_line("*no test*")
    assert run.ret == bool(run.parseoutcomes().get("failed"))


@pytest.mark.parametrize("name", FORGETTING)
def test_a_run_that_no_test_judges_is_a_warning_or_a_failure(project: Project, name: str) -> None:
    planted.instead_of_load(project)
    tests, said = FORGETTING[name]
    project.write(tests=tests)

    warned = project.run()
    failed = project.run("--tfserving-unjudged=fail")

    warned.assert_outcomes(passed=1, warnings=1)
    assert warned.ret == pytest.ExitCode.OK
    warned.stdout.fnmatch_lines(
        [f"*test_perf.py:[1-9]: TFServingWarning: 1cpu-1gb-1n-interop1*: {said}* (test_perf.py::*)"]
    )
    failed.assert_outcomes(passed=1)
    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    assert re.match(rf"tfserving: 1cpu-1gb-1n-interop1( \(.*\))?: {re.escape(said)}", failed.outlines[-1])


def test_the_ini_file_asks_for_it(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(tests=FORGOTTEN)
    project.pytester.makeini("[pytest]\ntfserving_unjudged = fail\n")

    assert project.run().ret == pytest.ExitCode.TESTS_FAILED


def test_where_warnings_are_errors_it_is_one(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(tests=FORGOTTEN)

    run = project.run("-W", "error")

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert run.outlines[-1].startswith("tfserving: 1cpu-1gb-1n-interop1: load() ran, and no test")
    run.stdout.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.parametrize("stop", ["-x", "--maxfail=1"])
def test_a_session_that_is_stopped_says_nothing_of_tests_it_never_ran(project: Project, stop: str) -> None:
    planted.instead_of_load(project)
    project.write(
        tests=f"{FORGOTTEN}def test_fails():\n    assert False\ndef test_it(load):\n    load().check()\n"
    )

    run = project.run(stop, "--tfserving-unjudged=fail")

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.no_fnmatch_line("*no test called check*")


def test_workers_judge_what_others_measured(project: Project) -> None:
    """One worker loads, another one judges; the run of a second experiment is forgotten."""
    planted.in_every_process(project.pytester, project.monkeypatch)
    project.write(
        EXPERIMENTS.replace("inter_op: 1", "inter_op: [1, 2]"),
        f"import pytest\n{FORGOTTEN}"
        '@pytest.mark.experiments("*interop1")\ndef test_gate(load):\n    load().check()\n',
    )

    run = project.run("-n", "2", "--dist=load", "--tfserving-unjudged=fail")

    run.assert_outcomes(passed=3)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    (said,) = [line for line in run.outlines if "no test called check" in line]
    assert "1cpu-1gb-1n-interop2" in said
