"""``--tfserving-run-time``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.plugin.options import parse_duration

if TYPE_CHECKING:
    from harness import Project


def test_it_ends_the_run(project: Project) -> None:
    _, (result,) = project.results("--tfserving-run-time=2s")

    assert 2 <= result["run_s"] < 30


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h", 3600), (" 5 m ", 300)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["0", "0s", "-1", "5d", "soon", ""])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration; write it as 90, 90s"):
        parse_duration(text)


def test_zero_is_refused(project: Project) -> None:
    run = project.run("--tfserving-run-time=0")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*argument --tfserving-run-time: '0' is not a duration*"])
