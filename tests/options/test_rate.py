"""``--tfserving-rate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from harness import EXPERIMENTS

if TYPE_CHECKING:
    from harness import Project


def test_it_makes_an_open_loop_of_the_profile(project: Project) -> None:
    run, (result,) = project.results("--tfserving-rate=50")

    run.assert_outcomes(passed=1)
    assert (result["profile"]["rate"], result["users"]) == (50, 0)
    assert result["arrivals"]["due_rps"] == pytest.approx(50, rel=0.5)
    assert result["arrivals"]["dropped"] == 0
    assert result["alternatives"]["from_send"]["p50_ms"] <= result["metrics"]["p50_ms"]


def test_workers_take_it(project: Project) -> None:
    planted.in_every_process(project.pytester, project.monkeypatch)

    _, (result,) = project.results("--tfserving-rate=50", "-n", "1")

    assert (result["profile"]["rate"], result["users"]) == (50, 0)


def test_the_rate_is_judged_beside_the_requests_that_were_due(project: Project) -> None:
    """With this seed from 50 to 55 requests a second are due in every part of the run that may be judged."""
    experiments = EXPERIMENTS.replace("max_cpu_wait: 1", "max_cpu_wait: 1, seed: 12")
    project.write(experiments.replace('"rps>=1"', '"rps>=45", "rps>=60"'))

    _, (result,) = project.results("--tfserving-rate=50", "--tfserving-run-time=6")

    near, above, _ = result["slos"]
    assert (near["verdict"], above["verdict"]) == ("PASS", "INVALID")
    assert "requests a second were due, which can have lowered rps by any amount; " in above["reason"]
    assert above["reason"].endswith("raise the rate of load profile 'tiny', now 50, clearly above the limit")


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
