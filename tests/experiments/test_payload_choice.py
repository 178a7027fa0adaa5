"""Distributions of rows, sizes and values of generated requests."""

from __future__ import annotations

import random
import re
import statistics

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.payload_choice import Distribution


def drawn(raw: object, count: int = 4000) -> list[float]:
    chance, found = random.Random(1), Distribution.parse(raw)
    return [found.draw(chance) for _ in range(count)]


def test_numbers_are_drawn_as_the_distribution_says() -> None:
    assert set(drawn(2.5)) == {2.5}
    assert statistics.fmean(drawn([1, 3])) == pytest.approx(2, rel=0.05)
    assert statistics.stdev(drawn({"normal": [5, 2]})) == pytest.approx(2, rel=0.1)
    assert statistics.median(drawn({"log": [1, 10_000]})) == pytest.approx(100, rel=0.3)


@pytest.mark.parametrize(
    ("raw", "sizes"),
    [(3, {3}), ([1, 3], {1, 2, 3}), ({"normal": [0, 0.1]}, {1}), ({"log": [2, 3]}, {2, 3})],
    ids=str,
)
def test_sizes_are_whole_numbers_from_one(raw: object, sizes: set[int]) -> None:
    chance, found = random.Random(1), Distribution.parse(raw)

    assert {found.draw_size(chance) for _ in range(200)} == sizes


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        ("many", "'many' is not a distribution; write a number, [1, 8], or {normal: [0, 1]}"),
        ([1, 2, 3], "[1, 2, 3] is not a distribution; write a number"),
        (True, "True is not a distribution"),
        (1e16, "1e+16 is not a distribution"),
        ([0, float("nan")], "[0, nan] is not a distribution"),
        ([8, 1], "[8, 1] is not a distribution: its first number is above the second"),
        (
            {"norml": [0, 1]},
            "'norml' is not a distribution; did you mean 'normal'? valid: uniform, normal, log",
        ),
        ({"normal": [0, -1]}, "is not a distribution: its standard deviation is below 0"),
        ({"log": [0, 1]}, "is not a distribution: its numbers must be above 0"),
        ({}, "a distribution is a single one of uniform, normal, log, not {}"),
    ],
    ids=str,
)
def test_what_is_no_distribution(raw: object, cause: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(cause)):
        Distribution.parse(raw)
