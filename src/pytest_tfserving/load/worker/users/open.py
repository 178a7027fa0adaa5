"""User of an open loop: starts every request when it is due, even if earlier ones have no response yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
from locust import User, task

from pytest_tfserving.load.worker.users.dispatcher import Dispatcher
from pytest_tfserving.load.worker.users.sender import LoadLoop

if TYPE_CHECKING:
    from locust.env import Environment


class OpenUser(User):
    """The one user of a load process, whose dispatcher sends all requests."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._shared: LoadLoop = environment.load_loop

    @task
    def dispatch(self) -> None:
        """Start requests until the run ends."""
        dispatcher = Dispatcher(self._shared)
        try:
            while not self._shared.stopping:
                gevent.sleep(1)
        finally:
            dispatcher.close()


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
