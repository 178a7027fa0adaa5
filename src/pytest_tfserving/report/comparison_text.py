"""Comparison with a stored run as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.report.comparison import UNCLEAR
from pytest_tfserving.report.formatting import (
    aligned,
    change_with_interval,
    columns,
    named,
    smallest_text,
    written,
)
from pytest_tfserving.slo.metrics import metric_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.report.schema import ChangeData, ComparedData, ComparisonData, LimitData

HEAD = ("metric", "before", "now", "change [95 % interval]", "smallest seen", "")


def cells(change: ChangeData) -> tuple[str, ...]:
    """Return the cells of a metric's row, as in `HEAD`."""
    metric, is_ratio = metric_of(change["metric"]), change["is_ratio"]
    return (
        named(metric),
        written(metric, change["before"]),
        written(metric, change["now"]),
        change_with_interval(change["change"], change["interval"], is_ratio=is_ratio),
        smallest_text(change["smallest_change"], is_ratio=is_ratio),
        "" if change["finding"] == UNCLEAR else change["finding"],
    )


def shown_changes(experiment: ComparedData) -> list[ChangeData]:
    """Return the changes of an experiment that short reports show: those of metrics with a column."""
    names = {each.name for each in columns()}
    return [change for change in experiment["changes"] if change["metric"] in names]


def lines(comparison: ComparisonData) -> list[str]:
    """Return the comparison as a table and the sentences below it; verdicts on limits are not in it."""
    rows = [
        (experiment["label"], *cells(change))
        for experiment in comparison["experiments"]
        for change in shown_changes(experiment)
    ]
    return [*_table([("", *HEAD), *rows] if rows else []), *notes(comparison)]


def notes(comparison: ComparisonData) -> list[str]:
    """Return the sentences of a comparison: what was not compared, what was forced, what intervals have."""
    return [*_not_compared(comparison), *_forced(comparison), comparison["scatter"]]


def limit_line(limit: LimitData) -> str:
    """Return the verdict on a limit."""
    return f"{limit['label']}: {limit['verdict']}: {limit['limit']}: {limit['reason']}"


def _not_compared(comparison: ComparisonData) -> Iterator[str]:
    for each in comparison["experiments"]:
        if cause := each["not_compared"]:
            yield f"{each['label']}: not compared: {cause}"


def _forced(comparison: ComparisonData) -> Iterator[str]:
    if comparison["forced"]:
        for each in comparison["experiments"]:
            if each["differences"] and not each["not_compared"]:
                yield f"{each['label']}: compared by force, although {'; '.join(each['differences'])}"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines; a name stands only in its first row."""
    width = max((len(name) for name, *_ in rows), default=0)
    names = [name for name, *_ in rows]
    shown = ["" if name == before else name for before, name in zip(["", *names], names, strict=False)]
    lines = aligned([figures for _, *figures in rows])
    return [f"{name:{width}}  {line}" for name, line in zip(shown, lines, strict=True)]
