"""How levels of load go over time."""

from __future__ import annotations

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.load_shape import LoadShape, level_at


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("steps 1:32:x2", [1, 2, 4, 8, 16, 32]),
        ("steps 10:50:+15", [10, 25, 40, 50]),
        ("spike 10:100", [10, 100, 10]),
        ("ramp 0:60", [5, 15, 25, 35, 45, 55]),
        ("day 2:1:0:4", [3.5, 1.75, 0, 7]),
        ("constant", [7, 7]),
    ],
)
def test_levels_over_a_run(text: str, levels: list[float]) -> None:
    stages = LoadShape.parse(text).stages(7.0, 60.0)
    each_s = 60 / len(levels)

    assert [level_at(stages, (number + 0.5) * each_s) for number in range(len(levels))] == levels


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ramp",
        "ramp 1",
        "steps 1:8",
        "steps 1:8:2",
        "spike 1:x",
        "wave 1:8",
        5,
    ],
)
def test_what_is_no_shape_is_named(text: str) -> None:
    with pytest.raises(Exception, match="is not a shape of load; write it as"):
        LoadShape.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day 3", "'day 3' is not a day's course of load; write two or more levels, as 'day 12:8:20:60:45'."),
        ("day a.csv", "write two or more levels, as 'day 12:8:20:60:45'; a file is named in the experiments"),
        ("day 0:0", "the day's course of load 'day 0:0' has no level above 0."),
        (f"day {':'.join('1' * 289)}", "has 289 levels, more than 288."),
    ],
)
def test_a_day_that_is_none_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        LoadShape.parse(text)

    assert message in str(error.value)
