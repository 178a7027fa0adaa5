"""A test's own assertion that fails marks the run of load that its figure is of, in every report."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

import planted_results as planted
from harness import EXPERIMENTS

if TYPE_CHECKING:
    from harness import Project

NAME = "1cpu-1gb-1n-interop1"
NO_SLO = EXPERIMENTS.replace('    slo: ["rps>=1"]\n', "")
HEAD = "import pytest\ndef fits(found):\n    assert found.p50_ms < 150\n"
# By name: a test that fails, and the users of the runs that are marked. A run with n users has n * 100 ms.
MARKED = {
    "after another that holds": (
        "    assert load(users=1).p50_ms > 1\n    assert load(users=2).p50_ms < 1\n",
        {2},
    ),
    "on several lines": (
        "    found = load(users=2)\n    assert (\n        found.p50_ms\n        < 5\n    )\n",
        {2},
    ),
    "on a figure that was read before": ("    p50_ms = load(users=2).p50_ms\n    assert p50_ms < 5\n", {2}),
    "in a loop": ("    for users in (1, 2, 3):\n        assert load(users=users).p50_ms < 150\n", {2}),
    "in a function": ("    for users in (1, 2):\n        fits(load(users=users))\n", {2}),
    "on two runs": (
        "    slow, fast = load(users=2), load(users=1)\n    assert slow.p50_ms < 1.5 * fast.p50_ms\n",
        {1, 2},
    ),
    "with a message": ("    found = load(users=2)\n    assert found.p50_ms < 5, 'too slow'\n", {2}),
    "by pytest.fail": ("    if load(users=2).p50_ms > 5:\n        pytest.fail('too slow')\n", {2}),
    "for a metric by name": ("    assert load(users=2).metric('p50') < 5\n", {2}),
}
FAILS = "def test_it(load):\n    assert load().p95_ms < 1\n"


@pytest.mark.parametrize("experiments", [EXPERIMENTS, NO_SLO], ids=["with an SLO", "without"])
@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_every_report_has_the_run_as_failed(project: Project, experiments: str, workers: list[str]) -> None:
    if workers:
        planted.in_every_process(project.pytester, project.monkeypatch)
    planted.instead_of_load(project)
    project.write(experiments, FAILS)

    run, (result,) = project.results("--junit-xml=out.xml", "--tfserving-markdown=out.md", *workers)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        [f"{NAME} * FAIL", f"{NAME}: FAIL: test_perf.py::test_it[[]{NAME}[]]: assert *< 1"]
    )
    assert result["verdict"] == "FAIL"
    assert [each["test"] for each in result["assertions"]] == [f"test_perf.py::test_it[{NAME}]"]
    root = ET.parse(project.pytester.path / "out.xml").getroot()
    found = {each.attrib["name"]: each.attrib["value"] for each in root.iter("property")}
    assert found["verdict"] == "FAIL"
    markdown = (project.pytester.path / "out.md").read_text(encoding="utf-8")
    assert "1 FAIL" in markdown
    assert "is the only configuration that passed" not in markdown


@pytest.mark.parametrize("name", MARKED)
def test_the_runs_that_the_failed_statement_read_are_marked(project: Project, name: str) -> None:
    planted.instead_of_load(project, lambda profile: {"p50_ms": 100.0 * profile.users})
    body, marked = MARKED[name]
    project.write(tests=f"{HEAD}def test_it(load):\n{body}")

    run, results = project.results()

    run.assert_outcomes(failed=1)
    verdicts = {each["users"]: each["verdict"] for each in results}
    assert verdicts == {users: "FAIL" if users in marked else "PASS" for users in verdicts}


@pytest.mark.parametrize(
    "test",
    [
        "def test_it(load):\n    load().rps\n    raise RuntimeError\n",
        "def test_it(load):\n    load()\n    assert 1 > 2\n",
        "def test_it(load):\n    assert load().p95_ms > 1\n",
        "import pytest\ndef test_it(load):\n    if load().p95_ms > 1:\n        pytest.xfail('slow')\n",
        "import pytest\ndef test_it(load):\n    with pytest.raises(AssertionError):\n"
        "        assert load().p95_ms < 1\n",
    ],
    ids=["another exception", "no figure was read", "it holds", "an expected failure", "a caught one"],
)
def test_other_ends_of_a_test_mark_nothing(project: Project, test: str) -> None:
    planted.instead_of_load(project)
    project.write(tests=test)

    _, (result,) = project.results()

    assert (result["verdict"], result["assertions"]) == ("PASS", [])


def test_a_run_that_only_assertions_judge_says_so(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(NO_SLO, "def test_it(load):\n    assert load().p95_ms > 1\n")

    run, (result,) = project.results()

    run.assert_outcomes(passed=1)
    assert result["verdict"] == "NOT JUDGED"
    run.stdout.fnmatch_lines(
        [f"{NAME} * NOT JUDGED", f"{NAME}: no SLO for this target; only its tests' own assertions judge it"]
    )


def test_an_expected_failure_marks_the_run_and_answers_for_it(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(tests=f"import pytest\n@pytest.mark.xfail\n{FAILS}")

    run, (result,) = project.results()

    assert run.ret == pytest.ExitCode.OK
    assert result["verdict"] == "FAIL"


def test_a_rerun_replaces_the_mark(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(
        tests="tries = []\ndef test_it(load):\n    tries.append(1)\n"
        "    assert load().p95_ms < (1 if len(tries) < 2 else 9000)\n"
    )

    run, (result,) = project.results("--reruns=1")

    assert run.ret == pytest.ExitCode.OK
    assert (result["verdict"], result["assertions"]) == ("PASS", [])
    assert result["earlier"][0].startswith("FAIL: assert ")
