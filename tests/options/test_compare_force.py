"""``--tfserving-compare-force``: comparison with a run of another machine, image or load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import stored_sessions

if TYPE_CHECKING:
    from harness import Project

SAID = "machine id was another, is "


def test_it_compares_and_every_report_says_so(project: Project) -> None:
    stored_sessions.saved(project)
    stored_sessions.change(project, "id", "another", "environment", "machine")

    run, comparison = stored_sessions.comparison(
        project,
        "--tfserving-compare=main",
        "--tfserving-compare-force",
        "--tfserving-html=out.html",
        "--tfserving-markdown=out.md",
        "--junit-xml=out.xml",
    )

    assert run.ret == pytest.ExitCode.OK
    assert comparison["forced"] is True
    assert comparison["experiments"][0]["changes"]
    run.stdout.fnmatch_lines([f"1cpu-1gb-1n-interop1: compared by force, although {SAID}*"])
    for name in ("out.html", "out.md", "out.xml"):
        assert SAID in (project.pytester.path / name).read_text(encoding="utf-8"), name


def test_it_needs_a_run_to_compare_with(project: Project) -> None:
    run = project.run("--tfserving-compare-force")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["*--tfserving-compare-force needs --tfserving-compare, the run to compare with."]
    )
