"""The kept calibration: which runs take it, and what is said of one that is no use."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfserving.calibration.file import this_machine, write_calibration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness import Project

    Floats = NDArray[np.float64]

CONTENT: dict[str, Any] = {
    "machine": this_machine(),
    "measured_at": "2026-11-20T10:00:00+00:00",
    "noise_memory_s": 2.1,
    "cores": [],
    "smallest_change": {},
    "answer": [],
}


def keep(**changes: object) -> Path:
    path = Path(os.environ["PYTEST_TFSERVING_CALIBRATION"])
    write_calibration(path, {**CONTENT, **changes})
    return path


def test_a_run_takes_the_calibrated_memory(project: Project) -> None:
    keep()

    run, (result,) = project.results()

    run.stdout.fnmatch_lines(["tfserving: noise memory 2.1 s (calibrated 2026-11-20)"])
    assert result["noise_memory_s"] == 2.1


def test_an_option_beats_it(project: Project) -> None:
    keep()

    _, (result,) = project.results("--tfserving-noise-memory=1s")

    assert result["noise_memory_s"] == 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"machine": {**this_machine(), "cores": 99}},
            "* is of another machine: its usable cores was 99, here *",
        ),
        (
            {"machine": {**this_machine(), "id": "x"}},
            "* is of another machine: its identity was x, here it is *",
        ),
        ({"machine": None}, "* is of another machine: *"),
        ({"version": 0}, "* has version 0; this release reads version 1"),
        ({"noise_memory_s": -1}, "* has a noise_memory_s of -1, which is not a time above 0"),
    ],
)
def test_one_that_is_no_use_is_said_and_the_default_is_taken(
    project: Project, changes: dict[str, Any], problem: str
) -> None:
    keep(**changes)

    run = project.run("--collect-only")

    run.stdout.fnmatch_lines(
        [f"tfserving: noise memory 10 s (the default: {problem}; run pytest-tfserving calibrate)"]
    )


def test_one_that_is_cut_off_is_said(project: Project) -> None:
    path = keep()
    path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8")

    run = project.run("--collect-only")

    run.stdout.fnmatch_lines(["*noise memory 10 s (the default: * is not whole JSON: *; run *"])


@pytest.mark.parametrize(
    "content", ["[1]", "7", "null", '{"version": 1}', "[" * 50_000], ids=lambda content: content[:20]
)
def test_one_that_is_something_else_is_said(project: Project, content: str) -> None:
    keep().write_text(content, encoding="utf-8")

    run = project.run("--collect-only")

    run.stdout.fnmatch_lines(["*noise memory 10 s (the default: the calibration * is n*; run *"])


@pytest.mark.parametrize(
    ("key", "value"), [("measured_at", 7), ("cores", {}), ("noise_memory_s", True), ("answer", None)]
)
def test_one_that_somebody_changed_is_not_used(project: Project, key: str, value: object) -> None:
    path = keep()
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, key: value}), encoding="utf-8")

    run = project.run("--collect-only")

    said = "*noise memory 10 s (the default: the calibration * is not what this version of *; run *"
    run.stdout.fnmatch_lines([said])


def test_servers_elsewhere_are_not_under_this_machines_noise(project: Project) -> None:
    keep()

    run = project.run(
        "--tfserving-target=url", "--tfserving-url=http://h:1/v1/models/m", "--collect-only", server=False
    )

    run.stdout.fnmatch_lines(["tfserving: noise memory 10 s (the default)"])
