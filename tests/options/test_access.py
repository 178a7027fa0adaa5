"""``--tfserving-access``; that load takes each way is shown on a real cluster, in tests/e2e."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project


@pytest.mark.parametrize("value", ["port-forward", "ftp://host", "http://host/path"])
def test_a_way_that_does_not_exist_is_named(project: Project, value: str) -> None:
    run = project.run(f"--tfserving-access={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        [
            f"*argument --tfserving-access: '{value}' is none of auto, nodeport, loadbalancer, pod, nor an "
            "address as http://host:8501."
        ]
    )


def test_it_is_for_target_kubernetes(project: Project) -> None:
    run = project.run("--tfserving-access=pod")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: --tfserving-access goes with --tfserving-target=kubernetes, not with target 'local'."]
    )
