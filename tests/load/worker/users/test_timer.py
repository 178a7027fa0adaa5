"""The timer of the open loop."""

from __future__ import annotations

import sys
import time

import gevent
import pytest

from pytest_tfserving.load.worker.users.timer import Timer

LONG_S = 0.05


@pytest.fixture(params=["linux", "another system"], autouse=True)
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "linux":
        monkeypatch.setattr(sys, "platform", "darwin")


def times_of(*lengths_s: float, wait_s: float = 4 * LONG_S) -> list[float]:
    """Set a timer several times at once; return after how many seconds it called."""
    began, called = time.perf_counter(), []

    def call() -> None:
        called.append(time.perf_counter() - began)
        timer.set(60.0)

    timer = Timer(call)
    for length_s in lengths_s:
        timer.set(length_s)
    gevent.sleep(wait_s)
    timer.close()
    return called


def test_it_calls_once() -> None:
    """On other systems than Linux the event loop may call some milliseconds too early."""
    (at_s,) = times_of(LONG_S)

    assert at_s >= LONG_S / 2


@pytest.mark.parametrize("length_s", [0.0, -1.0, 1e-9])
def test_it_calls_at_once_when_the_time_has_come(length_s: float) -> None:
    assert len(times_of(length_s)) == 1


def test_the_last_time_that_is_set_counts() -> None:
    (at_s,) = times_of(0.001, LONG_S)

    assert at_s >= LONG_S / 2


def test_it_counts_from_now_after_a_long_computation() -> None:
    """The event loop's own time stands still while the program computes."""
    busy_until = time.perf_counter() + 2 * LONG_S
    while time.perf_counter() < busy_until:
        pass
    (at_s,) = times_of(LONG_S)

    assert at_s >= LONG_S / 2


def test_it_calls_nothing_after_its_end() -> None:
    called: list[bool] = []
    timer = Timer(lambda: called.append(True))
    timer.set(0.0)
    timer.close()
    gevent.sleep(LONG_S)

    assert not called


def test_it_calls_again_at_once() -> None:
    called: list[float] = []

    def call() -> None:
        called.append(time.perf_counter())
        if len(called) < 3:
            timer.again()
        else:
            timer.set(60.0)

    timer = Timer(call)
    timer.set(0.0)
    gevent.sleep(LONG_S)
    timer.close()

    assert len(called) == 3


def test_a_wait_stops_the_event_loop() -> None:
    ran: list[bool] = []
    gevent.spawn(ran.append, True)
    began = time.perf_counter()

    Timer.wait(LONG_S)

    assert time.perf_counter() - began >= LONG_S
    assert not ran
    gevent.sleep(0)
    assert ran
