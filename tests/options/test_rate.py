"""``--tfserving-rate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_it_makes_an_open_loop_of_the_profile(project: Project, workers: list[str]) -> None:
    run, (result,) = project.results("--tfserving-rate=50", *workers)

    run.assert_outcomes(passed=1)
    assert (result["profile"]["rate"], result["users"]) == (50, 0)
    assert result["arrivals"]["due_rps"] == pytest.approx(50, rel=0.5)
    assert result["arrivals"]["dropped"] == 0
    assert result["alternatives"]["from_send"]["p50_ms"] <= result["metrics"]["p50_ms"]


def test_users_of_a_mark_give_way(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(
        tests="import pytest\n@pytest.mark.load_profile(users=4)\n"
        "def test_gate(load):\n    assert load().users == 0\n"
    )

    project.run("--tfserving-rate=50").assert_outcomes(passed=1)


@pytest.mark.parametrize("value", ["0", "-1", "fast", "inf", ""])
def test_what_is_no_rate(project: Project, value: str) -> None:
    run = project.run(f"--tfserving-rate={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*argument --tfserving-rate: '{value}' is not a number above 0."])


def test_with_users_it_contradicts_itself(project: Project) -> None:
    run = project.run("--tfserving-rate=50", "--tfserving-users=4")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: --tfserving-rate makes an open loop, --tfserving-users makes a closed one; *"]
    )
