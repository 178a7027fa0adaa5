"""``--tfserving-spawn-rate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project


def test_a_slower_ramp_is_left_out_of_the_window(project: Project) -> None:
    _, (result,) = project.results("--tfserving-spawn-rate=1", "--tfserving-run-time=3")

    assert result["profile"]["spawn_rate"] == 1
    assert result["window"]["start_s"] >= 1
    assert result["metrics"]["requests"] < result["total_requests"]


@pytest.mark.parametrize("value", ["0", "-1", "inf", "fast"])
def test_what_is_no_rate(project: Project, value: str) -> None:
    run = project.run(f"--tfserving-spawn-rate={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*argument --tfserving-spawn-rate: '{value}' is not a number above 0."])
