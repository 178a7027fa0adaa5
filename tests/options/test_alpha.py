"""``--tfserving-alpha``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.plugin.options import parse_alpha

if TYPE_CHECKING:
    from harness import Project


def test_it_is_what_verdicts_are_passed_with(project: Project) -> None:
    _, (result,) = project.results("--tfserving-alpha=0.2")

    assert {each["alpha"] for each in (*result["decided"].values(), *result["undecided"].values())} == {0.2}


@pytest.mark.parametrize("text", ["0", "0.5", "1", "-0.1", "nan", "little", ""])
def test_what_is_no_alpha(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a probability above 0 and below 0\.5"):
        parse_alpha(text)


def test_one_is_refused(project: Project) -> None:
    run = project.run("--tfserving-alpha=1")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*argument --tfserving-alpha: '1' is not a probability above 0 and below 0.5."])
