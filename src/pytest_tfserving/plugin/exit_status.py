"""The end of a session: runs that no test judged, and an exit code that agrees with the table."""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import TFServingWarning
from pytest_tfserving.plugin.stored import failures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_tfserving.plugin.session import PerfSession
    from pytest_tfserving.report.store import Entry, Use

# Outcomes with which a test, or the user in its place, has answered for a verdict.
_ANSWERS = {"failed", "rerun", "xfailed"}


class ExitStatus:
    """A pytest plugin that fails a session whose tests passed although the table, or an option, does not.

    Its sentences come after pytest's own last line, and are a failed testcase in JUnit's XML.
    """

    def __init__(self, perf: PerfSession) -> None:
        self._perf = perf
        # Outcomes of tests that did not simply pass, by node id.
        self._outcomes: dict[str, set[str]] = defaultdict(set)
        self._failures: list[str] = []
        self._notes: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the outcome of a test that did not simply pass."""
        if report.outcome != "passed":
            outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
            self._outcomes[report.nodeid].add(outcome)

    @pytest.hookimpl(tryfirst=True)  # before the XML is written
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Warn of runs that no test judged; fail the session if the table or an option demands a failure."""
        ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if not (ended and self._perf.has_folder):
            return
        entries, uses = self._perf.entries(), self._perf.log.uses()
        self._failures += self._contradictions(entries, uses)
        if not (session.shouldstop or session.shouldfail):
            self._failures += self._not_let_through(self._unjudged(entries, uses))
        if nothing := self._nothing_judged(entries, uses):
            fails = self._perf.settings.nothing_judged == "fail"
            (self._failures if fails else self._notes).append(nothing)
        self._failures += failures(self._perf)
        self._failures += self._not_updated()
        if self._failures:
            from pytest_tfserving.report.junit import add_failed_session

            add_failed_session(session.config, self._failures)
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Write the notes and failures as the last lines."""
        if reporter := config.pluginmanager.get_plugin("terminalreporter"):
            for text in self._notes:
                reporter.write_line(f"tfserving: {text}", yellow=True)
            for text in self._failures:
                reporter.write_line(f"tfserving: {text}", red=True)

    def _not_updated(self) -> tuple[str, ...]:
        """Write measured limits if the option asks for it; return a sentence for each refusal."""
        margin = self._perf.settings.update_slos
        if margin is None:
            return ()
        from pytest_tfserving.plugin.slo_update import update_slos

        self._perf.slo_update = update_slos(self._perf, margin)
        return self._perf.slo_update.refusals

    def _contradictions(self, entries: list[Entry], uses: dict[str, Use]) -> Iterator[str]:
        """Yield a sentence for each FAIL or INVALID verdict that failed no test."""
        from pytest_tfserving.slo.language import Verdict

        for entry, label in _labelled(entries):
            if entry.verdict not in (Verdict.FAIL, Verdict.INVALID):
                continue
            asked = uses[entry.key].asked
            if not any(self._outcomes.get(nodeid, set()) & _ANSWERS for nodeid in asked):
                yield f"{label} is {entry.verdict}, and no test failed for that ({', '.join(asked)})"

    def _unjudged(self, entries: list[Entry], uses: dict[str, Use]) -> Iterator[tuple[str, Use]]:
        """Yield a sentence for each run of load or search that no test judged, with its use."""
        for entry, label in _labelled(entries):
            result, use = entry.result, uses[entry.key]
            is_spoilt = result.aborted or result.invalid or result.incomplete or result.not_judged
            if not (is_spoilt or use.checked or use.read or self._any_trouble(use.asked)):
                text = "load() ran, and no test called check() on its result or read a figure of it"
                yield f"{label}: {text}", use
        for key, search in self._perf.log.searches_by_key().items():
            use = uses[key]
            if not (use.read or self._any_trouble(use.asked)):
                text = "load.max_rps() searched, and no test read what it found"
                yield f"{search['experiment']}: {text}", use

    def _any_trouble(self, nodeids: Iterable[str]) -> bool:
        """Return whether one of these tests failed or was skipped, and so may not have reached its end."""
        return any(nodeid in self._outcomes for nodeid in nodeids)

    def _not_let_through(self, unjudged: Iterator[tuple[str, Use]]) -> Iterator[str]:
        """Warn of unjudged runs; yield the sentences that an option or warning filter makes failures."""
        for text, use in unjudged:
            nodeid, line = next(iter(use.asked.items()), ("", 0))
            said = f"{text} ({nodeid})"
            if self._perf.settings.unjudged == "fail":
                yield said
                continue
            try:
                warnings.warn_explicit(said, TFServingWarning, nodeid.partition("::")[0], line)
            except TFServingWarning:
                yield said

    def _nothing_judged(self, entries: list[Entry], uses: dict[str, Use]) -> str:
        """Return a sentence if no experiment was judged, by a verdict or by a test itself; else empty."""
        is_judged = any(self._is_judged(entry, uses[entry.key]) for entry in entries)
        if is_judged or not entries or self._perf.searches():
            return ""
        count = len({entry.result.experiment for entry in entries})
        none = "the only experiment was not" if count == 1 else f"none of {count} experiments was"
        fails = self._perf.settings.nothing_judged == "fail"
        remedy = ", which fails the session; --tfserving-nothing-judged=pass lets it pass" if fails else ""
        return f"NOT JUDGED: {none} judged{remedy}"

    def _is_judged(self, entry: Entry, use: Use) -> bool:
        """Return whether a test read a figure, or the run has a verdict and not all its tests are skipped."""
        from pytest_tfserving.slo.language import Verdict

        skipped = [nodeid for nodeid in use.checked if "skipped" in self._outcomes.get(nodeid, ())]
        is_skipped = bool(skipped) and len(skipped) == len(use.checked)
        return bool(use.read) or not (entry.verdict is Verdict.NOT_JUDGED or is_skipped)


def _labelled(entries: list[Entry]) -> Iterator[tuple[Entry, str]]:
    """Return each entry with the label that its result has in reports."""
    from pytest_tfserving.report.labels import labels_of

    return zip(entries, labels_of([entry.result for entry in entries]), strict=True)
