"""History for other programs: CSV of all runs, and the last run in the formats of two services."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.report.json import json_text
from pytest_tfserving.slo.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfserving.report.history import Series
    from pytest_tfserving.report.schema import Ends, StoredResult, StoredRun
    from pytest_tfserving.slo.metrics import Metric

_HEAD = ("saved_at", "name", "commit", "server", "experiment", "metric", "value", "low", "high", "change")


def csv_text(series: Sequence[Series]) -> str:
    """Return all points as CSV, a line each; ``change`` has the change at a change point."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(_HEAD)
    for each in series:
        changes = {step.at: round(step.change, 6) for step in each.steps}
        for index, point in enumerate(each.points):
            about = (point.saved_at, point.name, point.commit, point.server, each.label, each.metric.key)
            lines.writerow((*about, point.value, point.low, point.high, changes.get(index)))
    return text.getvalue()


def smaller_is_better(run: StoredRun, metrics: Sequence[Metric]) -> str:
    """Return a stored run as JSON in github-action-benchmark's format ``customSmallerIsBetter``.

    Raises:
        ConfigurationError: if a larger value of every metric is better.
    """
    fitting = [metric for metric in metrics if not metric.higher_is_better]
    if not fitting:
        names = ", ".join(each.name for each in METRICS.values() if not each.higher_is_better)
        raise ConfigurationError(
            f"{metrics[0].name} is better if it is higher, and customSmallerIsBetter has no such metrics; "
            f"valid: {names}."
        )
    rows = [
        {
            "name": f"{result['label']}: {metric.label}",
            "unit": _unit(metric),
            "value": value,
            **({"range": f"{interval[0]:.6g} to {interval[1]:.6g}"} if interval else {}),
            "extra": f"{run['name']}, {run['saved_at']}, commit {run['commit']}",
        }
        for result, metric, value, interval in _figures(run, fitting)
    ]
    return json_text(rows)


def bencher(run: StoredRun, metrics: Sequence[Metric]) -> str:
    """Return a stored run as JSON in the Bencher Metric Format."""
    found: dict[str, dict[str, object]] = {}
    for result, metric, value, interval in _figures(run, metrics):
        ends = {"lower_value": interval[0], "upper_value": interval[1]} if interval else {}
        found.setdefault(result["label"], {})[metric.key.replace("_", "-")] = {"value": value, **ends}
    return json_text(found)


def _figures(
    run: StoredRun, metrics: Sequence[Metric]
) -> Iterator[tuple[StoredResult, Metric, float, Ends | None]]:
    """Yield each measured figure of a stored run, with its interval."""
    for result in run["results"]:
        for metric in metrics:
            value = result["metrics"].get(metric.key)
            if value is not None and result["measured"]:
                yield result, metric, value, result["intervals"].get(metric.key)


def _unit(metric: Metric) -> str:
    if metric.is_in_ms:
        return "ms"
    return "fraction" if metric.is_fraction else "requests/s"
