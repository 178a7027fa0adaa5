"""Which signatures may run on the event loop."""

from __future__ import annotations

from pytest_tfserving.model_server.inline_policy import InlinePolicy


def _in_threads(pace: InlinePolicy, run_s: float, runs: int) -> None:
    for _ in range(runs):
        pace.took_in_thread(run_s)


def _on_loop(pace: InlinePolicy, run_s: float, runs: int, cpu_s: float = 0.0001) -> None:
    for _ in range(runs):
        pace.took_on_loop(run_s, cpu_s)


def _short() -> InlinePolicy:
    pace = InlinePolicy()
    _in_threads(pace, 0.0001, 20)
    assert pace.is_short
    return pace


def test_short_runs_come_to_the_loop_after_a_trial() -> None:
    pace = InlinePolicy()
    _in_threads(pace, 0.0001, 19)
    assert not pace.is_short
    # Runs that waited for others do not count against it.
    pace.took_in_thread(0.1)
    assert pace.is_short


def test_long_runs_never_do() -> None:
    pace = InlinePolicy()
    _in_threads(pace, 0.001, 1000)
    assert not pace.is_short


def test_two_long_runs_on_the_loop_double_the_trial() -> None:
    pace = _short()
    _on_loop(pace, 0.006, 2, cpu_s=0.006)
    assert not pace.is_short
    _in_threads(pace, 0.0001, 39)
    assert not pace.is_short
    pace.took_in_thread(0.0001)
    assert pace.is_short


def test_runs_on_the_loop_that_waited_for_their_core_are_still_short() -> None:
    pace = _short()
    _on_loop(pace, 0.02, 100)
    assert pace.is_short


def test_one_hiccup_of_the_machine_is_forgotten_after_a_thousand_runs() -> None:
    pace = _short()
    _on_loop(pace, 0.2, 1)
    assert pace.is_suspect
    _on_loop(pace, 0.0001, 1000)
    assert not pace.is_suspect
    _on_loop(pace, 0.2, 1)
    assert pace.is_short


def test_runs_that_wait_for_something_else_go_back_to_threads() -> None:
    pace = _short()
    _on_loop(pace, 0.1, 2)
    assert not pace.is_short


def test_hiccups_without_end_do_not_keep_it_in_threads() -> None:
    pace = _short()
    for _ in range(50):
        _on_loop(pace, 0.2, 2)
        assert not pace.is_short
        _in_threads(pace, 0.0001, 20_000)
        assert pace.is_short
