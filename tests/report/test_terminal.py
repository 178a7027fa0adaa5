"""The table at the end of a session: what several results share stands there once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import planted_results as planted

if TYPE_CHECKING:
    import pytest

    from harness import Project

LACKS = "image 'a:1' cannot be pulled: connection refused"
EXPERIMENTS = """
defaults: {model: ./models/half, payload: request.json, slo: ["rps>=1"]}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: [1, 2, 4, 8, 16]}
"""


def table_of(run: pytest.RunResult) -> list[str]:
    """The lines of the table and of what stands below it."""
    lines: list[str] = run.outlines
    first = next(at for at, line in enumerate(lines) if "serving performance" in line)
    return lines[first + 1 : next(at for at, line in enumerate(lines) if " failed in " in line)]


def test_a_reason_of_several_results_is_there_once_with_their_names(project: Project) -> None:
    project.write(EXPERIMENTS)
    causes = iter([*[LACKS] * 4, "another cause"])
    planted.instead_of_load(project, lambda _: {"aborted": next(causes)})

    lines = table_of(project.run())

    name = "1cpu-1gb-1n-interop"
    assert [line for line in lines if LACKS in line] == [f"{name}1, {name}2, {name}4 and 1 more: {LACKS}"]
    assert [line for line in lines if "another cause" in line] == [f"{name}16: another cause"]
