"""``--tfserving-json``; the figures in it are in report/test_writer.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


def test_json_into_a_new_folder(project: Project) -> None:
    planted.instead_of_load(project)

    project.run("--tfserving-json=deep/er/out.json").assert_outcomes(passed=1)

    assert (project.pytester.path / "deep" / "er" / "out.json").is_file()


def test_a_folder_cannot_be_written_to(project: Project) -> None:
    run = project.run("--tfserving-json=models")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: --tfserving-json: *models*"])
