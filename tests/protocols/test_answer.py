"""What is right in a response, and what is not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import LoadError
from pytest_tfserving.protocols.answer import ExpectedAnswer, layout_of, wrong

if TYPE_CHECKING:
    from pytest_tfserving.text.json_value import JsonValue


@pytest.mark.parametrize(
    ("value", "layout"),
    [
        (1.5, []),
        ([1, 2], [2]),
        ([[1, 2, 3]], [1, 3]),
        ([{"a": 1, "b": [1, 2]}], [1, {"a": [], "b": [2]}]),
        ([], [0]),
    ],
)
def test_layouts(value: JsonValue, layout: object) -> None:
    assert layout == layout_of(value)


def test_ragged_answers_have_no_layout() -> None:
    with pytest.raises(LoadError, match="rows have different shapes"):
        layout_of([[1, 2], [3]])


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, b'{"predictions": [2.5, 3.0]}', ""),
        (200, b'{"predictions": [2.5001, 3.0]}', ""),
        (
            200,
            b'{"predictions": [2.6, 3.0]}',
            "the response's values are not those of the same model in process",
        ),
        (
            200,
            b'{"predictions": [NaN, 3.0]}',
            "the response's values are not those of the same model in process",
        ),
        (
            200,
            b'{"predictions": ["2.5", 3.0]}',
            "the response's values are not those of the same model in process",
        ),
        (200, b'{"predictions": [2.5]}', "the response's shape is [1], not [2]"),
        (200, b'{"predictions": [[2.5], 3.0]}', "the response's rows have different shapes"),
        (200, b'{"outputs": [2.5, 3.0]}', "the response has no 'predictions'"),
        (200, b"[1]", "the response has no 'predictions'"),
        (200, b"", "the response is not JSON"),
        (503, b'{"error": "queue\\nis full"}', "HTTP 503: queue is full"),
        (404, b"<html>", "HTTP 404"),
        (200, b'{"predictions": [1' + b"0" * 400 + b", 3.0]}", "the response cannot be read (OverflowError)"),
    ],
)
def test_wrong_answers_are_told_from_right_ones(status: int, body: bytes, cause: str) -> None:
    assert cause == wrong(status, body, ExpectedAnswer("predictions", [2], [2.5, 3.0]))


def test_no_number_is_right_where_the_model_says_so() -> None:
    expected = ExpectedAnswer("predictions", [2], [math.nan, math.inf])

    assert wrong(200, b'{"predictions": [NaN, Infinity]}', expected) == ""
    assert wrong(200, b'{"predictions": [1.0, Infinity]}', expected)
    assert wrong(200, b'{"predictions": [NaN, -Infinity]}', expected)
