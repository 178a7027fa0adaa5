"""Every report has the same verdict of a run, tests and exit code agree with it, whatever happens to it."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

import planted_results as planted
from harness import EXPERIMENTS
from pytest_tfserving.slo.language import Undecided, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness import Project
    from pytest_tfserving.experiments.load_profile import LoadProfile

NAME = "1cpu-1gb-1n-interop1"
OUTCOMES, OF_A_SESSION = 200, 20
# What spoils a run, with its verdict and the outcome of a test that asks for the run.
SPOILT = {
    "aborted": ("FAIL", "failed"),
    "invalid": ("INVALID", "failed"),
    "incomplete": ("INCONCLUSIVE", "failed"),
    "not_judged": ("NOT JUDGED", "skipped"),
}
# SLOs of marks, with the verdict on a run of 100 ms, and the outcome of a test that checks a strict one.
SLOS = {
    "p50<150ms": ("PASS", "passed"),
    "p50<50ms": ("FAIL", "failed"),
    "p50<120ms": ("INCONCLUSIVE", "passed"),
    "p50<90ms": ("INCONCLUSIVE", "failed"),
}
UNDECIDED = {slo: Undecided(0.01, 40.0) for slo, (verdict, _) in SLOS.items() if verdict == "INCONCLUSIVE"}
BODIES = {
    "checks": "load(**users).check()",
    "checks another metric": "load(**users).check('rps')",
    "asserts what holds": "assert load(**users).p50_ms < 1000",
    "asserts what does not hold": "assert load(**users).p50_ms < 1",
    "forgets": "load(**users)",
    "catches": "with pytest.raises(pytest.fail.Exception):\n        load(**users).check()",
    "skips": "load(**users)\n    pytest.skip('not today')",
}
# Runs each test that fails once more.
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


@dataclass(frozen=True)
class Outcome:
    """A test with a run of load of its own, which its number of users tells from others."""

    users: int
    spoilt: str
    slo: str
    strict: bool
    body: str
    xfail: bool
    # Whether the experiment has an SLO of its own, which every run meets.
    has_slo: bool
    slow_at_first: bool = False

    @property
    def notices(self) -> bool:
        """Whether the test fails if its run is slow at first, so that it is run again."""
        reads = self.body == "asserts what holds" or (self.body == "checks" and self.strict)
        return reads and not (self.spoilt or self.xfail)

    @property
    def verdict(self) -> str:
        """The verdict on the run in every report."""
        if self.spoilt:
            return SPOILT[self.spoilt][0]
        if self.body == "asserts what does not hold":
            return "FAIL"
        if self.strict:
            return SLOS[self.slo][0]
        return "PASS" if self.has_slo else "NOT JUDGED"

    @property
    def outcome(self) -> str:
        """The outcome of the test."""
        found = self._of_a_spoilt_run if self.spoilt else self._unspoilt
        return "skipped" if self.xfail and found == "failed" else found

    @property
    def _of_a_spoilt_run(self) -> str:
        found = SPOILT[self.spoilt][1]
        return "passed" if self.body == "catches" and found == "failed" else found

    @property
    def _unspoilt(self) -> str:
        match self.body:
            case "checks":
                return self._checked
            case "checks another metric":
                return "passed" if self.has_slo else "skipped"
            case "asserts what does not hold":
                return "failed"
            case "skips":
                return "skipped"
            case "catches":
                return {"failed": "passed", "passed": "failed"}.get(self._checked, self._checked)
            case _:
                return "passed"

    @property
    def _checked(self) -> str:
        """The outcome of a test that calls `check()`."""
        if self.strict:
            return SLOS[self.slo][1]
        return "passed" if self.has_slo else "skipped"

    @property
    def fails(self) -> bool:
        """Whether the session fails for this test: it failed, or a bad verdict has no test that says so."""
        answered = self.xfail and replace(self, xfail=False).outcome == "failed"
        return self.outcome == "failed" or (self.verdict in ("FAIL", "INVALID") and not answered)

    def test(self) -> str:
        """The code of the test."""
        mark = f"@pytest.mark.slo({self.slo!r}, strict={self.strict})\n"
        users = f"    users = {{'users': {self.users}, 'spawn_rate': 1000}}\n"
        xfail = "@pytest.mark.xfail\n" if self.xfail else ""
        return f"{xfail}{mark}def test_{self.users}(load):\n{users}    {BODIES[self.body]}\n"


def generated(seed: int, *, again: bool, has_slo: bool) -> Iterator[Outcome]:
    """Yield outcomes without end; those of a session that runs failed tests again may be slow at first."""
    source = random.Random(seed)
    for users in itertools.count(1):
        outcome = Outcome(
            users,
            source.choice(["", "", "", "", *SPOILT]),
            source.choice(list(SLOS)),
            source.random() < 0.8,
            source.choice(["checks", *BODIES]),
            source.random() < 0.15,
            has_slo,
        )
        yield replace(outcome, slow_at_first=again and outcome.notices and source.random() < 0.5)


def has_slo(number: int) -> bool:
    """Return whether the experiment of a session has an SLO of its own."""
    return number % 5 != 4


def of_session(number: int) -> list[Outcome]:
    """Return the tests of a session: of every third one none fails, of every third one a single one does."""
    source = generated(number, again=number % 2 == 1, has_slo=has_slo(number))
    if number % 3 == 0:
        return [next(source) for _ in range(OF_A_SESSION)]
    calm = [outcome for outcome in (next(source) for _ in range(20 * OF_A_SESSION)) if not outcome.fails]
    failing = [] if number % 3 == 1 else [next(each for each in source if each.fails)]
    return calm[: OF_A_SESSION - len(failing)] + failing


def slow_at_first(outcomes: list[Outcome]) -> Callable[[LoadProfile], dict[str, Any]]:
    """Return the planted figures of each run, by its users: 100 ms, but for the first run of a slow test."""
    runs: Counter[int] = Counter()
    by_users = {each.users: each for each in outcomes}

    def special(profile: LoadProfile) -> dict[str, Any]:
        outcome = by_users[profile.users]
        runs[profile.users] += 1
        p50_ms = 10_000.0 if outcome.slow_at_first and runs[profile.users] == 1 else 100.0
        spoilt = {outcome.spoilt: "a cause"} if outcome.spoilt else {}
        short = {"series": (), "run_record": None}  # reports of hundreds of runs are to be short
        return {"rps": 5.0, "p50_ms": p50_ms, "undecided": UNDECIDED, **spoilt, **short}

    return special


@pytest.mark.parametrize("number", range(OUTCOMES // OF_A_SESSION))
def test_reports_tests_and_the_exit_code_agree(project: Project, number: int) -> None:
    outcomes = of_session(number)
    planted.instead_of_load(project, slow_at_first(outcomes))
    experiments = EXPERIMENTS if has_slo(number) else EXPERIMENTS.replace('    slo: ["rps>=1"]\n', "")
    project.write(experiments, "import pytest\n" + "\n".join(each.test() for each in outcomes))
    if number % 2 == 1:
        project.pytester.makeconftest(RUNS_AGAIN)

    run, results = project.results(
        "--tfserving-html=out.html", "--tfserving-markdown=out.md", "--junit-xml=out.xml", "-p", "no:warnings"
    )

    labels = {result["users"]: result["label"] for result in results}
    expected = {labels[each.users]: each.verdict for each in outcomes}
    folder = project.pytester.path
    assert {result["label"]: result["verdict"] for result in results} == expected
    assert in_table(run) == expected
    assert in_html(folder / "out.html") == expected
    assert in_markdown(folder / "out.md") == expected
    tests, fails = in_junit(folder / "out.xml")
    assert tests == {f"test_{each.users}[{NAME}]": each.outcome for each in outcomes}
    assert fails == any(each.fails for each in outcomes)
    assert run.ret == (pytest.ExitCode.TESTS_FAILED if fails else pytest.ExitCode.OK)


def in_table(run: pytest.RunResult) -> dict[str, str]:
    rows = (re.fullmatch(rf"({NAME} \(.*?\)) .*? ({'|'.join(Verdict)})", line) for line in run.outlines)
    return {row[1].strip(): row[2] for row in rows if row and ": " not in row[0]}


def in_html(path: Path) -> dict[str, str]:
    rows = re.findall(
        r'<tr data-name="([^"]*)">.*?<td[^>]* class="verdict ([^"]*)">', path.read_text(), re.DOTALL
    )
    heads = re.findall(
        r'<summary>.*?<span class="verdict ([^"]*)">[^<]*</span> (.*?)\n', path.read_text(), re.DOTALL
    )
    assert {label: verdict for verdict, label in heads} == dict(rows)
    return dict(rows)


def in_markdown(path: Path) -> dict[str, str]:
    rows = re.findall(r"^\| `([^`]*)` \| \S+ ([A-Z ]+) \|", path.read_text(), re.MULTILINE)
    return dict(rows)


def in_junit(path: Path) -> tuple[dict[str, str], bool]:
    """Return the outcome of each test, and whether any testcase, the session's included, fails."""
    tests: dict[str, str] = {}
    fails = False
    for case in ET.parse(path).getroot().iter("testcase"):
        found = {part.tag for part in case} & {"failure", "error", "skipped"}
        fails |= bool(found & {"failure", "error"})
        if case.attrib["classname"] != "pytest-tfserving":
            outcome = {"failure": "failed", "skipped": "skipped", "error": "error"}
            tests[case.attrib["name"]] = outcome[found.pop()] if found else "passed"
    return tests, fails
