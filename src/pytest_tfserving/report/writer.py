"""The report files that the options name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.system.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfserving.report.schema import Document


def write_reports(
    document: Document,
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


def append_step_summary(document: Document, environment: Mapping[str, str]) -> None:
    """Append the Markdown report to the summary of a GitHub Actions job, if this process runs in one."""
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        from pytest_tfserving.report.markdown import markdown_text

        with open(path, "a", encoding="utf-8", errors="replace") as summary:  # noqa: PTH123 - a name the runner gave
            summary.write(markdown_text(document))
