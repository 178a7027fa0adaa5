"""The report files that the options ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.report.writer import append_step_summary, write_reports

if TYPE_CHECKING:
    from pytest_tfserving.plugin.session import PerfSession
    from pytest_tfserving.report.schema import Document


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
            write_reports(self._document(interrupted=False), json=self._perf.settings.json)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write every report, and whether the run was interrupted."""
        settings = self._perf.settings
        if not (settings.report_files or self._perf.entries() or self._perf.searches()):
            return
        document = self._document(interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
        write_reports(document, json=settings.json)
        if document["results"] or document["searches"]:
            write_reports(document, html=settings.html, markdown=settings.markdown)
            append_step_summary(document, os.environ)

    def _document(self, *, interrupted: bool) -> Document:
        from pytest_tfserving.report.report_data import document_of

        return document_of(
            self._perf.entries(),
            interrupted=interrupted,
            pricing=self._perf.settings.pricing(),
            searches=self._perf.searches(),
            calibration=self._perf.calibration,
        )
