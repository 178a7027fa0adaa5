"""The document: all results of pytest runs as plain values, the content of the JSON and of reports."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from pytest_tfserving.experiments.experiment import Shape
from pytest_tfserving.report.cost import Prices, Pricing
from pytest_tfserving.report.json import distribution, judgement_as_dict, metrics, result_as_dict
from pytest_tfserving.report.labels import labelled, labelled_searches
from pytest_tfserving.report.recommendation import Candidate, recommend
from pytest_tfserving.slo.language import Verdict
from pytest_tfserving.statistics.intervals import interval_of
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfserving.calibration.content import Calibration
    from pytest_tfserving.report.schema import (
        CostData,
        Document,
        JudgedData,
        PricedParts,
        RecommendationData,
        ResultData,
        SearchData,
    )
    from pytest_tfserving.report.store import Entry

SCHEMA_VERSION = 2
_ORDER = ("vcpus", "ram_gb", "nodes", "protocol", "payload", "batching", "inter_op", "model")


def place_of(configuration: Mapping[str, object], started_at: str) -> tuple[object, ...]:
    """Return the sort key of tables and pictures: shape, protocol, batching, inter-op; unknown ones last."""
    return (not configuration, *(_orderable(configuration.get(name, "")) for name in _ORDER), started_at)


def _orderable(value: object) -> tuple[int, float | str]:
    """Return a part of a configuration as a part of a sort key; texts come before numbers."""
    return (1, value) if isinstance(value, int | float) else (0, str(value))


def document_of(
    entries: Sequence[Entry],
    *,
    interrupted: bool,
    pricing: Pricing,
    searches: Sequence[SearchData] = (),
    calibration: Calibration | None = None,
) -> Document:
    """Return all that one pytest run measured, with the calibration of its machine if there is one.

    Its comparison with a stored run is None; who makes one sets it, because it is made from the document.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "pytest_tfserving": __version__,
        "interrupted": interrupted,
        **_priced_parts([_judged(each) for each in entries], pricing),
        "searches": labelled_searches(searches),
        "calibration": calibration,
        "comparison": None,
    }


def _judged(entry: Entry) -> JudgedData:
    return {
        **result_as_dict(entry.result),
        "measured": entry.result.is_measured,
        "metrics": metrics(entry.result),
        "distribution": distribution(entry.result.latencies),
        "verdict": str(entry.verdict),
        "earlier": entry.earlier,
        "assertions": [failed.as_dict() for failed in entry.failed],
        "slos": [{"test": nodeid, **judgement_as_dict(judgement)} for nodeid, judgement in entry.judgements],
    }


def priced(document: Document, pricing: Pricing) -> Document:
    """Return the document with the labels and costs of its results, and with the recommendation."""
    return {
        **document,
        **_priced_parts(document["results"], pricing),
        "searches": labelled_searches(document["searches"]),
    }


def _priced_parts(judged: Sequence[JudgedData], pricing: Pricing) -> PricedParts:
    results: list[ResultData] = [{**each, "cost": _cost(each, pricing)} for each in labelled(judged)]
    measured = [each for each in results if each["measured"]]
    choice = recommend(
        [_candidate(each) for each in measured if each["verdict"] == Verdict.PASS],
        [each["verdict"] for each in measured],
        pricing.hours,
        is_cost_asked=pricing.is_asked,
    )
    prices = pricing.prices
    return {
        "results": results,
        "prices": {
            "vcpu_hour_usd": prices.vcpu_hour_usd,
            "gb_hour_usd": prices.gb_hour_usd,
            "source": prices.source,
            "date": prices.date,
            "shapes": prices.shapes,
            "hours_a_month": pricing.hours,
            "asked": pricing.is_asked,
        },
        "recommendation": cast("RecommendationData", asdict(choice)),
    }


def pricing_of(document: Document) -> Pricing:
    """Return the prices of a document."""
    prices = document["prices"]
    return Pricing(
        Prices(
            vcpu_hour_usd=prices["vcpu_hour_usd"],
            gb_hour_usd=prices["gb_hour_usd"],
            source=prices["source"],
            date=prices["date"],
            shapes=prices["shapes"],
        ),
        prices["hours_a_month"],
        prices.get("asked", False),
    )


def _cost(result: JudgedData, pricing: Pricing) -> CostData | None:
    if not result["configuration"]:
        return None
    shape, rps = Shape.parse(result["configuration"]["shape"]), result["metrics"]["rps"]
    million = pricing.prices.million_usd(shape, rps) if result["measured"] and rps else None
    return {"month_usd": pricing.prices.month_usd(shape, pricing.hours), "million_usd": million}


def _candidate(result: ResultData) -> Candidate:
    rps, p95_ms, cost = result["metrics"]["rps"], result["metrics"]["p95_ms"], result["cost"]
    assert rps is not None
    assert p95_ms is not None
    return Candidate(
        name=result["label"],
        rps=rps,
        p95_ms=p95_ms,
        month_usd=cost["month_usd"] if cost else None,
        rps_interval=interval_of(result["intervals"].get("rps")),
        p95_interval=interval_of(result["intervals"].get("p95_ms")),
    )
