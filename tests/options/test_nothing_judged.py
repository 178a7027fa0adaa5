"""``--tfserving-nothing-judged``: a session whose experiments are all NOT JUDGED."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project

WITHOUT_SLO = """
defaults: {model: ./models/half, payload: request.json, profile: smoke}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: [1, 2]}
"""
UNFIT = WITHOUT_SLO.replace("1cpu-1gb-1n", "900cpu-900gb-1n").replace("inter_op: [1, 2]", "inter_op: 1")
# By name: experiments, options beside, and how many there are.
NOTHING = {
    "no SLO": (WITHOUT_SLO, (), "none of 2 experiments was"),
    "no SLO for this target": (
        WITHOUT_SLO.replace("[1, 2]", '[1, 2], slo: {url: ["rps>=1"]}'),
        (),
        "none of 2 experiments was",
    ),
    "the machine is too small": (UNFIT, ("--tfserving-unfit=skip",), "the only experiment was not"),
    "a baseline that is missing": (
        WITHOUT_SLO.replace("[1, 2]", "[1, 2], slo: [efficiency>=1%]"),
        (),
        "none of 2 experiments was",
    ),
}


@pytest.fixture(params=NOTHING)
def nothing(request: pytest.FixtureRequest, project: Project) -> tuple[tuple[str, ...], str]:
    """A project none of whose experiments can be judged: how it is run, and how many there are."""
    experiments, options, count = NOTHING[request.param]
    planted.instead_of_load(project)
    project.write(experiments)
    return options, count


def test_on_a_laptop_the_last_line_says_so(project: Project, nothing: tuple[tuple[str, ...], str]) -> None:
    options, count = nothing

    run = project.run(*options)

    assert run.ret == pytest.ExitCode.OK
    assert run.outlines[-1] == f"tfserving: NOT JUDGED: {count} judged"


def test_in_ci_it_fails(
    project: Project, monkeypatch: pytest.MonkeyPatch, nothing: tuple[tuple[str, ...], str]
) -> None:
    monkeypatch.setenv("CI", "true")
    options, count = nothing

    run = project.run(*options)

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert run.outlines[-1] == (
        f"tfserving: NOT JUDGED: {count} judged, which fails the session; "
        "--tfserving-nothing-judged=pass lets it pass"
    )


@pytest.mark.parametrize(
    ("variable", "asked", "status"),
    [
        ("true", "pass", pytest.ExitCode.OK),
        ("", "fail", pytest.ExitCode.TESTS_FAILED),
        ("1", "", pytest.ExitCode.TESTS_FAILED),
        ("false", "", pytest.ExitCode.OK),
        ("0", "", pytest.ExitCode.OK),
    ],
)
def test_the_option_wins_over_the_variable(
    project: Project, monkeypatch: pytest.MonkeyPatch, variable: str, asked: str, status: pytest.ExitCode
) -> None:
    planted.instead_of_load(project)
    monkeypatch.setenv("CI", variable)
    project.write(WITHOUT_SLO)
    line = f"tfserving_nothing_judged = {asked}\n" if asked else ""
    project.pytester.makeini(f"[pytest]\n{line}")

    run = project.run()

    assert run.ret == status
    assert run.outlines[-1].startswith("tfserving: NOT JUDGED: none of 2 experiments was judged")


# By name: tests with which something is judged although the experiments have no SLO, or not all of them.
SOMETHING = {
    "a mark": '@pytest.mark.slo("rps>=1")\ndef test_it(load):\n    load().check()\n',
    "the test's own assertion": "def test_it(load):\n    assert load().rps > 1\n",
    "one experiment of two": (
        '@pytest.mark.slo("rps>=1")\n@pytest.mark.experiments("*1")\ndef test_it(load):\n    load().check()\n'
        '@pytest.mark.experiments("*2")\ndef test_other(load):\n    load().check()\n'
    ),
    "a search": (
        '@pytest.mark.experiments("*1")\n'
        'def test_it(load):\n    assert load.max_rps("rps>=1", most=2).knee == 2\n'
    ),
    "no perf test": "def test_it():\n    pass\n",
}


@pytest.mark.parametrize("name", SOMETHING)
def test_where_something_is_judged_ci_passes(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    planted.instead_of_load(project)
    monkeypatch.setenv("CI", "true")
    project.write(WITHOUT_SLO, f"import pytest\n{SOMETHING[name]}")

    run = project.run()

    assert run.ret == pytest.ExitCode.OK
    run.stdout.no_fnmatch_line("tfserving: NOT JUDGED*")


def test_a_failed_session_stays_failed(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(UNFIT)

    run = project.run("--tfserving-unfit=fail", "--tfserving-nothing-judged=pass")

    run.assert_outcomes(failed=1)
    assert run.ret == pytest.ExitCode.TESTS_FAILED


def test_a_verdict_that_no_test_asked_for_is_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has one, on the SLO on requests a second; the only test asks for another metric."""
    planted.instead_of_load(project)
    monkeypatch.setenv("CI", "true")
    project.write(tests='def test_it(load):\n    load().check("p95")\n')

    run = project.run()

    run.assert_outcomes(skipped=1)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert run.outlines[-1].startswith("tfserving: NOT JUDGED: the only experiment was not judged")
