"""The lean REST user: one connection, prebuilt bytes, every request recorded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gevent
from locust import User, task

from pytest_tfserving.load.answer import ExpectedAnswer, wrong
from pytest_tfserving.load.users.http import HttpConnection, HttpError

if TYPE_CHECKING:
    from pytest_tfserving.load.recorder import Recorder

# A refused connection comes back at once; without a pause its users would only count refusals.
_PAUSE_AFTER_NO_ANSWER_S = 0.1
_ANSWERS_REMEMBERED = 32


class AnswerJudge:
    """Checks answers at the price of a comparison: an answer seen and found right is not parsed again."""

    def __init__(self, expected: ExpectedAnswer) -> None:
        self._expected = expected
        self._right: set[bytes] = set()
        self._last = b""

    def wrong(self, status: int, body: bytes) -> str:
        """Why the answer is wrong, or nothing."""
        if status == 200 and body and (body == self._last or body in self._right):  # noqa: PLR2004
            self._last = body
            return ""
        if cause := wrong(status, body, self._expected):
            return cause
        if len(self._right) < _ANSWERS_REMEMBERED:
            self._right.add(body)
        self._last = body
        return ""


class LoadState:
    """What the users of one child share; times are in seconds since ``origin``."""

    def __init__(self, plan: dict[str, Any], recorder: Recorder, body: bytes) -> None:
        profile = plan["profile"]
        self.think_time_s: float = profile["think_time_s"]
        self.request_timeout_s: float = profile["request_timeout_s"]
        self.recorder = recorder
        self.judge = AnswerJudge(ExpectedAnswer(**plan["expected"]))
        self.endpoints: list[dict[str, Any]] = plan["endpoints"]
        self.requests = [_request(endpoint, body) for endpoint in self.endpoints]
        self.origin = time.perf_counter()
        self.users: list[RestUser] = []
        self.stopping = False

    def now_s(self) -> float:
        """Seconds since the run's origin."""
        return time.perf_counter() - self.origin

    def connection(self) -> HttpConnection:
        """A connection for the next user: users are spread evenly over the endpoints."""
        index = len(self.users) % len(self.endpoints)
        endpoint = self.endpoints[index]
        return HttpConnection(endpoint["host"], endpoint["port"], self.requests[index], tls=endpoint["tls"])

    def expire(self, limit_s: float) -> int:
        """End the requests that have waited longer than ``limit_s``; return how many."""
        now = self.now_s()
        late = [user for user in self.users if user.waiting_since and now - user.waiting_since > limit_s]
        for user in late:
            user.give_up(f"no answer within {limit_s:g} s" if limit_s else "no answer until the end")
        return len(late)


class RestUser(User):
    """A closed-loop user of the REST API."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.state: LoadState = environment.load_state
        self.waiting_since = 0.0
        self.finished_at = 0.0
        self._given_up = ""
        self._connection = self.state.connection()
        self.state.users.append(self)

    @task
    def predict(self) -> None:
        """Send, wait, check, record, think, until the run ends."""
        state, clock = self.state, time.perf_counter
        record, wrong_answer = state.recorder.record, state.judge.wrong
        exchange, think_time_s, origin = self._connection.exchange, state.think_time_s, state.origin
        while not state.stopping:
            start = clock()
            self.waiting_since = start - origin
            try:
                status, body = exchange()
            except HttpError as error:
                self._record_failure(start, str(error))
                gevent.sleep(_PAUSE_AFTER_NO_ANSWER_S)
                continue
            end = clock()
            self.waiting_since = 0.0
            self.finished_at = end - origin
            if cause := wrong_answer(status, body):
                record(start - origin, (end - start) * 1e3, state.recorder.cause(cause))
            else:
                record(start - origin, (end - start) * 1e3)
            if think_time_s:
                gevent.sleep(think_time_s)

    def give_up(self, cause: str) -> None:
        """End the waiting request as failed by ``cause``."""
        self._given_up = cause
        self._connection.abort()

    def _record_failure(self, start: float, cause: str) -> None:
        state = self.state
        end = time.perf_counter()
        cause, self._given_up = self._given_up or cause, ""
        self.waiting_since = 0.0
        self.finished_at = end - state.origin
        state.recorder.record(start - state.origin, (end - start) * 1e3, state.recorder.cause(cause))


def _request(endpoint: dict[str, Any], body: bytes) -> bytes:
    host = f"[{endpoint['host']}]" if ":" in endpoint["host"] else endpoint["host"]
    head = (
        f"POST {endpoint['path']} HTTP/1.1\r\nHost: {host}:{endpoint['port']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
