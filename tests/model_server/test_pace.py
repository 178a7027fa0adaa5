"""Which signatures may run on the event loop."""

from __future__ import annotations

from pytest_tfserving.model_server.pace import Pace


def _in_threads(pace: Pace, run_s: float, runs: int) -> None:
    for _ in range(runs):
        pace.took(run_s, 0, on_loop=False)


def test_short_runs_come_to_the_loop_after_a_trial() -> None:
    pace = Pace()
    _in_threads(pace, 0.0001, 19)
    assert not pace.is_short
    # Runs that waited for others do not count against it.
    pace.took(0.1, 0, on_loop=False)
    assert pace.is_short


def test_long_runs_never_do() -> None:
    pace = Pace()
    _in_threads(pace, 0.001, 1000)
    assert not pace.is_short


def test_a_long_run_on_the_loop_doubles_the_trial() -> None:
    pace = Pace()
    _in_threads(pace, 0.0001, 20)
    pace.took(0.006, 0.006, on_loop=True)
    assert not pace.is_short
    _in_threads(pace, 0.0001, 39)
    assert not pace.is_short
    pace.took(0.0001, 0, on_loop=False)
    assert pace.is_short


def test_a_run_on_the_loop_that_waited_for_its_core_is_still_short() -> None:
    pace = Pace()
    _in_threads(pace, 0.0001, 20)
    pace.took(0.02, 0.0001, on_loop=True)
    assert pace.is_short
    pace.took(0.1, 0.0001, on_loop=True)
    assert not pace.is_short
