"""``--tfserving-markdown``, and the summary of a GitHub Actions job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import planted_results as planted

if TYPE_CHECKING:
    import pytest

    from harness import Project

ROW = "| `1cpu-1gb-1n-interop1` | ✅ PASS | "


def test_it_writes_verdicts_and_the_recommendation(project: Project) -> None:
    planted.instead_of_load(project)

    project.run("--tfserving-markdown=report.md").assert_outcomes(passed=1)

    text = (project.pytester.path / "report.md").read_text(encoding="utf-8")
    assert text.startswith("## Serving performance\n\n1 PASS\n\n**`1cpu-1gb-1n-interop1` is the only")
    assert ROW in text


def test_a_job_of_github_actions_gets_it_unasked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = project.pytester.path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    planted.in_every_process(project.pytester, monkeypatch)

    project.run("-n", "1").assert_outcomes(passed=1)

    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n## Serving performance")
    assert text.count(ROW) == 1
