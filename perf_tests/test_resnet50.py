"""The reference experiment as tests: one run of load an experiment, judged twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tfserving import Load


def test_min_rps(load: Load) -> None:
    load().check("rps", "efficiency")


def test_max_p95(load: Load) -> None:
    load().check("p95")
