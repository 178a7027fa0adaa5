"""``--tfserving-html``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_it_writes_one_page_that_needs_nothing_else(project: Project) -> None:
    planted.instead_of_load(project)

    run = project.run("--tfserving-html=out/report.html")

    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines(["results: *out/report.html"])
    page = (project.pytester.path / "out" / "report.html").read_text(encoding="utf-8")
    assert '<span class="verdict PASS">PASS</span>: 1cpu-1gb-1n-interop1 on local' in page
    assert "default-src 'none'" in page
    assert " src=" not in page.split("<script")[0]
    assert '<link rel="stylesheet"' not in page


@pytest.mark.parametrize(("options", "costs"), [((), False), (("--tfserving-hours=10",), True)])
def test_a_page_of_one_configuration_has_nothing_to_compare(
    project: Project, options: tuple[str, ...], *, costs: bool
) -> None:
    planted.instead_of_load(project)

    project.run("--tfserving-html=out.html", *options)

    page = (project.pytester.path / "out.html").read_text(encoding="utf-8").partition("<script")[0]
    assert "Configurations compared" not in page
    assert 'id="chart-cost-rps"' not in page
    assert ("USD for 10 h a month" in page) is costs
    assert ("USD" in page) is costs
    first, *later = (page.index(text) for text in ("<td>model</td>", "<h3>SLOs</h3>", "<h3>Figures</h3>"))
    assert [first, *later] == sorted([first, *later])


def test_a_failed_run_has_a_page_too(project: Project) -> None:
    project.behave(mode="die", after=20)

    project.run("--tfserving-html=report.html").assert_outcomes(failed=1)

    page = (project.pytester.path / "report.html").read_text(encoding="utf-8")
    assert '<span class="verdict FAIL">FAIL</span>: 1cpu-1gb-1n-interop1 on local' in page
    assert "replica 0 exited with code 9" in page


def test_nothing_measured_writes_nothing(project: Project) -> None:
    run = project.run("--tfserving-html=report.html", "-k", "nothing")

    assert not (project.pytester.path / "report.html").exists()
    run.stdout.no_fnmatch_line("*results: *")


@pytest.mark.parametrize("option", ["json", "html", "markdown"])
def test_a_file_that_cannot_be_written_is_found_out_before_the_run(project: Project, option: str) -> None:
    run = project.run(f"--tfserving-{option}=models")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*--tfserving-{option}: *models is a folder."])
