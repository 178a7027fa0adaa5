"""SLOs with measured limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import RESULT
from pytest_tfserving.load.kinds import KindFigures
from pytest_tfserving.load.measured_limit import measured_limit
from pytest_tfserving.slo.language import Slo
from pytest_tfserving.slo.span_figure import SpanFigure

INTERVALS = {"rps": (90.0, 110.0), "p95_ms": (900.0, 1000.0), "cpu_per_request_ms": (1.0, 2.0)}
PARTS = {"p95<200ms every 10s": [SpanFigure(0.0, 10.0, 950.0, False), SpanFigure(10.0, 20.0, 150.0, True)]}
KINDS = {"large": KindFigures(RESULT.latencies, intervals={"p95_ms": (90.0, 100.0)})}


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
        ("goodput>=99%", "goodput>=99%"),
        ("p95<200ms every 10s", "p95<1140ms every 10s"),
        ("p95{large}<200ms", "p95{large}<120ms"),
        ("cpu_per_request<7ms", "cpu_per_request<7ms"),
    ],
)
def test_the_limit_is_the_worse_end_of_the_interval_with_a_margin(slo: str, limit: str) -> None:
    result = replace(RESULT, intervals=INTERVALS, parts=PARTS, kinds=KINDS)

    assert measured_limit(Slo.parse(slo), [result], 0.2) == limit


def test_every_result_meets_it() -> None:
    slow = replace(RESULT, intervals={**INTERVALS, "p95_ms": (1000.0, 2000.0)})

    assert measured_limit(Slo.parse("p95<1s"), [RESULT, slow], 0.0) == "p95<2s"


def test_it_is_rounded_away_from_the_figure() -> None:
    result = replace(RESULT, intervals={"rps": (123.46, 200.0), "p95_ms": (1.0, 123456.0)})

    assert measured_limit(Slo.parse("rps>=1"), [result], 0.0) == "rps>=123"
    assert measured_limit(Slo.parse("p95<1ms"), [result], 0.0) == "p95<124000ms"
    assert measured_limit(Slo.parse("p95<1s"), [result], 0.0) == "p95<124s"
