"""History: the figures of stored runs as series, one for each experiment and load on a machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from pytest_tfserving.report.formatting import change_text, written
from pytest_tfserving.report.labels import LabelledRow, labels
from pytest_tfserving.report.stored_runs import identity_of
from pytest_tfserving.statistics.change_points import change_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_tfserving.report.schema import StoredResult, StoredRun
    from pytest_tfserving.slo.metrics import Metric

# A series goes on when these change: what changed is what a history is about.
_MAY_CHANGE = ("server", "model")
_MACHINE = ("cpu", "cores", "ram_gb", "id")


@dataclass(frozen=True, slots=True)
class Point:
    """A figure of a stored run; ``low`` and ``high`` are the ends of its 95 % interval, if it has one."""

    saved_at: str
    name: str
    commit: str
    server: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """A change point.

    Attributes:
        at: the index of the first point of the new level.
        change: the change of the median from the level before to the new one, relative or a difference.
    """

    at: int
    change: float


@dataclass(frozen=True, slots=True)
class Series:
    """A metric of one experiment under one load on one machine, over stored runs, with its change points."""

    label: str
    metric: Metric
    points: tuple[Point, ...]
    steps: tuple[Step, ...]

    def sentence(self, step: Step) -> str:
        """Return a change point in words."""
        point = self.points[step.at]
        commit = f", commit {point.commit}" if point.commit else ""
        change = change_text(step.change, is_ratio=self.metric.name != "errors")
        place = f"run {step.at + 1} of {len(self.points)}"
        return f"{self.metric.label} {change} at {place}: {point.name}, {point.saved_at[:10]}{commit}"

    @property
    def answer(self) -> str:
        """The last figure, and the change points, in one sentence."""
        unit = " ms" if self.metric.is_in_ms else ""
        last = f"{self.metric.label} is {written(self.metric, self.points[-1].value)}{unit}"
        count = len(self.points)
        runs = f"in the last of {count} runs" if count > 1 else "in the only run"
        changes = "; ".join(map(self.sentence, self.steps)) or "no change is proved"
        return f"{last} {runs}; {changes}"


def series_of(runs: Sequence[StoredRun], metric: Metric) -> list[Series]:
    """Return the series of a metric over stored runs, which are in the order of their time."""
    groups: dict[str, list[tuple[StoredResult, Point]]] = {}
    for run in runs:
        for result in run["results"]:
            if point := _point(run, result, metric):
                groups.setdefault(_key(result), []).append((result, point))
    names = labels([_row(group[-1][0]) for group in groups.values()])
    return [
        _series(name, metric, tuple(point for _, point in group))
        for name, group in zip(names, groups.values(), strict=True)
    ]


def _series(label: str, metric: Metric, points: tuple[Point, ...]) -> Series:
    values = np.array([point.value for point in points])
    is_relative = metric.name != "errors" and bool((values > 0).all())
    found = change_points(np.log(values) if is_relative else values)
    return Series(label, metric, points, tuple(_steps(values, found, is_relative=is_relative)))


def _steps(values: NDArray[np.float64], found: Sequence[int], *, is_relative: bool) -> Iterator[Step]:
    edges = [0, *found, len(values)]
    for before, at, behind in zip(edges[:-2], found, edges[2:], strict=True):
        old, new = float(np.median(values[before:at])), float(np.median(values[at:behind]))
        yield Step(at, new / old - 1 if is_relative else new - old)


def _point(run: StoredRun, result: StoredResult, metric: Metric) -> Point | None:
    value = result["metrics"].get(metric.key)
    if value is None or not result["measured"]:
        return None
    low, high = result["intervals"].get(metric.key) or (None, None)
    server = str(result.get("identity", {}).get("server", ""))
    return Point(run["saved_at"], run["name"], run["commit"] or "", server, value, low, high)


def _key(result: StoredResult) -> str:
    row = _row(result)
    return json.dumps([row.experiment, row.target, row.origin, {**row.profile, "name": None}, row.identity])


def _row(result: StoredResult) -> LabelledRow:
    """Return what makes the series of a result, and tells series of one name apart."""
    machine = cast("Mapping[str, object]", result["environment"].get("machine") or {})
    identity = {name: value for name, value in identity_of(result).items() if name not in _MAY_CHANGE}
    return LabelledRow(
        result["experiment"],
        result["target"],
        result.get("origin", {}),
        result["profile"],
        {**identity, "machine": {name: machine.get(name) for name in _MACHINE}},
    )
