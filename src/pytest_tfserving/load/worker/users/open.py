"""User of an open loop: starts every request when it is due, even if earlier ones have no response yet."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import gevent
from locust import User, task

from pytest_tfserving.experiments.arrivals import arrivals
from pytest_tfserving.load.worker.users.sender import LoadLoop
from pytest_tfserving.load.worker.users.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locust.env import Environment

    from pytest_tfserving.load.worker.users.sender import RequestSender


class OpenUser(User):
    """Sender of all requests of one load process; with n processes, each takes every n-th arrival."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._shared: LoadLoop = environment.load_loop
        self._free: list[RequestSender] = []

    @task
    def dispatch(self) -> None:
        """Start requests until the run ends."""
        state, timer = self._shared, Timer()
        for due_s in self._due():
            state.sleep_until(due_s, timer.sleep)
            if state.stopping:
                return
            self._start(due_s)
        while not state.stopping:
            gevent.sleep(1)

    def _due(self) -> Iterator[float]:
        state = self._shared
        every = arrivals(state.stages, state.profile.arrivals, state.profile.seed)
        return islice(every, state.index, None, state.processes)

    def _start(self, due_s: float) -> None:
        state = self._shared
        if self._free:
            gevent.spawn(self._send, self._free.pop(), due_s)
        elif len(state.requesters) < state.max_in_flight:
            gevent.spawn(self._send, state.requester(), due_s)
        else:
            state.drop(due_s)

    def _send(self, requester: RequestSender, due_s: float) -> None:
        requester.send(due_s)
        self._free.append(requester)


class OpenLoop(LoadLoop):
    """Open loop: requests start when they are due."""

    user_classes = (OpenUser,)

    def answered_since(self, at_s: float) -> bool:
        """Return whether a response has come since ``at_s``."""
        return any(each.finished_at > at_s for each in self.requesters)

    def waits_since(self) -> float | None:
        """Return when the last response came, or else the first request was sent; None if none waits."""
        if not self.waiting():
            return None
        return max(self.requesters[0].began_at, *(each.finished_at for each in self.requesters))
