"""``--tfserving-keep``; that it keeps is shown on real engines, in tests/e2e."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project


def test_a_mistaken_value_is_named(project: Project) -> None:
    run = project.run("--tfserving-keep=sometimes")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["*argument --tfserving-keep: 'sometimes' is not one of: never, on-failure, always."]
    )
