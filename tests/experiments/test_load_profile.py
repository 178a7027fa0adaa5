"""Load profiles, and how their fields go together."""

from __future__ import annotations

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.load_profile import PROFILES, LoadProfile


def test_the_studys_profile() -> None:
    study = PROFILES["study"]

    assert (
        study.users,
        study.spawn_rate,
        study.think_time_s,
        study.run_time_s,
        study.max_failure_ratio,
    ) == (150, 1, 1, 300, 0.2)
    assert LoadProfile("x", users=4, spawn_rate=4, run_time_s=1).ramp_s == 0


def test_a_shape_gives_the_profile_its_level() -> None:
    closed = LoadProfile("p", run_time_s=60, shape="steps 1:32:x2")
    spike = LoadProfile("p", run_time_s=60, rate=100, shape="spike 10:100")

    assert (closed.users, closed.rate, closed.judged_from_s) == (32, 0, 50)
    assert (spike.users, spike.rate, spike.judged_from_s) == (0, 100, 0)


def test_a_shape_whose_highest_level_is_no_whole_number_can_be_overridden() -> None:
    closed = LoadProfile("p", run_time_s=60, shape="ramp 1:2.5")

    assert closed.with_overrides({"run_time_s": 30}).users == closed.users == 3


def test_a_day_is_scaled_to_the_highest_level() -> None:
    day = LoadProfile("p", run_time_s=60, rate=100, shape="day 3:6:1")

    assert [stage.first for stage in day.stages] == pytest.approx([50, 100, 100 / 6])
    assert [stage.first for stage in day.with_overrides({"rate": 12}).stages] == pytest.approx([6, 12, 2])
    assert LoadProfile("p", run_time_s=60, shape="day 3:6:1").users == 6
    assert not day.has_plateau


def test_other_arrivals_do_without_the_settings_of_the_last_ones() -> None:
    bursty = LoadProfile("p", run_time_s=60, rate=100, arrivals="gamma", cv=2)

    assert bursty.with_overrides({"arrivals": "poisson"}).cv == 0
    assert bursty.with_overrides({"users": 4}).cv == 2
    assert bursty.with_overrides({"cv": 5}).arrival_process.cv == 5


def test_a_run_has_room_for_a_burst() -> None:
    with pytest.raises(ConfigurationError) as error:
        LoadProfile("p", run_time_s=60, rate=100, arrivals="mmpp", burst_factor=5, burst_s=20, calm_s=41)

    assert str(error.value) == (
        "load profile 'p' has bursts of 20 s every 61 s, and run_time_s is 60; a run has room for one at "
        "least, better for ten."
    )


def test_users_and_rates_replace_each_other() -> None:
    closed = LoadProfile("p", run_time_s=60, users=9, think_time_s=1)

    opened = closed.with_overrides({"rate": 50})

    assert (opened.users, opened.rate, opened.think_time_s) == (0, 50, 0)
    assert opened.with_overrides({"users": 4}).rate == 0
    assert opened.with_overrides({"shape": "ramp 1:80"}).rate == 80
    assert closed.with_overrides({"shape": "ramp 1:80"}).users == 80
