"""Comparison of a result with that of a baseline server, as reports show it: a row for each metric."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.report.comparison import BETTER, UNCLEAR, WORSE, finding
from pytest_tfserving.report.formatting import change_with_interval, named, smallest_text, written
from pytest_tfserving.slo.language import Verdict
from pytest_tfserving.slo.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.load.server_comparison import ServerComparison
    from pytest_tfserving.report.schema import JudgedData, ServerChangeData, ServerComparisonData
    from pytest_tfserving.slo.metrics import Metric

HEAD = ("metric", "candidate", "baseline server", "change [95 % interval]", "smallest seen", "verdict")
# An SLO on a change, as ``p95<=+5%``; a document may have SLOs that another version could read.
_CHANGE_SLO = re.compile(r"\s*([A-Za-z_][\w.]*)\s*[<>]=?\s*[+-].*%\s*")
_COLOURED = {WORSE: str(Verdict.FAIL), BETTER: str(Verdict.PASS)}


@dataclass(frozen=True, slots=True)
class ChangedMetric:
    """The change of a metric from the baseline server to the candidate, as text.

    Attributes:
        name: the name of the metric with its unit.
        candidate: the candidate's figure.
        baseline: the baseline server's figure.
        change: the change with its interval.
        smallest: the smallest change that the run could have seen.
        verdict: the verdict of the SLOs on the change; without one ``worse`` or ``better`` if the interval
            leaves out no change, else empty.
    """

    name: str
    candidate: str
    baseline: str
    change: str
    smallest: str
    verdict: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the metric's row, as in `HEAD`."""
        return self.name, self.candidate, self.baseline, self.change, self.smallest, self.verdict

    @property
    def kind(self) -> str:
        """The verdict whose colour the row has; empty without colour."""
        return _COLOURED.get(self.verdict, self.verdict)


def changed_metrics(result: JudgedData) -> list[ChangedMetric]:
    """Return the changes of a result against its baseline server; none without a baseline server.

    Errors have a row only if there were any, or if an SLO limits their change.
    """
    comparison = result.get("comparison")
    if not comparison:
        return []
    verdicts = _verdicts(result)
    return [
        _changed(metric, result, comparison, change, verdicts.get(metric.name, ""))
        for metric, change in _known_changes(comparison)
        if metric.name != "errors" or metric.name in verdicts or _any_errors(result, comparison)
    ]


def property_texts(comparison: ServerComparison) -> dict[str, str]:
    """Return the change of each metric in words, by the metric's key."""
    return {
        key: change_with_interval(
            change.value, (change.low, change.high), is_ratio=not _BY_KEY[key].is_fraction
        )
        for key, change in comparison.changes.items()
    }


_BY_KEY = {metric.key: metric for metric in METRICS.values()}


def _known_changes(comparison: ServerComparisonData) -> Iterator[tuple[Metric, ServerChangeData]]:
    """Yield each metric with its change, in the order of the tables."""
    for key, metric in _BY_KEY.items():
        if change := comparison["changes"].get(key):
            yield metric, change


def _any_errors(result: JudgedData, comparison: ServerComparisonData) -> bool:
    return any(each.get("error_rate") for each in (result["metrics"], comparison["metrics"]))


def _changed(
    metric: Metric,
    result: JudgedData,
    comparison: ServerComparisonData,
    change: ServerChangeData,
    verdict: str,
) -> ChangedMetric:
    is_ratio, ends = not metric.is_fraction, (change["low"], change["high"])
    return ChangedMetric(
        name=named(metric),
        candidate=written(metric, result["metrics"].get(metric.key)),
        baseline=written(metric, comparison["metrics"].get(metric.key)),
        change=change_with_interval(change["value"], ends, is_ratio=is_ratio),
        smallest=smallest_text(change["resolution"], is_ratio=is_ratio),
        verdict=verdict or _finding(metric, *ends),
    )


def _finding(metric: Metric, low: float | None, high: float | None) -> str:
    if low is None or high is None or math.isnan(high - low):
        return ""
    return finding(metric, low, high).replace(UNCLEAR, "")


def _verdicts(result: JudgedData) -> dict[str, str]:
    """Return the worst verdict of the SLOs on the change of each metric, by the metric's name."""
    found: dict[str, list[Verdict]] = {}
    for each in result["slos"]:
        if match := _CHANGE_SLO.fullmatch(each["slo"]):
            found.setdefault(match[1], []).append(Verdict(each["verdict"]))
    return {name: str(Verdict.worst(verdicts)) for name, verdicts in found.items()}
