"""Results as JSON values and back, and the same figures in the other reports."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import planted_results as planted
import pytest_tfserving
from pytest_tfserving.load.kinds import KindFigures
from pytest_tfserving.report.formatting import kind_text
from pytest_tfserving.report.html import html_text
from pytest_tfserving.report.json import finite, metrics, result_as_dict, result_from_dict
from pytest_tfserving.report.markdown import markdown_text
from pytest_tfserving.report.results_file import mistake_in
from pytest_tfserving.slo.language import Undecided
from pytest_tfserving.slo.span_figure import SpanFigure
from pytest_tfserving.statistics.latencies import Latencies

SCHEMA = Path(pytest_tfserving.__file__).parent / "report" / "results.schema.json"
SLOW = KindFigures(
    Latencies.of(np.array([400.0, 500.0])), {"HTTP 500": 2}, {"p95_ms": [410.0, 510.0]}, {"p95_ms": 2.0}
)
FAST = KindFigures(Latencies.of(np.full(30, 3.0)))
UNSEEN = KindFigures(Latencies.of(np.empty(0)))


def test_the_figures_of_kinds_are_read_as_they_were_written() -> None:
    result = planted.result(kinds={"slow": SLOW, "fast": FAST})

    read = result_from_dict(json.loads(json.dumps(finite(result_as_dict(result)))))

    assert list(read.kinds) == ["slow", "fast"]
    assert metrics(read.of_kind("slow")) == pytest.approx(metrics(result.of_kind("slow")), nan_ok=True)
    assert read.of_kind("slow").p95_ms == 500
    assert read.of_kind("slow").error_rate == 0.5


def test_parts_and_good_requests_are_read_as_they_were_written() -> None:
    parts = {"p95<1s every 10s": (SpanFigure(0.0, 10.0, 300.0, True), SpanFigure(10.0, 20.0, 2e3, None))}
    undecided = {"p95<1s every 10s": Undecided(0.01, math.inf, cause="1 of 2 windows can tell neither")}
    result = planted.result(parts=parts, undecided=undecided, good_requests=7400)
    document = planted.document(planted.entry(result, "p95<1s every 10s"))

    read = result_from_dict(json.loads(json.dumps(finite(result_as_dict(result)))))

    assert read.parts == parts
    assert read.undecided["p95<1s every 10s"].cause == "1 of 2 windows can tell neither"
    assert read.goodput == result.goodput == pytest.approx(7400 / result.requests)
    assert not mistake_in(json.loads(json.dumps(finite(document))), SCHEMA)
    assert "| goodput |" in markdown_text(document)
    assert "| goodput |" not in markdown_text(planted.document(planted.entry(planted.result())))


def test_reports_have_a_row_for_each_kind() -> None:
    document = planted.document(planted.entry(planted.result(kinds={"slow": SLOW, "<fast>": FAST})))

    assert not mistake_in(json.loads(json.dumps(finite(document))), SCHEMA)
    markdown, html = markdown_text(document), html_text(document)
    assert "| `slow` | " in markdown
    assert "500 [410, 510]" in markdown
    assert "<td>slow</td>" in html
    assert "&lt;fast&gt;" in html


def test_a_kind_without_requests_has_no_figures() -> None:
    document = planted.document(planted.entry(planted.result(kinds={"slow": SLOW, "unseen": UNSEEN})))

    kinds = document["results"][0]["kinds"]
    assert kind_text("unseen", kinds["unseen"]) == "unseen: no requests"
    assert kind_text("slow", kinds["slow"]).endswith("errors 50%")
    assert "| `unseen` | - | - | - | - | - |" in markdown_text(document)


def test_a_result_of_one_kind_has_no_rows_of_kinds() -> None:
    document = planted.document(planted.entry(planted.result()))

    assert "By kind" not in markdown_text(document)
    assert 'class="kinds"' not in html_text(document)
