"""The server's own metrics."""

from __future__ import annotations

import pytest

from pytest_tfserving.server_side.prometheus import growth, model_load_s, parse_metrics

PAGE = """\
# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="half",status="OK"} 40
:tensorflow:serving:request_count{model_name="half",status="INTERNAL"} 2
# TYPE :tensorflow:serving:runtime_latency histogram
:tensorflow:serving:runtime_latency_bucket{model_name="half",le="10"} 12
:tensorflow:serving:runtime_latency_bucket{model_name="half",le="+Inf"} 40
:tensorflow:serving:runtime_latency_sum{model_name="half"} 4000
:tensorflow:serving:runtime_latency_count{model_name="half"} 40
# TYPE :tensorflow:cc:saved_model:load_attempt_count counter
:tensorflow:cc:saved_model:load_attempt_count{model_path="/models/half/1",status="success"} 1
:tensorflow:cc:saved_model:load_attempt_count{model_path="/models/half/2",status="success"} 1
# TYPE :tensorflow:cc:saved_model:load_latency counter
:tensorflow:cc:saved_model:load_latency{model_path="/models/half/1"} 54436
:tensorflow:cc:saved_model:load_latency{model_path="/models/half/2"} 45564
# TYPE :tensorflow:core:graph_runs counter
:tensorflow:core:graph_runs{} 40
"""


def test_metrics_are_summed_over_their_labels() -> None:
    assert parse_metrics(PAGE) == {
        "request_count": 42,
        "runtime_latency_bucket{10}": 12,
        "runtime_latency_bucket{+Inf}": 40,
        "runtime_latency_sum": 4000,
        "runtime_latency_count": 40,
        "saved_model:load_attempt_count": 2,
        "saved_model:load_latency": 100_000,
    }


def test_the_time_to_load_a_model_is_the_mean_of_all_models() -> None:
    assert model_load_s(parse_metrics(PAGE)) == pytest.approx(0.05)
    assert model_load_s({"saved_model:load_attempt_count": 1.0}) is None
    assert model_load_s(None) is None


@pytest.mark.parametrize(
    ("added", "median"),
    [
        ({"10": 0, "20": 4, "40": 10, "+Inf": 10}, 20 + 20 / 6),
        ({"10": 8, "20": 8, "40": 8, "+Inf": 10}, 10 * 5 / 8),
        ({"10": 0, "20": 0, "1.5e+02": 2, "+Inf": 9}, 150.0),
        ({"10": 0, "20": 0, "40": 0, "+Inf": 0}, None),
    ],
    ids=["in between", "in the first bucket", "beyond the last bound", "nothing added"],
)
def test_the_median_of_a_histogram_is_that_of_what_was_added(
    added: dict[str, int], median: float | None
) -> None:
    before = {f"x_bucket{{{bound}}}": 100.0 for bound in added}
    after = {f"x_bucket{{{bound}}}": 100.0 + count for bound, count in added.items()}

    assert growth(before, after) == ({} if median is None else {"x_median": pytest.approx(median)})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1.0}, {"a": 3.0, "b": 2.0, "c": 0.0}, {"a": 2.0, "b": 2.0}),
        ({"a": 9.0}, {"a": 3.0}, {}),
        (None, {"a": 3.0}, {}),
        ({"a": 3.0}, None, {}),
    ],
    ids=["grew", "began anew", "not before", "not after"],
)
def test_what_metrics_grew_by(
    before: dict[str, float] | None, after: dict[str, float] | None, expected: dict[str, float]
) -> None:
    assert growth(before, after) == expected
