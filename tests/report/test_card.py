"""Loads in words."""

from __future__ import annotations

import pytest

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.experiments.trace import Trace
from pytest_tfserving.report.card import load_asked

OPEN = "requests a second, due whether or not others were answered"
TRACE = Trace("/logs/access.log", "common", "9f", 100, 50.0, 9.0)


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        (LoadProfile("p", users=3, run_time_s=9, early_stop=False), "3 users, 100 started a second; for 9 s"),
        (
            LoadProfile("p", rate=20, run_time_s=9, arrivals="gamma", cv=2),
            f"20 {OPEN}, gamma arrivals with a cv of 2; for 9 s at most",
        ),
        (
            LoadProfile("p", rate=20, run_time_s=9, arrivals="mmpp", burst_factor=5, burst_s=1, calm_s=4),
            f"20 {OPEN}, mmpp arrivals, in bursts of 1 s at 5 times the rate of the 4 s between them; "
            "for 9 s at most",
        ),
        (
            LoadProfile("p", rate=20, run_time_s=9, shape=f"day {':'.join('123' * 9)}"),
            f"20 {OPEN}, poisson arrivals, a day of 27 levels; for 9 s at most",
        ),
        (
            LoadProfile("p", run_time_s=99, replay=TRACE, speed=10),
            f"20 {OPEN}, as in access.log, 10 times as fast; for 5 s at most",
        ),
        (
            LoadProfile("p", run_time_s=99, replay=TRACE),
            f"2 {OPEN}, as in access.log; for 50 s at most",
        ),
    ],
    ids=["users", "gamma", "mmpp", "day", "faster", "replay"],
)
def test_a_load_in_words(profile: LoadProfile, text: str) -> None:
    assert load_asked(profile.as_fields()) == text
