"""The record of how a run of load went."""

from __future__ import annotations

import pytest

from load_events import part
from pytest_tfserving.load.run_record import MOST_STEPS, USERS, RunRecorder


def test_the_record_of_a_run_of_hours_is_bounded() -> None:
    recorder = RunRecorder(USERS)
    run_s = 10 * 3600
    for half in range(1, 2 * run_s + 1):
        for process in (0, 1):
            recorder.add(part(half / 2, 3, process), asked=6)

    record = recorder.record(run_s, lambda _: 6.0)

    assert len(record.asked) <= MOST_STEPS
    assert len(record.asked) * record.step_s == pytest.approx(run_s, abs=record.step_s)
    assert set(record.reached) == {6}
    assert set(record.processes) == {2}
    assert sum(record.sent) * record.step_s == pytest.approx(2 * 10 * run_s, rel=1e-3)
    assert recorder.users(run_s - 1) == 6


def test_seconds_in_which_nobody_spoke_are_in_the_record() -> None:
    recorder = RunRecorder(USERS)
    for at_s in (0.5, 1.0, 1.5, 4.5, 5.0):
        recorder.add(part(at_s, 2), asked=2)

    record = recorder.record(5.0, lambda _: 2.0)

    assert record.processes == (1, 1, 0, 0, 1)
    assert record.asked == (2, 2, 2, 2, 2)
    assert record.reached == (2, 2, 0, 0, 2)
    assert sum(record.sent) == 50
