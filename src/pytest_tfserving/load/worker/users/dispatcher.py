"""Dispatcher of an open loop: starts every request when it is due, in the event loop."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

import gevent

from pytest_tfserving.load.worker.users.sender import LOOK_S
from pytest_tfserving.load.worker.users.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.load.worker.users.sender import LoadLoop, RequestSender

# After a stop of the process many requests are due, and responses have to be received between them.
_MOST_AT_ONCE = 4
# For at most this long the event loop stands still, and a response is not read.
_LONGEST_REST_S = 0.002
# As good as never: nothing is due any more.
_LATER_S = 3600.0


class Dispatcher:
    """Sender of all requests of one load process; with n processes, each takes every n-th arrival.

    The process sleeps until the next request is due, if that is soon. Then it reads the responses that came
    in between together, which saves a wake-up for each of them. The kernel knows when they came.
    """

    def __init__(self, state: LoadLoop) -> None:
        self._state = state
        self._next_body = 0
        # Senders without a request under way, each with the function that puts it back here.
        self._free: list[tuple[RequestSender, Callable[[bool], None]]] = []
        # Senders whose responses have to be read as soon as they come.
        self._urgent: set[RequestSender] = set()
        self._due = self._schedule()
        self._look_ahead()
        self._timer = Timer(self._start_due)
        self._timer.set(0.0)

    def close(self) -> None:
        """Start nothing any more."""
        self._timer.close()

    def _look_ahead(self) -> None:
        """Note the next request."""
        self._state.next_due_s, self._next_body = next(self._due, (math.inf, 0))

    def _start_due(self) -> None:
        """Start requests that are due, and set the timer for the next one."""
        state, rested = self._state, False
        until_s = self._rest_until_s()
        for _ in range(_MOST_AT_ONCE):
            due_s = state.next_due_s
            left_s = due_s - state.now_s()
            if left_s > 0 and due_s < until_s and not self._urgent:
                self._timer.wait(left_s)
                rested, left_s = True, due_s - state.now_s()
            if left_s > 0 or state.stopping or (rested and not self._has_room()):
                break
            self._start(due_s, self._next_body)
            self._look_ahead()
        if state.stopping or state.next_due_s == math.inf:
            self._timer.set(_LATER_S)
        elif left_s <= 0 or (rested and left_s < _LONGEST_REST_S):
            self._timer.again()
        else:
            self._timer.set(max(left_s, LOOK_S) if state.clock.stands else left_s)

    def _rest_until_s(self) -> float:
        """Return until when the process may sleep now, and leave responses unread."""
        state = self._state
        if state.clock.stands or not (state.late and state.late.possible):
            return -math.inf
        return min(state.now_s() + _LONGEST_REST_S, state.probe_due_s())

    def _schedule(self) -> Iterator[tuple[float, int]]:
        """Yield when each request of this process is due, with its body."""
        state = self._state
        if schedule := state.schedule:
            every = zip(schedule.due_s, schedule.requests, strict=True)
            yield from islice(every, state.index, None, state.processes)
            return
        for due_s in islice(state.profile.due_times(), state.index, None, state.processes):
            yield due_s, state.next_body()

    def _start(self, due_s: float, body: int) -> None:
        if not self._has_room():
            self._state.drop(due_s, body)
            return
        sender, done = self._free.pop() if self._free else self._new_sender()
        if not sender.start(body, done, due_s):
            self._urgent.add(sender)
            gevent.spawn(lambda: done(sender.send(body, due_s)))

    def _has_room(self) -> bool:
        """Return whether one more request may be under way, as far as responses were read."""
        return bool(self._free) or len(self._state.requesters) < self._state.max_in_flight

    def _new_sender(self) -> tuple[RequestSender, Callable[[bool], None]]:
        sender = self._state.requester()

        def done(_: bool) -> None:  # noqa: FBT001 - as `RequestSender.start` calls it
            self._urgent.discard(sender)
            self._free.append((sender, done))

        return sender, done
