"""SLOs with measured limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import RESULT
from pytest_tfserving.load.measured_limit import measured_limit
from pytest_tfserving.slo.language import Slo

INTERVALS = {"rps": (90.0, 110.0), "p95_ms": (900.0, 1000.0), "cpu_per_request_ms": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("slo", "limit"),
    [
        ("p95<200ms", "p95<1200ms"),
        ("p95 <= 0.2s", "p95 <= 1.2s"),
        ("rps>=1", "rps>=75"),
        ("rps > 1/s", "rps > 75/s"),
        ("p50<1ms", "p50<600ms"),
        ("efficiency>=1%", "efficiency>=66.6%"),
        ("p50<1x", "p50<66.7x"),
        ("errors<1%", "errors<1%"),
        ("cpu_per_request<7ms", "cpu_per_request<7ms"),
    ],
)
def test_the_limit_is_the_worse_end_of_the_interval_with_a_margin(slo: str, limit: str) -> None:
    assert measured_limit(Slo.parse(slo), [replace(RESULT, intervals=INTERVALS)], 0.2) == limit


def test_every_result_meets_it() -> None:
    slow = replace(RESULT, intervals={**INTERVALS, "p95_ms": (1000.0, 2000.0)})

    assert measured_limit(Slo.parse("p95<1s"), [RESULT, slow], 0.0) == "p95<2s"


def test_it_is_rounded_away_from_the_figure() -> None:
    result = replace(RESULT, intervals={"rps": (123.46, 200.0), "p95_ms": (1.0, 123456.0)})

    assert measured_limit(Slo.parse("rps>=1"), [result], 0.0) == "rps>=123"
    assert measured_limit(Slo.parse("p95<1ms"), [result], 0.0) == "p95<124000ms"
    assert measured_limit(Slo.parse("p95<1s"), [result], 0.0) == "p95<124s"
