"""Little's law: requests that do not make the users asked for are found, right runs never are."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.littles_law import LittlesLaw
from pytest_tfserving.load.result import Generator, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

IDLE = Generator(0.0, 0.2)
WINDOW = Window(10.0, 30.0)


def simulated(profile: LoadProfile, seed: int, late_s: float = 0.0, until_s: float = 40.0) -> Floats:
    """Requests of a closed loop as rows (sent, latency in ms, failed); pauses end up to ``late_s`` late.

    A tenth of the requests fails, half of these without an answer, after which users pause for longer.
    """
    chance = random.Random(seed)
    rows = []
    for _ in range(profile.users):
        now_s = chance.random()
        while now_s < until_s:
            took_s = chance.expovariate(20) * (1 + seed % 5)
            failed = chance.random() < 0.1
            rows.append((now_s, 1e3 * took_s, failed))
            unanswered_s = 0.1 if failed and chance.random() < 0.5 else 0.0
            pace_s = profile.pace_s - took_s - unanswered_s if profile.pace_s else 0.0
            pause_s = unanswered_s + max(profile.think_time_s, pace_s)
            now_s += took_s + pause_s + (late_s * chance.random() if pause_s else 0.0)
    return np.array(rows)


def contradiction(
    profile: LoadProfile,
    rows: Floats,
    window: Window = WINDOW,
    generator: Generator = IDLE,
    late: Sequence[Sequence[float]] = (),
) -> str:
    law = LittlesLaw(profile, window)
    for block in np.array_split(rows, 3):
        law.add(block[:, 0], block[:, 1], block[:, 2] > 0)
    return law.contradiction(profile.users, generator, late)


PROFILES = [
    {"users": 1},
    {"users": 8},
    {"users": 8, "think_time_s": 0.2},
    {"users": 40, "think_time_s": 1},
    {"users": 8, "pace_s": 0.2},
    {"users": 3, "pace_s": 0.1, "think_time_s": 0.05},
]


@pytest.mark.parametrize("fields", PROFILES, ids=str)
@pytest.mark.parametrize("length_s", [1.0, 3.7, 20.0])
def test_a_right_run_is_never_contradicted(fields: dict[str, Any], length_s: float) -> None:
    """However short its window, and how long its requests."""
    profile = LoadProfile("p", run_time_s=60, **fields)

    for seed in range(20):
        rows = simulated(profile, seed, late_s=0.002)
        assert contradiction(profile, rows, Window(10.0, 10.0 + length_s)) == ""


@pytest.mark.parametrize("fields", PROFILES[1:], ids=str)
def test_missing_requests_and_missing_users_are(fields: dict[str, Any]) -> None:
    profile = LoadProfile("p", run_time_s=60, **fields)
    fewer = LoadProfile(**{**asdict(profile), "users": round(0.7 * profile.users)})

    for seed in range(20):
        rows = simulated(profile, seed)
        kept = np.random.default_rng(seed).random(len(rows)) < 0.7
        assert contradiction(profile, rows[kept])
        assert contradiction(profile, simulated(fewer, seed))
        assert contradiction(fewer, rows)


def test_both_figures_are_told() -> None:
    """A request of 50 ms and a pause of 50 ms, ten times a second, of two users where four were asked for."""
    profile = LoadProfile("p", users=4, think_time_s=0.05, run_time_s=60)
    sent_s = np.repeat(np.arange(0.0, 40.0, 0.1), 2)
    rows = np.column_stack([sent_s, np.full(len(sent_s), 50.0), np.zeros(len(sent_s))])

    assert contradiction(profile, rows) == (
        "Little's law does not hold, so that users or requests are missing: 20 requests a second that took "
        "100 ms each, with their pauses, make 2 users, and 4 were asked for"
    )


def test_time_that_the_generator_itself_took_is_allowed_for() -> None:
    """One user whose requests take 50 us and the generator 30 us: 2 % is not possible there."""
    profile = LoadProfile("p", users=1, run_time_s=60)
    sent_s = np.arange(9.0, 31.0, 8e-5)
    rows = np.column_stack([sent_s, np.full(len(sent_s), 0.05), np.zeros(len(sent_s))])

    assert contradiction(profile, rows, generator=Generator(0.7, 0.2)) == ""
    assert contradiction(profile, rows)


def test_lateness_of_the_generator_is_allowed_for() -> None:
    profile = LoadProfile("p", users=4, think_time_s=0.05, run_time_s=60)
    late_s = 0.06
    rows = simulated(profile, 0, late_s)
    late = [(at_s, at_s + 0.1, 30.0) for at_s in np.arange(9.0, 31.0, 0.1)]

    assert contradiction(profile, rows, late=late) == ""
    assert contradiction(profile, rows)


def test_a_window_without_requests_says_nothing() -> None:
    profile = LoadProfile("p", users=4, run_time_s=60)

    assert contradiction(profile, np.array([[1.0, 5.0, 0.0]] * 3)) == ""
