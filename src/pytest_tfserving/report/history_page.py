"""The history as one HTML page, which needs no network and no other file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import jinja2

from pytest_tfserving.report.formatting import change_text, written
from pytest_tfserving.report.html import ASSETS, asset, script_data
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.report.history import Series


def history_html(series: Sequence[Series]) -> str:
    """Return the HTML page of several series of one metric."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined
    )
    metric = series[0].metric
    return environment.get_template("history.html.j2").render(
        metric=metric,
        unit=" ms" if metric.is_in_ms else "",
        series=[{"label": each.label, "answer": each.answer, "rows": _rows(each)} for each in series],
        version=__version__,
        data=script_data([_drawn(each) for each in series]),
        css=asset("report.css"),
        d3=asset("d3.min.js"),
        plot=asset("plot.min.js"),
        script=asset("history.js"),
    )


def _rows(series: Series) -> list[list[str]]:
    """Return a row for each run, the latest first."""
    metric, changes = series.metric, {step.at: step.change for step in series.steps}
    rows = []
    for index, point in enumerate(series.points):
        ends = f"{written(metric, point.low)} to {written(metric, point.high)}"
        interval = ends if point.low is not None else "-"
        change = change_text(changes[index], is_ratio=metric.name != "errors") if index in changes else ""
        when = point.saved_at[:16].replace("T", " ")
        about = [str(index + 1), when, point.name, point.commit or "-", point.server or "-"]
        rows.append([*about, written(metric, point.value), interval, change])
    return rows[::-1]


def _drawn(series: Series) -> dict[str, object]:
    """Return what the chart of a series draws."""
    return {
        "label": series.label,
        "unit": series.metric.label + (" ms" if series.metric.is_in_ms else ""),
        "points": [{"run": index + 1, **asdict(point)} for index, point in enumerate(series.points)],
        "steps": [
            {"run": step.at + 1, "text": series.points[step.at].commit or series.points[step.at].name}
            for step in series.steps
        ],
    }
