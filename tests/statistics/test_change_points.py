"""Change points of simulated histories: places that are found, and false ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_tfserving.statistics.change_points import change_points

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RUNS = 200


def noise(random: np.random.Generator) -> NDArray[np.float64]:
    """Logs of a history without a change."""
    return random.normal(0, 0.02, RUNS)


@pytest.mark.parametrize("step", [1.05, 1 / 1.05])
def test_a_step_of_5_percent_is_found_within_3_runs_of_its_place(step: float) -> None:
    """It is found always; where noise hides the very place, the best of all methods is a run or two off."""
    random = np.random.default_rng(1)
    off = []
    for _ in range(40):
        at = int(random.integers(20, RUNS - 20))
        history = noise(random)
        history[at:] += math.log(step)
        (found,) = change_points(history)
        off.append(abs(found - at))

    assert sum(each <= 3 for each in off) >= 38, off
    assert max(off) <= 8


LAWS: dict[str, Callable[[np.random.Generator], Any]] = {
    "normal": noise,
    "heavy tails": lambda random: 0.02 * random.standard_t(3, RUNS),
    "outliers": lambda random: noise(random) + 0.3 * (random.random(RUNS) < 0.05),
}


@pytest.mark.parametrize("law", LAWS)
def test_at_most_1_of_200_histories_without_a_step_has_a_change(law: str) -> None:
    random = np.random.default_rng(2)

    assert sum(bool(change_points(LAWS[law](random))) for _ in range(200)) <= 1


def test_a_level_that_was_left_again_is_found() -> None:
    history = noise(np.random.default_rng(3))
    history[90:105] += math.log(1.05)

    begin, end = change_points(history)

    assert abs(begin - 90) <= 3
    assert abs(end - 105) <= 3


def test_two_steps_up_are_both_found() -> None:
    history = noise(np.random.default_rng(4))
    history[60:] += math.log(1.05)
    history[140:] += math.log(1.05)

    assert [round(at, -1) for at in change_points(history)] == [60, 140]


@pytest.mark.parametrize("length", [0, 1, 2, 5, 6, 7])
def test_a_short_history_has_no_change(length: int) -> None:
    assert change_points(np.arange(float(length))) == []


def test_values_without_scatter_have_only_real_changes() -> None:
    assert change_points(np.ones(50)) == []
    assert change_points(np.repeat([1.0, 2.0], 20)) == [20]


def test_the_same_history_gives_the_same_changes() -> None:
    history = noise(np.random.default_rng(5))
    history[100:] += 0.02

    assert change_points(history) == change_points(history)
