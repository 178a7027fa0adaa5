"""Which configuration is recommended, on planted results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import planted_results as planted
from pytest_tfserving.report.recommendation import Candidate, Choice, recommend

SMALL = Candidate("small", rps=100, p95_ms=90, month_usd=5, rps_interval=(95, 105))
LARGE = Candidate("large", rps=200, p95_ms=50, month_usd=20, rps_interval=(190, 210))


def test_the_cheapest_that_passes_and_the_fastest() -> None:
    found = recommend([LARGE, SMALL], ["PASS"] * 2)

    assert found.cheapest == Choice("small")
    assert found.fastest == Choice("large")
    assert found.sentence == (
        "Take small: it is the cheapest that meets the SLOs at 5.00 USD for 24 h a month. "
        "large has the most throughput, 200 requests a second at 20.00 USD for 24 h a month."
    )


def test_one_that_is_both() -> None:
    found = recommend([replace(LARGE, month_usd=1), SMALL], ["PASS"] * 2)

    assert found.sentence == (
        "Take large: it is the cheapest that meets the SLOs at 1.00 USD for 24 h a month, "
        "and has the most throughput, 200 requests a second."
    )


def test_of_equal_cost_the_faster_is_taken() -> None:
    faster = replace(SMALL, name="faster", rps=120, rps_interval=(115, 125))

    assert recommend([SMALL, faster], ["PASS"] * 2).cheapest == Choice("faster")


def test_rates_whose_intervals_overlap_tie() -> None:
    alike = replace(SMALL, name="alike", rps=104, rps_interval=(98, 110))

    found = recommend([SMALL, alike, LARGE], ["PASS"] * 3)

    assert found.cheapest == Choice("alike", ("small",))
    assert "(as far as the data tell, small does as well)" in found.sentence


def test_what_has_no_interval_is_not_known_to_differ() -> None:
    unknown = replace(LARGE, name="unknown", rps=500, rps_interval=None)

    assert recommend([LARGE, unknown], ["PASS"] * 2).fastest == Choice("unknown", ("large",))


def test_the_fronts_leave_out_what_is_beaten() -> None:
    beaten = replace(LARGE, name="beaten", rps=150, p95_ms=60, month_usd=25)

    found = recommend([SMALL, LARGE, beaten], ["PASS"] * 3)

    assert found.front_rps == ("small", "large")
    assert found.front_p95 == ("small", "large")


def test_what_costs_nothing_known_is_only_the_fastest() -> None:
    found = recommend([replace(SMALL, month_usd=None), replace(LARGE, month_usd=None)], ["PASS"] * 2)

    assert found.cheapest is None
    assert found.sentence == "large has the most throughput, 200 requests a second."


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        ([], "Nothing to recommend: no configuration was measured under its whole load."),
        (["NOT JUDGED"], "Nothing to recommend: the one configuration that was measured is NOT JUDGED."),
        (["FAIL"] * 3, "Nothing to recommend: none of the 3 configurations that were measured passed."),
    ],
)
def test_nothing_to_recommend(verdicts: list[str], sentence: str) -> None:
    assert recommend([], verdicts).sentence == sentence


@pytest.mark.parametrize(
    ("verdicts", "asked", "cost"),
    [
        (["PASS"], {}, ""),
        (["PASS"], {"is_cost_asked": True}, ", at 5.00 USD for 10 h a month"),
        (["PASS", "FAIL"], {}, ", at 5.00 USD for 10 h a month"),
    ],
    ids=["one", "asked", "several"],
)
def test_a_cost_is_told_where_it_is_compared_or_asked_for(
    verdicts: list[str], asked: dict[str, bool], cost: str
) -> None:
    found = recommend([SMALL], verdicts, 10, **asked)

    assert found.sentence == f"small is the only configuration that passed{cost}."


@pytest.mark.parametrize(
    "spoilt",
    [
        {"invalid": "the load generator was the limit"},
        {"not_judged": "needs 16 vCPUs"},
        {"incomplete": "the run was interrupted"},
        {"aborted": "replica 0 exited"},
    ],
)
def test_what_was_not_judged_is_never_recommended(spoilt: dict[str, Any]) -> None:
    winner = replace(planted.result(0, rps=90), **spoilt)
    document = planted.document(planted.entry(winner), planted.entry(planted.result(1, rps=50)))

    assert document["recommendation"]["fastest"] == {"name": planted.STUDY[1].name, "ties": ()}
    cost = document["results"][0]["cost"]
    assert cost
    assert cost["million_usd"] is None


def test_what_fails_its_slo_is_never_recommended() -> None:
    document = planted.document(
        planted.entry(planted.result(0, rps=90), "rps>=1000"), planted.entry(planted.result(1, rps=50))
    )

    assert document["recommendation"]["fastest"] == {"name": planted.STUDY[1].name, "ties": ()}
    assert document["recommendation"]["front_rps"] == (planted.STUDY[1].name,)
