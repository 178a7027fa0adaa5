"""``--tfserving-experiments``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import Project


def test_it_names_another_file(project: Project) -> None:
    other = project.pytester.path / "other.yaml"
    other.write_text("experiments:\n- {shape: 4cpu-4gb-1n, inter_op: 3}\n", encoding="utf-8")

    run = project.run("--collect-only", "-q", "--tfserving-experiments=other.yaml")

    run.stdout.fnmatch_lines(["*test_gate[[]4cpu-4gb-1n-interop3[]]"])


def test_a_missing_file_is_named(project: Project) -> None:
    run = project.run("--tfserving-experiments=no.yaml")

    run.stdout.fnmatch_lines(["the experiments file */no.yaml cannot be read: No such file or directory."])
