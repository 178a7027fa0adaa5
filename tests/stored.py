"""Stored runs for tests: sessions with planted results, saved and compared on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import planted
from pytest_tfserving.measurement.environment import this_machine

if TYPE_CHECKING:
    import pytest

    from harness import Project
    from pytest_tfserving.experiments.load_profile import LoadProfile


def measure(project: Project, **figures: Any) -> None:
    """Let each run of load have these arguments of `planted.result`, on this machine."""

    def special(_: LoadProfile) -> dict[str, Any]:
        return {"environment": {"machine": this_machine(), "commit": "0123abc"}, **figures}

    planted.instead_of_load(project, special)


def saved(project: Project, name: str = "main", **figures: Any) -> dict[str, Any]:
    """Save a session with these figures; return the stored run."""
    measure(project, **figures)
    project.run(f"--tfserving-save={name}")
    path = max((project.pytester.path / ".tfserving").glob(f"*-{name}.json"))
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def change(project: Project, name: str, value: Any, *where: str) -> None:
    """Set a value in the only result of the only stored run: ``name`` in the part that ``where`` leads to."""
    (path,) = (project.pytester.path / ".tfserving").glob("*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    part = content["results"][0]
    for each in where:
        part = part[each]
    part[name] = value
    path.write_text(json.dumps(content), encoding="utf-8")


def comparison(project: Project, *arguments: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    """Run pytest and return the comparison that it wrote."""
    run = project.run("--tfserving-json=compared.json", *arguments)
    document = json.loads((project.pytester.path / "compared.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = document["comparison"]
    return run, found
