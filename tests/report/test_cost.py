"""What shapes cost, and how a price list is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.experiment import Shape
from pytest_tfserving.report.cost import E2, STUDY_HOURS, Prices, read_prices

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "{vcpu_hour_usd: 0.02, gb_hour_usd: 0.003, source: ours, date: 2026-01-01}"


@pytest.mark.parametrize(
    ("shape", "usd"),
    [("2vCPU-4GB_8", 11.15), ("4vCPU-8GB_4", 11.15), ("8vCPU-16GB_2", 11.15), ("8vCPU-64GB_2", 18.21)],
)
def test_the_studys_cost_table(shape: str, usd: float) -> None:
    assert round(E2.month_usd(Shape.parse(shape), STUDY_HOURS), 2) == usd


def test_a_million_predictions() -> None:
    # 3.6 USD an hour at 1000 a second: 3.6 million an hour.
    assert Prices(1.0, 0.8, "", "").million_usd(Shape(2, 2, 1), 1000) == pytest.approx(1.0)


def test_a_price_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(GOOD[:-1] + ", shapes: {8vCPU-16GB_2: 0.5}}")

    prices = read_prices(path)

    assert prices.source == "ours"
    assert prices.date == "2026-01-01"
    assert prices.hour_usd(Shape(1, 1, 2)) == pytest.approx(0.046)
    assert prices.hour_usd(Shape(8, 16, 2)) == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the price file {path} cannot be read: No such file or directory."),
        ("a: [", "{path} is not YAML: "),
        ("- 1", "{path} must be a mapping with the keys vcpu_hour_usd, gb_hour_usd, source, date, shapes."),
        (
            GOOD.replace("gb_hour_usd", "gb_hour"),
            "{path}: unknown key 'gb_hour'; did you mean 'gb_hour_usd'?",
        ),
        (GOOD.replace("0.02", "cheap"), "{path}: vcpu_hour_usd must be a price in USD an hour, not 'cheap'."),
        (GOOD.replace("0.02", "-1"), "{path}: vcpu_hour_usd must be a price in USD an hour, not -1."),
        (GOOD.replace("source: ours, ", ""), "{path}: source is missing; say where the prices are from"),
        (GOOD[:-1] + ", shapes: [1]}", "{path}: shapes must be a mapping of shapes to prices, not [1]."),
        (GOOD[:-1] + ", shapes: {big: 1}}", "{path}: 'big' is not a shape; write it as 8vCPU-16GB_2"),
        (GOOD[:-1] + ", shapes: {1cpu-1gb-1n: free}}", "{path}: 1cpu-1gb-1n must be a price in USD an hour"),
    ],
)
def test_a_mistaken_price_list_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "prices.yaml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        read_prices(path)

    assert str(caught.value).startswith(message.replace("{path}", str(path)))
