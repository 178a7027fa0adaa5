"""The document: all results of pytest runs as plain values, the content of the JSON and of reports."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.experiments.experiment import Shape
from pytest_tfserving.report.cost import Prices, Pricing
from pytest_tfserving.report.json import judgement_as_dict, metrics, result_as_dict
from pytest_tfserving.report.labels import labelled, labelled_searches
from pytest_tfserving.report.recommendation import Candidate, recommend
from pytest_tfserving.slo.language import Verdict
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfserving.report.store import Entry
    from pytest_tfserving.statistics.latencies import Latencies

SCHEMA_VERSION = 2
# Where the distribution of latencies is told, in per cent: finer towards the tail.
_DISTRIBUTION = (*range(0, 90, 2), *np.arange(90, 99, 0.5), *np.arange(99, 100, 0.05), 99.99, 100)
_ORDER = ("vcpus", "ram_gb", "nodes", "protocol", "payload", "batching", "inter_op", "model")
# Runs that agree in these fields are the same: the latest one counts.
_SAME = ("experiment", "origin", "target", "identity", "profile")


def place_of(configuration: Mapping[str, Any], started_at: str) -> tuple[Any, ...]:
    """Return the sort key of tables and pictures: shape, protocol, batching, inter-op; unknown ones last."""
    return (not configuration, *(_orderable(configuration.get(name, "")) for name in _ORDER), started_at)


def _orderable(value: Any) -> tuple[Any, ...]:
    """Return a part of a configuration as a part of a sort key; texts come before numbers."""
    return (1, value) if isinstance(value, int | float) else (0, str(value))


def document_of(
    entries: Sequence[Entry],
    *,
    interrupted: bool,
    pricing: Pricing,
    searches: Sequence[Mapping[str, Any]] = (),
    calibration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return all that one pytest run measured, with the calibration of its machine if there is one.

    Its comparison with a stored run is None; who makes one sets it, because it is made from the document.
    """
    results = [
        {
            **result_as_dict(entry.result),
            "measured": entry.result.is_measured,
            "metrics": metrics(entry.result),
            "distribution": _distribution(entry.result.latencies),
            "verdict": str(entry.verdict),
            "earlier": entry.earlier,
            "slos": [
                {"test": nodeid, **judgement_as_dict(judgement)} for nodeid, judgement in entry.judgements
            ],
        }
        for entry in entries
    ]
    content = {"schema_version": SCHEMA_VERSION, "pytest_tfserving": __version__}
    parts = {"interrupted": interrupted, "results": results, "searches": list(searches)}
    return priced({**content, **parts, "calibration": calibration, "comparison": None}, pricing)


def priced(document: dict[str, Any], pricing: Pricing) -> dict[str, Any]:
    """Return the document with the labels and costs of its results, and with the recommendation."""
    results = [{**result, "cost": _cost(result, pricing)} for result in labelled(document["results"])]
    measured = [result for result in results if result["measured"]]
    choice = recommend(
        [_candidate(each) for each in measured if each["verdict"] == Verdict.PASS], len(measured)
    )
    return {
        **document,
        "prices": {**asdict(pricing.prices), "hours_a_month": pricing.hours},
        "recommendation": asdict(choice),
        "results": results,
        "searches": labelled_searches(document["searches"]),
    }


def merged(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge several documents into one; of equal runs of an experiment the latest one counts."""
    latest: dict[tuple[str, ...], dict[str, Any]] = {}
    results = [result for document in documents for result in document["results"]]
    for result in sorted(results, key=lambda result: str(result["started_at"])):
        latest[tuple(json.dumps(result.get(name), sort_keys=True) for name in _SAME)] = result
    return {
        **documents[0],
        "interrupted": any(document["interrupted"] for document in documents),
        "searches": [search for document in documents for search in document["searches"]],
        "comparison": next(filter(None, (document["comparison"] for document in documents)), None),
        "results": sorted(
            latest.values(), key=lambda result: place_of(result["configuration"], result["started_at"])
        ),
    }


def pricing_of(document: Mapping[str, Any]) -> Pricing:
    """Return the prices of a document."""
    prices = document["prices"]
    known = {part.name: prices[part.name] for part in fields(Prices)}
    return Pricing(Prices(**known), prices["hours_a_month"])


def _cost(result: Mapping[str, Any], pricing: Pricing) -> dict[str, float | None] | None:
    if not result["configuration"]:
        return None
    shape = Shape.parse(result["configuration"]["shape"])
    million = pricing.prices.million_usd(shape, result["metrics"]["rps"]) if result["measured"] else None
    return {"month_usd": pricing.prices.month_usd(shape, pricing.hours), "million_usd": million}


def _candidate(result: Mapping[str, Any]) -> Candidate:
    intervals = {name: (low, high) for name, (low, high) in result["intervals"].items()}
    return Candidate(
        name=result["label"],
        rps=result["metrics"]["rps"],
        p95_ms=result["metrics"]["p95_ms"],
        month_usd=result["cost"]["month_usd"] if result["cost"] else None,
        rps_interval=intervals.get("rps"),
        p95_interval=intervals.get("p95_ms"),
    )


def _distribution(latencies: Latencies) -> list[tuple[float, float]]:
    """Return enough percentiles to draw the whole distribution, as (per cent, ms)."""
    if not len(latencies):
        return []
    return [(round(float(at), 2), round(latencies.percentile_ms(at), 4)) for at in _DISTRIBUTION]
