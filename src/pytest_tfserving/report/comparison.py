"""Comparison of results with a stored run: per experiment and metric the change, with its interval."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, cast

from pytest_tfserving.report.formatting import change_with_interval, smallest_text
from pytest_tfserving.report.labels import value_text
from pytest_tfserving.report.stored_runs import identity_of
from pytest_tfserving.slo.language import Verdict
from pytest_tfserving.slo.metrics import METRICS
from pytest_tfserving.statistics.ratio import Change, Figure, difference, relative_change

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfserving.calibration.run_scatter import RunScatter
    from pytest_tfserving.report.schema import (
        ChangeData,
        ComparedData,
        ComparisonData,
        LimitData,
        StoredResult,
        StoredRun,
    )
    from pytest_tfserving.slo.change_limit import ChangeLimit
    from pytest_tfserving.slo.metrics import Metric

    # What a result was measured on or with, by name.
    _Facts = Mapping[str, object]


WORSE, BETTER, UNCLEAR = "worse", "better", "cannot be told apart"
# Facts of a machine whose difference makes it another machine.
_MACHINE = ("cpu", "cores", "ram_gb", "id")
_WORDS = {"server": "server or image"}


@dataclass(frozen=True, slots=True)
class Base:
    """The stored run that results are compared with.

    Attributes:
        stored: its content, as `read_stored` returns it.
        scatter: the scatter between runs of this machine; None if it is not known.
        why_no_scatter: why the scatter is not known.
        force: whether results are compared although they are of another machine, image or load.
        force_option: the option that sets ``force``.
    """

    stored: StoredRun
    scatter: RunScatter | None
    why_no_scatter: str
    force: bool = False
    force_option: str = "--tfserving-compare-force"

    @property
    def title(self) -> str:
        """The name of the stored run with its date and its commit."""
        saved_at, commit = str(self.stored["saved_at"])[:16].replace("T", " "), self.stored["commit"]
        parts = [f"of {saved_at} UTC" if saved_at else "", f"commit {commit}" if commit else ""]
        about = ", ".join(filter(None, parts))
        return f"{self.stored['name']} ({about})" if about else str(self.stored["name"])


@dataclass(frozen=True, slots=True)
class Pair:
    """A result, and the result of the stored run that it is compared with.

    Attributes:
        now: the result.
        before: the result of the stored run; None without one.
        differences: what forbids to compare the two.
        force_option: the option that compares nevertheless; empty if it is given.
    """

    now: StoredResult
    before: StoredResult | None
    differences: tuple[str, ...]
    force_option: str

    @property
    def refused(self) -> str:
        """Why the two are not compared, as a part of a sentence; empty if they are."""
        if self.before is None:
            return "the stored run does not have this experiment"
        if not self.now["measured"]:
            return f"it has no valid figures now: {self.now['verdict']}"
        if not self.before["measured"]:
            return f"it had no valid figures then: {self.before['verdict']}"
        if not (self.differences and self.force_option):
            return ""
        return f"{'; '.join(self.differences)}; {self.force_option} compares nevertheless"


def compare(
    results: Sequence[StoredResult], base: Base, limits: Sequence[ChangeLimit], alpha: float
) -> ComparisonData:
    """Return the comparison of results with a stored run as plain values.

    Args:
        results: results as stored runs have them.
        base: the stored run.
        limits: the largest changes that are allowed.
        alpha: the largest probability that any of the verdicts on ``limits`` is a wrong FAIL.
    """
    pairs = [pair_of(result, base) for result in results]
    rows = [_experiment(pair, base) for pair in pairs]
    return {
        "base": base.title,
        "forced": base.force and any(row["differences"] for row in rows),
        "scatter": _scatter_text(base),
        "sentence": _sentence(base, rows),
        "experiments": rows,
        "limits": list(_judged(pairs, base, limits, alpha)),
    }


def pair_of(result: StoredResult, base: Base) -> Pair:
    """Return a result with the result of the stored run that is nearest to it."""
    same = [each for each in base.stored["results"] if _key(each) == _key(result)]
    found = [(tuple(_differences(each, result)), each) for each in same]
    force_option = "" if base.force else base.force_option
    if not found:
        return Pair(result, None, (), force_option)
    fewest = min(len(differences) for differences, _ in found)
    latest = max(
        (each for each in found if len(each[0]) == fewest), key=lambda each: str(each[1]["started_at"])
    )
    return Pair(result, latest[1], latest[0], force_option)


def changes_of(pair: Pair, base: Base) -> Iterator[tuple[Metric, Change]]:
    """Yield the change of each metric that has an interval in both results."""
    if pair.refused:
        return
    for metric in METRICS.values():
        if change := _change(pair, base, metric):
            yield metric, change


def property_texts(result: StoredResult, base: Base) -> dict[str, str]:
    """Return the change of each metric in words, by the metric's key; ``base`` if nothing is compared."""
    pair = pair_of(result, base)
    if pair.refused:
        return {"base": f"{base.title}; not compared: {pair.refused}"}
    forced = f"; compared although {'; '.join(pair.differences)}" if pair.differences else ""
    texts = {
        metric.key: change_with_interval(change.value, change.interval(), is_ratio=change.is_ratio)
        for metric, change in changes_of(pair, base)
    }
    return {"base": f"{base.title}{forced}", **texts}


def _key(result: StoredResult) -> tuple[str, ...]:
    return result["experiment"], json.dumps(result.get("origin") or {}, sort_keys=True)


def _differences(before: StoredResult, now: StoredResult) -> Iterator[str]:
    """Yield what forbids to compare two results, as parts of a sentence."""
    old_machine, new_machine = _machine(before), _machine(now)
    for name in _differing_facts(old_machine, new_machine):
        yield _was("machine", name, old_machine, new_machine)
    for what, old, new in (
        ("profile", _load(before), _load(now)),
        ("", _served(before), _served(now)),
    ):
        for name in dict.fromkeys([*old, *new]):
            if old.get(name) != new.get(name):
                yield _was(what, name, old, new)


def _was(what: str, name: str, old: _Facts, new: _Facts) -> str:
    said = f"{what} {_WORDS.get(name, name)}".strip()
    return f"{said} was {value_text(old.get(name))}, is {value_text(new.get(name))}"


def _load(result: StoredResult) -> _Facts:
    """Return the load profile without its name."""
    return {**result["profile"], "name": None}


def _served(result: StoredResult) -> _Facts:
    """Return what was served and what was sent."""
    return {"target": result["target"], **identity_of(result)}


def _machine(result: StoredResult) -> _Facts:
    return cast("_Facts", result["environment"].get("machine") or {})


def _differing_facts(old: _Facts, new: _Facts) -> list[str]:
    """Return the names of known facts in which two machines differ."""
    known = [name for name in _MACHINE if None not in (old.get(name), new.get(name))]
    return [name for name in known if old[name] != new[name]]


def machine_difference(stored: StoredRun, machine: Mapping[str, object]) -> str:
    """Return why no result of a stored run is of a machine, as a part of a sentence; empty if one is."""
    differing = [(_machine(each), _differing_facts(_machine(each), machine)) for each in stored["results"]]
    if not all(names for _, names in differing):
        return ""
    its, names = differing[0]
    return f"its {names[0]} was {value_text(its[names[0]])}, here it is {value_text(machine[names[0]])}"


def _change(pair: Pair, base: Base, metric: Metric) -> Change | None:
    assert pair.before is not None
    figures = [_figure(each, metric, base.scatter) for each in (pair.before, pair.now)]
    if None in figures:
        return None
    before, now = (each for each in figures if each)
    return difference(before, now) if metric.name == "errors" else relative_change(before, now)


def _figure(result: StoredResult, metric: Metric, scatter: RunScatter | None) -> Figure | None:
    value, interval = result["metrics"].get(metric.key), result["intervals"].get(metric.key)
    length_s = _length_s(result)
    if value is None or not interval or length_s <= 0:
        return None
    figure = Figure(value, *interval)
    least_sd, between_sd = scatter.sds(metric, length_s) if scatter else (0.0, 0.0)
    return replace(figure, least_sd=least_sd, between_sd=between_sd)


def _length_s(result: StoredResult) -> float:
    window = result["window"]
    return float(window["end_s"] - window["start_s"])


def _experiment(pair: Pair, base: Base) -> ComparedData:
    return {
        "label": pair.now["label"],
        "not_compared": pair.refused,
        "differences": list(pair.differences),
        "changes": [_row(pair, metric, change) for metric, change in changes_of(pair, base)],
    }


def _row(pair: Pair, metric: Metric, change: Change) -> ChangeData:
    assert pair.before is not None
    low, high = change.interval()
    return {
        "metric": metric.name,
        "key": metric.key,
        "before": pair.before["metrics"][metric.key],
        "now": pair.now["metrics"][metric.key],
        "is_ratio": change.is_ratio,
        "change": change.value,
        "interval": [low, high],
        "smallest_change": change.smallest(upward=not metric.higher_is_better),
        "finding": finding(metric, low, high),
    }


def finding(metric: Metric, low: float, high: float) -> str:
    """Return whether a change is for the worse or the better; neither if its interval contains 0."""
    if low <= 0 <= high:
        return UNCLEAR
    return BETTER if (low > 0) == metric.higher_is_better else WORSE


def _scatter_text(base: Base) -> str:
    if base.scatter:
        measured_at = base.scatter.measured_at[:10]
        return f"intervals allow for the scatter between runs of this machine, as calibrated {measured_at}"
    return f"the scatter between runs is not included: {base.why_no_scatter}"


def _sentence(base: Base, rows: Sequence[ComparedData]) -> str:
    """Return the outcome in one sentence."""
    counts = Counter(change["finding"] for row in rows for change in row["changes"])
    refused = sum(bool(row["not_compared"]) for row in rows)
    total = counts.total()
    parts = [f"{total} figure{'' if total == 1 else 's'}"]
    parts += [f"{counts[found]} {found}" for found in (WORSE, BETTER, UNCLEAR) if counts[found]]
    parts += [f"{refused} experiment{'' if refused == 1 else 's'} not compared"] if refused else []
    return f"compared with {base.title}: {', '.join(parts)}"


def _judged(
    pairs: Sequence[Pair], base: Base, limits: Sequence[ChangeLimit], alpha: float
) -> Iterator[LimitData]:
    """Yield the verdict on each limit for each compared result.

    All verdicts together may be wrong with a probability of ``alpha``, so each one may with an equal part.
    """
    checks = [(pair, limit) for limit in limits for pair in pairs if pair.before is not None]
    for pair, limit in checks:
        verdict, reason = _judge(pair, base, limit, NormalDist().inv_cdf(1 - alpha / len(checks)))
        yield {
            "label": pair.now["label"],
            "limit": limit.text,
            "verdict": str(verdict),
            "reason": reason,
        }


def _judge(pair: Pair, base: Base, limit: ChangeLimit, z: float) -> tuple[Verdict, str]:
    if pair.refused:
        return Verdict.NOT_JUDGED, f"not compared: {pair.refused}"
    metric = limit.definition
    change = _change(pair, base, metric)
    if change is None:
        return Verdict.INCONCLUSIVE, f"cannot tell: one of the runs has no interval of {limit.metric}"
    low, high = change.interval(z)
    least, most = (-high, -low) if metric.higher_is_better else (low, high)
    said = f"{limit.metric} {change_with_interval(change.value, (low, high), is_ratio=change.is_ratio)}"
    sign, unit = "-" if metric.higher_is_better else "+", "%" if change.is_ratio else "points"
    allowed = f"{sign}{100 * limit.most:g} {unit}"
    if least > limit.most:
        unsure = "" if base.scatter else "; the scatter between runs is not included"
        return Verdict.FAIL, f"worse: {said}, {allowed} is allowed{unsure}"
    if most <= limit.most:
        return Verdict.PASS, f"not worse than {allowed}: {said}"
    smallest = smallest_text(change.smallest(upward=not metric.higher_is_better), is_ratio=change.is_ratio)
    seen = f"this comparison could have seen {smallest}"
    return Verdict.INCONCLUSIVE, f"cannot tell whether it is worse than {allowed}: {said}; {seen}"
