"""``--tfserving-unfit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project


BIG = """
defaults: {model: ./models/half, payload: request.json, profile: study}
experiments:
  - {shape: 512vCPU-16GB_2, inter_op: 4, slo: ["rps>=1"]}
"""


def test_an_unfit_experiment_is_smoke_run_and_not_judged(project: Project) -> None:
    project.write(BIG)

    run, (result,) = project.results()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(
        [
            "SKIPPED * test_perf.py:2: NOT JUDGED: needs 1024 vCPUs, this machine has *; "
            "smoke run: * requests, 0 errors"
        ]
    )
    assert result["verdict"] == "NOT JUDGED"
    assert result["total_requests"] > 10


def test_a_smoke_run_that_fails_is_no_skip(project: Project) -> None:
    project.write(BIG)
    project.behave(mode="http500")

    run, (result,) = project.results()

    run.assert_outcomes(failed=1)
    assert result["verdict"] == "FAIL"


def test_unfit_can_be_skipped(project: Project) -> None:
    project.write(BIG)
    project.behave(start="exit")

    run, (result,) = project.results("--tfserving-unfit=skip")

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(["*NOT JUDGED: needs 1024 vCPUs, this machine has *"])
    assert result["verdict"] == "NOT JUDGED"


def test_unfit_can_fail(project: Project) -> None:
    project.write(BIG)

    run = project.run("--tfserving-unfit=fail")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*NOT JUDGED: needs 1024 vCPUs, this machine has *"])


def test_a_mistaken_value_is_named(project: Project) -> None:
    run = project.run("--tfserving-unfit=pass")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*argument --tfserving-unfit: 'pass' is not one of: smoke, skip, fail."])
