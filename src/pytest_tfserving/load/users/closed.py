"""The user of a closed loop: sends, waits for the answer, thinks, sends again."""

from __future__ import annotations

from typing import Any

from locust import User, task
from locust.exception import StopUser

from pytest_tfserving.load.users.requester import Loop

# A refused connection comes back at once; without a pause its users would only count refusals.
PAUSE_AFTER_NO_ANSWER_S = 0.1


class ClosedUser(User):
    """One of a closed loop's users."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._shared: Loop = environment.load_loop
        self._requester = self._shared.requester()
        self._leaves = False

    @task
    def predict(self) -> None:
        """Send, think, send again, until the run ends or the user is stopped."""
        state, send, now_s = self._shared, self._requester.send, self._shared.now_s
        think_time_s, pace_s = state.profile["think_time_s"], state.profile["pace_s"]
        while not (state.stopping or self._leaves):
            began_s = now_s()
            if not send():
                state.sleep_until(now_s() + PAUSE_AFTER_NO_ANSWER_S)
            pause_s = max(think_time_s, pace_s and pace_s - (now_s() - began_s))
            if pause_s > 0:
                state.sleep_until(now_s() + pause_s)
        raise StopUser

    def stop(self, force: bool = False) -> bool:  # noqa: FBT001, FBT002, ARG002 - Locust's signature
        """Leave after the answer that is waited for: a request that was sent is recorded."""
        self._leaves = True
        return False


class ClosedLoop(Loop):
    """Users that wait for each other's turn at the server."""

    user_classes = (ClosedUser,)

    def answered_since(self, at_s: float) -> bool:
        """Whether every user has had an answer since."""
        return bool(self.requesters) and all(each.finished_at > at_s for each in self.requesters)

    def waits_since(self) -> float | None:
        """When the last user began to wait or to think, if any of them waits."""
        if not self.waiting():
            return None
        return max(max(each.finished_at, each.waiting_since) for each in self.requesters)
