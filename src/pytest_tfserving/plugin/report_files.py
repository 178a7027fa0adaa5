"""The report files that the options ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.plugin.stored import document, save
from pytest_tfserving.report.writer import append_step_summary, write_reports

if TYPE_CHECKING:
    from pytest_tfserving.plugin.session import PerfSession


class ReportFiles:
    """The writer of reports: the JSON after every test, every report at the end.

    An interrupted run leaves its results so far, and every other report can be remade from its JSON.
    """

    def __init__(self, perf: PerfSession) -> None:
        self._perf = perf
        self._written = -1

    def pytest_runtest_logreport(self) -> None:
        """Write the JSON if there are new results."""
        size = self._perf.log.size() if self._perf.has_folder else 0
        if self._perf.settings.json and size != self._written:
            self._written = size
            write_reports(document(self._perf, interrupted=False), json=self._perf.settings.json)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write every report, and whether the run was interrupted."""
        settings = self._perf.settings
        if not (settings.report_files or self._perf.entries() or self._perf.searches()):
            return
        made = document(self._perf, interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
        write_reports(made, json=settings.json)
        if made["results"] and settings.save:
            self._perf.saved = save(self._perf, made)
        if made["results"] or made["searches"]:
            write_reports(made, html=settings.html, markdown=settings.markdown)
            append_step_summary(made, os.environ)
