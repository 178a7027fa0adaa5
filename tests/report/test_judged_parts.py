"""The parts of a run that an SLO judges one by one, as reports show them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import pytest

import planted_results as planted
from pytest_tfserving.report.judged_parts import part_lines, part_tables
from pytest_tfserving.report.markdown import markdown_text
from pytest_tfserving.slo.span_figure import SpanFigure

if TYPE_CHECKING:
    from pytest_tfserving.report.schema import ResultData

EVERY = "p95<200ms every 10s"


def result_with(**parts: list[tuple[float, bool | None]]) -> ResultData:
    """A result whose SLO on windows, or on recovery, has found these values."""
    texts = {"windows": EVERY, "errors": "errors<1% every 10s", "recovery": "recovery<5s"}
    figures = {
        texts[name]: [
            {"start_s": 10.0 * at, "end_s": 10.0 * at + 10, "value": value, "holds": holds}
            for at, (value, holds) in enumerate(found)
        ]
        for name, found in parts.items()
    }
    return cast("ResultData", {"parts": figures})


def test_windows_that_miss_the_limit_come_first() -> None:
    (table,) = part_tables(result_with(windows=[(150, True), (199, None), (412, False), (math.nan, None)]))

    assert table.summary == "4 windows, 1 met, 1 missed, 2 undecided"
    assert [tuple(row) for row in table.rows] == [
        ("20 to 30", "412 ms", "missed", "FAIL"),
        ("10 to 20", "199 ms", "undecided", "INCONCLUSIVE"),
        ("30 to 40", "-", "undecided", "INCONCLUSIVE"),
    ]


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        (
            {"windows": [(150, True), (412, False)]},
            "p95<200ms every 10s: 2 windows, 1 met, 1 missed: 412 ms from 10 to 20 s, missed",
        ),
        ({"errors": [(0.25, False)]}, "errors<1% every 10s: 1 window, 1 missed: 25% from 0 to 10 s, missed"),
        (
            {"recovery": [(7000, False), (1000, True)]},
            "recovery<5s: 2 recoveries, 1 met, 1 missed: 7 s from 0 to 10 s, missed",
        ),
    ],
)
def test_a_line_has_the_parts_that_miss_the_limit(
    parts: dict[str, list[tuple[float, bool | None]]], line: str
) -> None:
    assert part_lines(result_with(**parts)) == [line]


def test_windows_that_all_meet_the_limit_have_no_line() -> None:
    assert part_lines(result_with(windows=[(150, True)])) == []
    assert part_lines(cast("ResultData", {})) == []


def test_a_long_list_is_cut() -> None:
    windows: list[tuple[float, bool | None]] = [(412, False)] * 30

    assert part_lines(result_with(windows=windows))[0].endswith("; and 25 more")
    assert [(len(each.rows), each.more) for each in part_tables(result_with(windows=windows))] == [(20, 10)]


def test_the_markdown_has_the_windows_that_miss_the_limit() -> None:
    parts = {EVERY: (SpanFigure(0.0, 10.0, 150.0, True), SpanFigure(10.0, 20.0, 412.0, False))}
    text = markdown_text(planted.document(planted.entry(planted.result(parts=parts))))

    assert "**By window**" in text
    assert f"`{EVERY}: 2 windows, 1 met, 1 missed: 412 ms from 10 to 20 s, missed`" in text
