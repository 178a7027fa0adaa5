"""The dispatcher of an open loop, with a clock and a timer that the test moves."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from pytest_tfserving.load.worker.users import dispatcher as module
from pytest_tfserving.load.worker.users.dispatcher import Dispatcher
from pytest_tfserving.protocols.arrival_time import LateReading

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Turn: TypeAlias = Callable[["FakeLoop"], list[tuple[str, float]]]


class FakeTimer:
    """Timer that notes what it is asked for. A wait moves the clock of the loop."""

    def __init__(self, loop: FakeLoop, on_time: Callable[[], None]) -> None:
        self.loop = loop
        self.on_time = on_time
        self.calls: list[tuple[str, float]] = []

    def set(self, length_s: float) -> None:
        self.calls.append(("set", round(length_s, 6)))

    def again(self) -> None:
        self.calls.append(("again", 0.0))

    def wait(self, length_s: float) -> None:
        self.calls.append(("wait", round(length_s, 6)))
        if not self.loop.stands_soon:
            self.loop.at_s += length_s + 1e-9

    def close(self) -> None:
        self.calls.append(("close", 0.0))


class FakeSender:
    """Sender whose connection is open, or not."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.done: Callable[[bool], object] = bool

    def start(self, body: int, done: Callable[[bool], object], due_s: float) -> bool:
        self.done = done
        if self.loop.connects:
            return False
        self.loop.sent.append((due_s, body))
        return True

    def send(self, body: int, due_s: float) -> bool:
        self.loop.sent.append((due_s, body))
        return True


class FakeLoop:
    """State of an open loop whose requests are due at some times."""

    def __init__(self, *due_s: float) -> None:
        self.schedule = SimpleNamespace(due_s=due_s, requests=range(len(due_s)))
        self.index, self.processes = 0, 1
        self.at_s = 0.0
        self.next_due_s = math.inf
        self.stopping = self.connects = False
        self.late: LateReading | None = LateReading()
        self.late.has_times = True
        self.clock = SimpleNamespace(stands=False)
        self.stands_soon = False
        self.requesters: list[FakeSender] = []
        self.max_in_flight = 100
        self.sent: list[tuple[float, int]] = []
        self.dropped: list[float] = []
        self.probe_s = math.inf

    def now_s(self) -> float:
        return self.at_s

    def probe_due_s(self) -> float:
        return self.probe_s

    def requester(self) -> FakeSender:
        self.requesters.append(FakeSender(self))
        return self.requesters[-1]

    def drop(self, due_s: float, _: int) -> None:
        self.dropped.append(due_s)


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Turn:
    """Function that makes one turn of the event loop, and returns what the timer was asked for."""
    made: dict[int, Any] = {}

    def one_turn(loop: FakeLoop) -> list[tuple[str, float]]:
        if id(loop) not in made:
            monkeypatch.setattr(module, "Timer", lambda on_time: FakeTimer(loop, on_time))
            made[id(loop)] = Dispatcher(loop)._timer  # type: ignore[arg-type] # a part of the state is enough
        timer = made[id(loop)]
        timer.calls.clear()
        timer.on_time()
        return list(timer.calls)

    return one_turn


def test_the_process_sleeps_until_a_request_that_is_due_soon(turn: Turn) -> None:
    loop = FakeLoop(0.0005, 0.001, 0.1)

    calls = turn(loop)

    assert calls == [("wait", 0.0005), ("wait", 0.0005), ("set", 0.099)]
    assert [due_s for due_s, _ in loop.sent] == [0.0005, 0.001]


def test_a_response_is_read_as_it_comes_while_no_request_is_due_soon(turn: Turn) -> None:
    assert turn(FakeLoop(0.0021)) == [("set", 0.0021)]


def test_the_event_loop_runs_after_two_milliseconds(turn: Turn) -> None:
    loop = FakeLoop(0.0015, 0.003, 0.0045)

    assert turn(loop) == [("wait", 0.0015), ("again", 0.0)]
    assert turn(loop) == [("wait", 0.0015), ("again", 0.0)]


def test_the_event_loop_runs_after_four_requests(turn: Turn) -> None:
    loop = FakeLoop(*(number / 10_000 for number in range(1, 9)))

    assert turn(loop) == [("wait", 0.0001)] * 4 + [("again", 0.0)]
    assert len(loop.sent) == 4


def test_requests_that_are_late_are_sent_without_a_rest(turn: Turn) -> None:
    loop = FakeLoop(0.001, 0.002, 0.003)
    loop.at_s = 0.0025

    assert turn(loop)[0] == ("wait", 0.0005)
    assert len(loop.sent) == 3


def test_the_probe_of_lateness_is_never_late_for_a_rest(turn: Turn) -> None:
    loop = FakeLoop(0.001)
    loop.probe_s = 0.0008

    assert turn(loop) == [("set", 0.001)]


def test_responses_that_cannot_be_read_late_are_read_as_they_come(turn: Turn) -> None:
    unknown, long, none = FakeLoop(0.001), FakeLoop(0.001), FakeLoop(0.001)
    assert unknown.late
    assert long.late
    unknown.late.has_times = long.late.allowed = False
    none.late = None

    assert turn(unknown) == turn(long) == turn(none) == [("set", 0.001)]


def test_there_is_no_rest_while_a_connection_is_made(turn: Turn) -> None:
    loop = FakeLoop(0.0, 0.001, 0.002)
    loop.connects = True

    assert turn(loop) == [("set", 0.001)]
    gevent.sleep(0)  # the request is sent by a greenlet
    assert loop.sent == [(0.0, 0)]
    assert turn(loop)[0] == ("wait", 0.001)


def test_there_is_no_rest_while_the_clock_stands(turn: Turn) -> None:
    loop = FakeLoop(0.001)
    loop.clock.stands = True

    assert turn(loop) == [("set", 0.001)]


def test_a_clock_that_stops_during_a_rest_delays_the_request(turn: Turn) -> None:
    loop = FakeLoop(0.001)
    loop.stands_soon = True

    assert turn(loop) == [("wait", 0.001), ("again", 0.0)]
    loop.clock.stands = True
    assert turn(loop) == [("set", 0.001)]
    assert not loop.sent


def test_responses_are_read_before_a_request_is_dropped(turn: Turn) -> None:
    loop = FakeLoop(0.0005, 0.001)
    loop.max_in_flight = 1

    assert turn(loop) == [("wait", 0.0005), ("wait", 0.0005), ("again", 0.0)]
    loop.requesters[0].done(True)
    turn(loop)

    assert [due_s for due_s, _ in loop.sent] == [0.0005, 0.001]
    assert not loop.dropped


def test_a_request_is_dropped_if_no_response_has_come(turn: Turn) -> None:
    loop = FakeLoop(0.0005, 0.001)
    loop.max_in_flight = 1

    turn(loop)
    turn(loop)

    assert loop.dropped == [0.001]


def test_nothing_is_started_once_the_run_ends(turn: Turn) -> None:
    loop = FakeLoop(0.0)
    loop.stopping = True

    assert turn(loop) == [("set", 3600.0)]
    assert not loop.sent
