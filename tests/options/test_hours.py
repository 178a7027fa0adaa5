"""``--tfserving-hours``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_it_is_the_studys_unless_told_otherwise(project: Project) -> None:
    planted.instead_of_load(project)

    _, (result,) = project.results()

    assert result["cost"]["month_usd"] == pytest.approx(24 * (0.02289 + 0.003067))


@pytest.mark.parametrize(("options", "count"), [(["--tfserving-hours=100"], 2), ([], 0)])
def test_a_single_configuration_has_its_cost_in_reports_if_it_is_asked_for(
    project: Project, options: list[str], count: int
) -> None:
    planted.instead_of_load(project)

    run = project.run(*options, "--tfserving-markdown=out.md")

    markdown = (project.pytester.path / "out.md").read_text(encoding="utf-8")
    texts = ("\n".join(run.outlines), markdown)
    assert sum("USD for 100 h a month" in text for text in texts) == count
    assert sum("USD" in text for text in texts) == count


@pytest.mark.parametrize(
    ("value", "message"),
    [("0", "'0' is not a number above 0."), ("800", "'800' is more than a month's 744 hours.")],
)
def test_what_is_no_month(project: Project, value: str, message: str) -> None:
    run = project.run(f"--tfserving-hours={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*argument --tfserving-hours: {message}"])
