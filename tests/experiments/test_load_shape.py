"""How levels of load go over time."""

from __future__ import annotations

import pytest

from pytest_tfserving.experiments.load_shape import LoadShape, level_at


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("steps 1:32:x2", [1, 2, 4, 8, 16, 32]),
        ("steps 10:50:+15", [10, 25, 40, 50]),
        ("spike 10:100", [10, 100, 10]),
        ("ramp 0:60", [5, 15, 25, 35, 45, 55]),
        ("constant", [7, 7]),
    ],
)
def test_levels_over_a_run(text: str, levels: list[float]) -> None:
    stages = LoadShape.parse(text).stages(7.0, 60.0)
    each_s = 60 / len(levels)

    assert [level_at(stages, (number + 0.5) * each_s) for number in range(len(levels))] == levels


@pytest.mark.parametrize(
    "text", ["", "ramp", "ramp 1", "steps 1:8", "steps 1:8:2", "spike 1:x", "wave 1:8", 5]
)
def test_what_is_no_shape_is_named(text: str) -> None:
    with pytest.raises(Exception, match="is not a shape of load; write it as"):
        LoadShape.parse(text)
