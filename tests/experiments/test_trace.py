"""Schedules of replayed traces: by arithmetic."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from pytest_tfserving.experiments.arrivals import ArrivalProcess
from pytest_tfserving.experiments.load_shape import Stage
from pytest_tfserving.experiments.trace import ReplaySchedule, replay_schedule

# Bursts of 400 requests a second and calm times of 50, for ten minutes.
STATES = ArrivalProcess("mmpp", seed=3, burst_factor=8, burst_s=10, calm_s=20)
TIMES_S = array("d", STATES.due_times((Stage(0, 600, 166, 166),)))


def scheduled(
    times_s: array[float] = TIMES_S, speed: float = 1.0, run_time_s: float = 1e6, cut: str = "thin"
) -> ReplaySchedule:
    return replay_schedule(times_s, 600.0, speed=speed, run_time_s=run_time_s, cut=cut, seed=1)


@pytest.mark.parametrize("speed", [0.1, 1, 10, 100])
def test_each_request_is_due_at_its_own_time(speed: float) -> None:
    schedule = scheduled(speed=speed)

    np.testing.assert_allclose(schedule.due_s, np.array(TIMES_S) / speed)
    assert list(schedule.requests) == list(range(len(TIMES_S)))


def test_a_part_is_the_beginning() -> None:
    schedule = scheduled(speed=2, run_time_s=45, cut="shorten")

    assert list(schedule.due_s) == [at_s / 2 for at_s in TIMES_S if at_s < 90]
    assert list(schedule.requests) == list(range(len(schedule.due_s)))


def test_a_thin_trace_has_the_same_rates_over_the_same_course() -> None:
    """A tenth of the requests in a tenth of the time: second by second as many as in ten seconds a tenth."""
    schedule = scheduled(run_time_s=60)

    counts = np.histogram(schedule.due_s, bins=60, range=(0, 60))[0]
    of_trace = np.histogram(TIMES_S, bins=60, range=(0, 600))[0] / 10
    assert len(schedule.due_s) == pytest.approx(len(TIMES_S) / 10, rel=0.05)
    assert np.corrcoef(counts, of_trace)[0, 1] > 0.98
    assert np.abs(counts - of_trace).mean() < 2 * np.sqrt(of_trace).mean()
    np.testing.assert_allclose(schedule.due_s, np.array(TIMES_S)[list(schedule.requests)] / 10)


def test_a_thin_trace_is_as_irregular_as_the_trace() -> None:
    """Every tenth request of a Poisson process would come at nearly even gaps."""
    times_s = array("d", ArrivalProcess("poisson").due_times((Stage(0, 600, 100, 100),)))
    gaps_s = np.diff(scheduled(times_s, run_time_s=60).due_s)

    assert gaps_s.std() / gaps_s.mean() == pytest.approx(1, rel=0.05)


def test_the_seed_chooses_what_is_kept() -> None:
    one, same = scheduled(run_time_s=60), scheduled(run_time_s=60)
    other = replay_schedule(TIMES_S, 600.0, speed=1, run_time_s=60, cut="thin", seed=2)

    assert one == same
    assert one != other


def test_a_schedule_can_be_sent_as_text() -> None:
    schedule = scheduled(run_time_s=60)

    assert ReplaySchedule.from_text(schedule.as_text()) == schedule
    assert "\n" not in schedule.as_text()
