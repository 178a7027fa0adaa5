"""When requests of an open loop are due, and how levels of load go over time: by arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfserving.experiments.arrivals import arrivals
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.experiments.load_shape import LoadShape, Stage, level_at
from pytest_tfserving.load.generator.build_result import corrected


def test_constant_arrivals_are_evenly_apart() -> None:
    due = list(arrivals((Stage(0, 2, 10, 10),), "constant", seed=1))

    np.testing.assert_allclose(due, np.arange(0.05, 2, 0.1))


@pytest.mark.parametrize("distribution", ["constant", "poisson"])
def test_a_ramp_is_ever_denser(distribution: str) -> None:
    due = np.array(list(arrivals((Stage(0, 10, 0, 2000),), distribution, seed=3)))

    quarters = np.histogram(due, bins=4, range=(0, 10))[0]
    np.testing.assert_allclose(quarters / len(due), [1 / 16, 3 / 16, 5 / 16, 7 / 16], atol=0.02)
    assert len(due) == pytest.approx(10_000, rel=0.03)


def test_poisson_gaps_are_exponential_and_their_seed_makes_them_again() -> None:
    stages = (Stage(0, 100, 50, 50), Stage(100, 200, 50, 50))
    due = list(arrivals(stages, "poisson", seed=5))

    gaps_s = np.diff(due)
    assert gaps_s.mean() == pytest.approx(0.02, rel=0.05)
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.05)
    assert due == list(arrivals(stages, "poisson", seed=5))
    assert due != list(arrivals(stages, "poisson", seed=6))


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


def test_a_shape_gives_the_profile_its_level() -> None:
    closed = LoadProfile("p", run_time_s=60, shape="steps 1:32:x2")
    spike = LoadProfile("p", run_time_s=60, rate=100, shape="spike 10:100")

    assert (closed.users, closed.rate, closed.judged_from_s) == (32, 0, 50)
    assert (spike.users, spike.rate, spike.judged_from_s) == (0, 100, 0)


def test_a_shape_whose_highest_level_is_no_whole_number_can_be_overridden() -> None:
    closed = LoadProfile("p", run_time_s=60, shape="ramp 1:2.5")

    assert closed.with_overrides({"run_time_s": 30}).users == closed.users == 3


def test_users_and_rates_replace_each_other() -> None:
    closed = LoadProfile("p", run_time_s=60, users=9, think_time_s=1)

    opened = closed.with_overrides({"rate": 50})

    assert (opened.users, opened.rate, opened.think_time_s) == (0, 50, 0)
    assert opened.with_overrides({"users": 4}).rate == 0
    assert opened.with_overrides({"shape": "ramp 1:80"}).rate == 80
    assert closed.with_overrides({"shape": "ramp 1:80"}).users == 80


def test_a_slow_answer_stands_for_the_requests_that_it_held_back() -> None:
    latencies_ms = np.array([5.0, 350.0, 100.0])

    assert sorted(corrected(latencies_ms, 100.0)) == [5, 50, 100, 150, 250, 350]
