"""Stored runs for tests: sessions with planted results, saved and compared on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import planted_results
from pytest_tfserving.measurement.environment import this_machine
from pytest_tfserving.report.stored_runs import stored_form

if TYPE_CHECKING:
    import pytest

    from harness import Project
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.report.schema import StoredRun


_SAVED_AT = "2026-03-01T10:30:00+00:00"


def content(name: str = "main", rps: float = 50.0, p50_ms: float = 300.0, **changes: object) -> StoredRun:
    """Return a stored run with a planted result."""
    result = planted_results.result(0, rps, p50_ms, **changes)
    return stored_form(planted_results.document(planted_results.entry(result)), name, _SAVED_AT, None)


def measure(project: Project, **figures: object) -> None:
    """Let each run of load have these arguments of `planted_results.result`, on this machine."""

    def special(_: LoadProfile) -> dict[str, Any]:
        return {"environment": {"machine": this_machine(), "commit": "0123abc"}, **figures}

    planted_results.instead_of_load(project, special)


def saved(project: Project, name: str = "main", **figures: object) -> dict[str, Any]:
    """Save a session with these figures; return the stored run."""
    measure(project, **figures)
    project.run(f"--tfserving-save={name}")
    path = max((project.pytester.path / ".tfserving").glob(f"*-{name}.json"))
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def change(project: Project, name: str, value: object, *where: str) -> None:
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
