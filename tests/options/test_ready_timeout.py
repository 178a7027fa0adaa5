"""``--tfserving-ready-timeout``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project


def test_a_server_that_does_not_get_ready_in_time_is_given_up(project: Project) -> None:
    project.behave(start="silent")

    run = project.run("--tfserving-ready-timeout=0.5")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*after 0.5 s*--tfserving-ready-timeout*"])


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1 day"])
def test_what_is_no_duration_is_named(project: Project, value: str) -> None:
    run = project.run(f"--tfserving-ready-timeout={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        [
            f"*argument --tfserving-ready-timeout: '{value}' is not a duration; "
            "write it as 90, 90s, 1.5m or 1h."
        ]
    )
