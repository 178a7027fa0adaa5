"""A server that sheds load fails with its name; one that answers from a cache is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_tfserving.load.shedding import Shedding

if TYPE_CHECKING:
    from harness import Project


@pytest.mark.parametrize(
    ("mode", "cause", "every"),
    [
        ("http429", "HTTP 429: queue is full", 2),
        ("http503", "HTTP 503: queue is full", 10),
        ("error200", "HTTP 200 with an error inside: queue is full", 10),
    ],
    ids=["half with 429", "a tenth with 503", "a tenth with 200"],
)
def test_a_server_that_sheds_load_fails_with_its_name(
    project: Project, mode: str, cause: str, every: int
) -> None:
    project.behave(mode=mode, after=10, every=every, latencies_ms=[20])

    run, (result,) = project.results("--tfserving-html=out.html")

    run.assert_outcomes(failed=1)
    assert result["verdict"] == "FAIL"
    (warning,) = result["warnings"]
    assert warning.startswith("the server sheds load: it refused ")
    assert warning.endswith(f" ({cause})")
    run.stdout.fnmatch_lines(["*  server: the server sheds load: it refused * requests within *"])
    assert "the server sheds load" in (project.pytester.path / "out.html").read_text(encoding="utf-8")


def test_refusals_that_take_as_long_as_answers_are_no_shedding() -> None:
    shedding = Shedding({1: "HTTP 503: queue is full", 2: "HTTP 500"})
    shedding.add(np.array([20.0, 22.0, 21.0, 0.1]), np.array([0.0, 0.0, 1.0, 2.0]))
    assert shedding.found() == ""

    shedding.add(np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    assert shedding.found() == (
        "the server sheds load: it refused 3 requests within 1 ms, responses took 20 ms "
        "(HTTP 503: queue is full)"
    )
