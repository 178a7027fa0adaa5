"""The page of a history as a person has it: in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfserving.report.history import Point, Series, Step
from pytest_tfserving.report.history_page import history_html
from pytest_tfserving.slo.metrics import metric_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.needs("browser")


def series(label: str, steps: tuple[Step, ...]) -> Series:
    """A series of 40 runs, of which the last half is slower; one run has no interval."""
    points = tuple(
        Point(
            f"2026-01-01T{run % 24:02}:00:00+00:00",
            "<b>main</b>",
            f"{run:07x}",
            "embedded",
            value,
            None if run == 3 else 0.98 * value,
            None if run == 3 else 1.02 * value,
        )
        for run, value in enumerate(
            [10.0 + run % 3 for run in range(20)] + [12.0 + run % 3 for run in range(20)]
        )
    )
    return Series(label, metric_of("p95"), points, steps)


def test_each_series_has_a_chart_with_its_change_points(show: Callable[..., Any]) -> None:
    page = show(history_html([series("one", (Step(20, 0.18),)), series("<i>two</i>", ())]))

    assert page.errors() == []
    assert page.count("figure svg[role=img]") == 2
    assert page.count("figure svg [aria-label=dot] circle") == 80
    assert page.count("figure svg [aria-label=rule] line") == 1
    assert page.texts("figure svg [aria-label=text] text") == [f"{20:07x}"]
    assert page.count("main h2 i, main td b") == 0
    page.screenshot("history")


def test_it_fits_a_phone(show: Callable[..., Any]) -> None:
    page = show(history_html([series("one", (Step(20, 0.18),))]), width=360)

    assert page.script("document.documentElement.scrollWidth") <= 360
