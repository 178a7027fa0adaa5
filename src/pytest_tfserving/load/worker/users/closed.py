"""Users of a closed loop: each sends a request, waits for the response, pauses, and sends again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locust import User, task
from locust.exception import StopUser

from pytest_tfserving.load.worker.users.sender import LoadLoop

if TYPE_CHECKING:
    from locust.env import Environment

# A connection is refused at once; without a pause users would only count refusals.
PAUSE_AFTER_NO_ANSWER_S = 0.1


class ClosedUser(User):
    """A user of a closed loop."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._shared: LoadLoop = environment.load_loop
        self._requester = self._shared.requester()
        self._leaves = False

    @task
    def predict(self) -> None:
        """Send requests with pauses until the run ends or the user is stopped."""
        state, sender, now_s = self._shared, self._requester, self._shared.now_s
        next_body = state.next_body
        think_time_s, pace_s = state.profile.think_time_s, state.profile.pace_s
        pauses = bool(think_time_s or pace_s)
        while self._goes_on():
            began_s = now_s()
            if not (sender.send(next_body()) and (pauses or sender.send_on(next_body, self._goes_on))):
                state.sleep_until(now_s() + PAUSE_AFTER_NO_ANSWER_S)
            pause_s = max(think_time_s, pace_s and pace_s - (now_s() - began_s))
            if pause_s > 0:
                state.sleep_until(now_s() + pause_s)
        raise StopUser

    def _goes_on(self) -> bool:
        return not (self._shared.stopping or self._leaves)

    def stop(self, force: bool = False) -> bool:  # noqa: FBT001, FBT002, ARG002 - Locust's signature
        """Stop after the response to the request under way, so that this request is recorded."""
        self._leaves = True
        return False


class ClosedLoop(LoadLoop):
    """Closed loop: a fixed number of users, each with at most one request under way."""

    user_classes = (ClosedUser,)

    def answered_since(self, at_s: float) -> bool:
        """Return whether every user has got a response since ``at_s``."""
        return bool(self.requesters) and all(each.finished_at > at_s for each in self.requesters)

    def waits_since(self) -> float | None:
        """Return when the last user began to wait or to pause; None if no user waits."""
        if not self.waiting():
            return None
        return max(max(each.finished_at, each.waiting_since) for each in self.requesters)
