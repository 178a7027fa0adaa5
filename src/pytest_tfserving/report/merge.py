"""Several documents as one: of equal runs the latest counts, and is compared with the one before it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.calibration.run_scatter import RunScatter
from pytest_tfserving.report.comparison import Base, compare
from pytest_tfserving.report.report_data import place_of
from pytest_tfserving.report.stored_runs import kept, stored_form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfserving.report.schema import ComparisonData, Document, ResultData

# Runs that agree in these fields are the same: the latest one counts.
_SAME = ("experiment", "origin", "target", "identity", "profile")
# No limit on a change is judged.
_ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class _Run:
    """A result, and the name of its document."""

    source: str
    result: ResultData


def merged(documents: Mapping[str, Document]) -> Document:
    """Merge documents into one.

    Of equal runs of an experiment the latest one counts; `with_changes` compares it with the one before.
    """
    every = list(documents.values())
    latest = [equal[-1].result for equal in _equal_runs(documents).values()]
    return {
        **every[0],
        "interrupted": any(each["interrupted"] for each in every),
        "searches": [search for each in every for search in each["searches"]],
        "results": sorted(latest, key=lambda each: place_of(each["configuration"], each["started_at"])),
        "comparison": next(filter(None, (each["comparison"] for each in every)), None),
    }


def with_changes(document: Document, documents: Mapping[str, Document]) -> Document:
    """Return a merged document with the comparison of its results with equal runs before them.

    If one of the documents has a comparison, it stays.

    Args:
        document: the merged document.
        documents: the documents by their names, which the comparison shows.
    """
    if document["comparison"]:
        return document
    repeated = {key: equal for key, equal in _equal_runs(documents).items() if len(equal) > 1}
    results = [each for each in document["results"] if _key(each) in repeated]
    before = [equal[-2] for equal in repeated.values()]
    return {**document, "comparison": _comparison(document, results, before)}


def _equal_runs(documents: Mapping[str, Document]) -> dict[tuple[str, ...], list[_Run]]:
    """Return the runs of all documents: those that are equal in one list, the latest last."""
    runs = [_Run(name, result) for name, each in documents.items() for result in each["results"]]
    equal: defaultdict[tuple[str, ...], list[_Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.result["started_at"]):
        equal[_key(run.result)].append(run)
    return dict(equal)


def _key(result: ResultData) -> tuple[str, ...]:
    return tuple(json.dumps(result.get(name), sort_keys=True) for name in _SAME)


def _comparison(
    document: Document, results: Sequence[ResultData], before: Sequence[_Run]
) -> ComparisonData | None:
    """Return the comparison of results with the runs ``before`` them; None if there are none."""
    if not before:
        return None
    name = ", ".join(dict.fromkeys(run.source for run in before))
    earlier: Document = {**document, "results": [run.result for run in before]}
    ended = max(run.result["started_at"] for run in before)
    calibration = document["calibration"]
    scatter = RunScatter.of(calibration) if calibration else None
    why = "the machine was not calibrated; run pytest-tfserving calibrate"
    base = Base(
        stored_form(earlier, name, ended, None), scatter, why, force_option="pytest-tfserving compare --force"
    )
    return compare([kept(each) for each in results], base, (), _ALPHA)
