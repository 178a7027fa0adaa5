"""Shared state of the users of one load process, and the senders that check and record requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import gevent

from pytest_tfserving.load.recorder import DROPPED, SUCCESS
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.answer import OTHER_VALUES, wrong
from pytest_tfserving.protocols.reading import unreadable
from pytest_tfserving.protocols.serving_protocol import RepeatedRequest
from pytest_tfserving.protocols.transport import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_tfserving.deployment.load_clock import LoadClock
    from pytest_tfserving.load.process_plan import ProcessPlan
    from pytest_tfserving.load.recorder import Recorder
    from pytest_tfserving.protocols.answer import ExpectedAnswer
    from pytest_tfserving.protocols.serving_protocol import Connection

# Interval at which a clock that stands still is read.
_LOOK_S = 2e-4
_ANSWERS_REMEMBERED = 32
# Limit of the memory for remembered responses.
_MOST_REMEMBERED_BYTES = 1 << 26


class AnswerJudge:
    """Check of responses that does not parse a response again which was right before."""

    def __init__(self, expected: ExpectedAnswer) -> None:
        self._expected = expected
        self._successful = SERVING_PROTOCOLS[expected.protocol].success
        self._right: set[bytes] = set()
        self._right_bytes = 0
        self._last = b""
        self._other_values = ""

    def wrong(self, status: int, body: bytes) -> str:
        """Return why the response is wrong; empty if it is right."""
        if status == self._successful and body and (body == self._last or body in self._right):
            self._last = body
            return ""
        if cause := wrong(status, body, self._expected):
            if cause.startswith(OTHER_VALUES):
                # Each example would be a cause of its own.
                self._other_values = self._other_values or cause
                return self._other_values
            return cause
        if len(self._right) < _ANSWERS_REMEMBERED and self._right_bytes < _MOST_REMEMBERED_BYTES:
            self._right.add(body)
            self._right_bytes += len(body)
        self._last = body
        return ""


class LoadLoop(ABC):
    """Base of the open and the closed loop: the state that the users of a load process share.

    All times are in seconds of the load clock.
    """

    # The classes of Locust's users.
    user_classes: Sequence[type]

    def __init__(self, plan: ProcessPlan, recorder: Recorder, clock: LoadClock) -> None:
        self.profile = plan.profile
        self.recorder = recorder
        self.judge = AnswerJudge(plan.expected)
        self.endpoints = plan.endpoints
        self._connections = SERVING_PROTOCOLS[plan.expected.protocol].connections(_request(plan))
        self.clock = clock
        self.now_s = clock.now_s
        self.stages = plan.profile.stages
        self.index = plan.index
        self.processes = plan.processes
        self.max_in_flight = max(self.profile.max_in_flight // self.processes, 1)
        self.requesters: list[RequestSender] = []
        self.stopping = False
        # Requests that were sent, and requests that were due and not sent: each must be recorded.
        self.sent = self.dropped = 0

    @abstractmethod
    def answered_since(self, at_s: float) -> bool:
        """Return whether load that reached its level at ``at_s`` has got responses since."""

    @abstractmethod
    def waits_since(self) -> float | None:
        """Return since when the requests under way have had no response; None if no request waits."""

    def sleep_until(self, at_s: float, sleep: Callable[[float], object] = gevent.sleep) -> None:
        """Let other greenlets run until the load clock shows ``at_s``, at least once."""
        sleep(max(at_s - self.now_s(), 0.0))
        while (left_s := at_s - self.now_s()) > 0:
            sleep(max(left_s, _LOOK_S) if self.clock.stands else left_s)

    def requester(self) -> RequestSender:
        """Add a requester with a new connection; connections are spread evenly over the endpoints."""
        connection = self._connections(self.index + len(self.requesters))
        self.requesters.append(RequestSender(self, connection))
        return self.requesters[-1]

    def drop(self, due_s: float) -> None:
        """Record a due request as failed that is not sent, because too many requests are under way."""
        in_flight = self.profile.max_in_flight
        cause = self.recorder.cause(f"{DROPPED}: {in_flight} requests were under way, the profile's most")
        self.dropped += 1
        self.recorder.record(due_s, 0.0, cause)

    def expire(self, limit_s: float) -> int:
        """End the requests that have waited for longer than ``limit_s``; return the number of them."""
        now = self.now_s()
        late = [each for each in self.requesters if each.waiting_since and now - each.waiting_since > limit_s]
        for requester in late:
            requester.give_up(f"no response within {limit_s:g} s" if limit_s else "no response until the end")
        return len(late)

    def waiting(self) -> int:
        """Return how many requests are under way."""
        return sum(1 for requester in self.requesters if requester.waiting_since)

    def abandon(self) -> None:
        """Record all requests under way as failed, at the end of the run."""
        for requester in self.requesters:
            requester.abandon("no response until the end")


def _request(plan: ProcessPlan) -> RepeatedRequest:
    """Return the request of a plan."""
    return RepeatedRequest(
        plan.endpoints,
        plan.path,
        plan.body,
        plan.profile.request_timeout_s,
        plan.profile.grpc_channels,
        plan.expected.most_bytes,
    )


class RequestSender:
    """Sender with one connection and at most one request under way."""

    def __init__(self, state: LoadLoop, connection: Connection) -> None:
        self.began_at = state.now_s()
        self.waiting_since = 0.0
        self.finished_at = 0.0
        self._given_up = ""
        self._delay_ms = 0.0
        self._state = state
        self._connection = connection
        self._exchange = connection.exchange
        self._record = state.recorder.record
        self._cause = state.recorder.cause
        self._wrong = state.judge.wrong
        self._now_s = state.now_s

    def send(self, due_s: float | None = None) -> bool:
        """Send one request, wait for the response, check and record it.

        Args:
            due_s: when the request was due, in seconds of the run; None if it is due now.

        Returns:
            Whether a response came, right or wrong.
        """
        now_s = self._now_s
        sent_s = now_s()
        delay_ms = 0.0 if due_s is None else (sent_s - due_s) * 1e3
        self._delay_ms = delay_ms
        self._state.sent += 1
        self.waiting_since = sent_s
        self._given_up = ""
        try:
            status, body = self._exchange()
        except Exception as error:  # noqa: BLE001 - a server can send anything, and each request is recorded
            answered, cause = False, self._given_up or _cause_of(error)
            end_s = now_s()
        else:
            end_s = now_s()
            answered, cause = True, self._given_up or self._wrong(status, body)
        self.waiting_since = 0.0
        self.finished_at = end_s
        self._record(sent_s, (end_s - sent_s) * 1e3, self._cause(cause) if cause else SUCCESS, delay_ms)
        return answered

    def give_up(self, cause: str) -> None:
        """End the waiting request, which fails with ``cause``."""
        self._given_up = cause
        self._connection.abort()

    def abandon(self, cause: str) -> None:
        """Record the waiting request, if there is one, as failed with ``cause``."""
        if sent_s := self.waiting_since:
            self.waiting_since = 0.0
            self._record(sent_s, (self._now_s() - sent_s) * 1e3, self._cause(cause), self._delay_ms)


def _cause_of(error: Exception) -> str:
    return str(error) if isinstance(error, ExchangeError) else unreadable(error)
