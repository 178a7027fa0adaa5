"""The report files that the options name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfserving.session import PerfSession


def write_whole(path: Path, text: str) -> None:
    """Replace the file ``path`` in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that nobody can guess, of a file that must not exist yet: others may write to the folder.
    unfinished = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        # A name that is not valid Unicode must not prevent the report.
        with unfinished.open("x", encoding="utf-8", errors="replace") as file:
            file.write(text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_reports(
    document: dict[str, Any],
    *,
    json: Path | None = None,
    html: Path | None = None,
    markdown: Path | None = None,
) -> list[Path]:
    """Write the reports that have a path; return their paths."""
    if json:
        from pytest_tfserving.report.json import json_text

        write_whole(json, json_text(document))
    if html:
        from pytest_tfserving.report.html import html_text

        write_whole(html, html_text(document))
    if markdown:
        from pytest_tfserving.report.markdown import markdown_text

        write_whole(markdown, markdown_text(document))
    return [path for path in (json, html, markdown) if path]


def append_step_summary(document: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Append the Markdown report to the summary of a GitHub Actions job, if this process runs in one."""
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        from pytest_tfserving.report.markdown import markdown_text

        with open(path, "a", encoding="utf-8", errors="replace") as summary:  # noqa: PTH123 - a name the runner gave
            summary.write(markdown_text(document))


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

    def _document(self, *, interrupted: bool) -> dict[str, Any]:
        from pytest_tfserving.report.document import document_of

        return document_of(
            self._perf.entries(),
            interrupted=interrupted,
            pricing=self._perf.settings.pricing(),
            searches=self._perf.searches(),
            calibration=self._perf.calibration,
        )
