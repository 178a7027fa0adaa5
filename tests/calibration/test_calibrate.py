"""``pytest-tfserving calibrate``: how the wander is estimated, what is kept, what later runs make of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_tfserving.calibration import words
from pytest_tfserving.calibration.wander import (
    BLOCK_S,
    P95_NOISE,
    SHORTEST_S,
    Wander,
    fit_wander,
    noise_memory_s,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EVERY_S = 0.1


def level(memory_s: float, times: int, random: np.random.Generator) -> Floats:
    """An Ornstein-Uhlenbeck process of variance 1, every `EVERY_S`."""
    kept = np.exp(-EVERY_S / memory_s)
    steps = np.sqrt(1 - kept**2) * random.standard_normal(times)
    values = np.empty(times)
    value = random.standard_normal()
    for at, step in enumerate(steps):
        value = kept * value + step
        values[at] = value
    return values


def pieces(
    memory_s: float, share: float, random: np.random.Generator, length_s: int = 200, sd: float = 0.2
) -> tuple[Floats, Floats]:
    """When pieces of work began and what they took, with ``share`` of the variance of the log in a level."""
    times = round(length_s / EVERY_S)
    logs = np.sqrt(1 - share) * random.standard_normal(times)
    if memory_s:
        logs += np.sqrt(share) * level(memory_s, times, random)
    return EVERY_S * np.arange(times, dtype=np.float64), 0.002 * np.exp(sd * logs)


def fitted(memory_s: float, share: float, runs: int = 12) -> list[Wander]:
    random = np.random.default_rng([1, round(10 * memory_s), round(100 * share)])
    return [fit_wander(*pieces(memory_s, share, random)) for _ in range(runs)]


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("memory_s", [1, 2, 5, 10])
def test_a_memory_is_estimated_and_bounded(memory_s: float, share: float) -> None:
    found = fitted(memory_s, share)

    assert memory_s / 2 < np.median([each.memory_s for each in found]) < 2 * memory_s
    assert sum(each.memory_high_s >= memory_s for each in found) >= 9
    assert np.median([each.memory_high_s for each in found]) < 4 * memory_s
    assert np.median([each.slow_share for each in found]) == pytest.approx(share, abs=0.2)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_memory_that_the_time_hardly_shows_is_not_taken_for_a_short_one(share: float) -> None:
    assert np.median([each.memory_high_s for each in fitted(30, share)]) > 30


@pytest.mark.parametrize(("memory_s", "share"), [(0, 0.5), (0.2, 0.3), (0.2, 0.5), (0.2, 0.8)])
def test_fast_noise_is_no_level(memory_s: float, share: float) -> None:
    found = fitted(memory_s, share)

    assert np.median([each.memory_high_s for each in found]) < 2 * SHORTEST_S
    assert all(noise_memory_s([each], 200) >= SHORTEST_S for each in found)


def test_a_few_stalls_do_not_decide_and_missing_pieces_do_not_matter() -> None:
    at_s, took_s = pieces(2, 0.5, np.random.default_rng(7))
    without = fit_wander(at_s, took_s)
    stalled = took_s.copy()
    stalled[[300, 900, 1500]] = 5.0
    kept = (at_s < 40) | (at_s > 43)

    for other in (fit_wander(at_s, stalled), fit_wander(at_s[kept], took_s[kept])):
        assert other.memory_high_s == pytest.approx(without.memory_high_s, rel=0.25)
        assert other.level_sd == pytest.approx(without.level_sd, rel=0.25)


def test_a_recording_of_a_real_machine() -> None:
    path = Path(__file__).parents[1] / "recorded" / "machine_speed.csv"
    at_s, wall_s, cpu_s = np.loadtxt(path, delimiter=",", unpack=True)

    wall, cpu = fit_wander(at_s, wall_s), fit_wander(at_s, cpu_s)

    assert 1 < wall.memory_s < wall.memory_high_s < 10
    assert cpu.scatter < 0.6 * wall.scatter
    # Means of 20 s scatter by far more than means of independent pieces would.
    assert wall.mean_sd(20) > 2 * wall.scatter / np.sqrt(20 / EVERY_S)


def test_the_scatter_of_a_window_is_what_windows_then_show() -> None:
    random = np.random.default_rng(3)
    known = Wander(0.2, 0.2 * np.sqrt(0.5), 0.2 * np.sqrt(0.5 * EVERY_S / BLOCK_S), 5.0, 8.0)
    means = [float(np.log(pieces(5, 0.5, random, length_s=30)[1]).mean()) for _ in range(400)]

    assert known.mean_sd(30) == pytest.approx(np.std(means), rel=0.1)


def test_longer_runs_see_smaller_changes_and_a_p95_needs_longer_than_a_rate() -> None:
    wander = Wander(0.2, 0.1, 0.1, 2.0, 4.0)

    seen = [wander.smallest_change(length_s) for length_s in (30, 60, 120)]

    assert seen == sorted(seen, reverse=True)
    assert wander.smallest_change(30, P95_NOISE) > seen[0]
    assert words.needed_s(wander, seen[1]) == 60


def test_a_short_calibration_says_no_longer_memory_than_it_can_tell() -> None:
    unbounded = Wander(0.2, 0.1, 0.1, 4.0, 60.0)

    assert noise_memory_s([unbounded], 20) == 10
    assert noise_memory_s([unbounded], 90) == 30
    short = fit_wander(*pieces(30, 0.8, np.random.default_rng(5), length_s=18))
    assert short.memory_s <= 6
    assert noise_memory_s([short], 18) <= 10


@pytest.mark.parametrize(
    ("steal", "neighbours", "cpu", "said"),
    [
        (0.08, [], 0.01, "the machine's host"),
        (0.0, [{"name": "backup", "pid": 7, "cpu": 0.4}], 0.01, "backup (process 7, 40 % of a core)"),
        (None, [], 0.01, "something that cannot be seen from here"),
        (0.0, [], 0.19, "the speed of the core itself"),
    ],
)
def test_the_largest_cause_is_named(
    steal: float | None, neighbours: list[dict[str, Any]], cpu: float, said: str
) -> None:
    core = {"wall": {"scatter": 0.2}, "cpu": {"scatter": cpu}, "waited": 0.1, "steal": steal}
    gate = {"passed": 0, "failed": 0, "runs": [{}]}
    content: Any = {"cores": [core], "neighbours": neighbours, "gate": gate}
    noisy = Wander(0.2, 0.1, 0.1, 2.0, 4.0)

    answer = " ".join(words.answer(content, noisy, noisy))

    assert f"The largest cause is {said}" in answer or said in answer
    assert "would help most" in answer


# --- the file ---------------------------------------------------------------------------------------


# --- the command ------------------------------------------------------------------------------------
