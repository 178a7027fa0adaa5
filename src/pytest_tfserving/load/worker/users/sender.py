"""Shared state of the users of one load process, and the senders that check and record requests."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import gevent
from gevent.event import AsyncResult

from pytest_tfserving.load.recorder import DROPPED, SUCCESS
from pytest_tfserving.load.worker.users.answer_judge import AnswerJudge
from pytest_tfserving.load.worker.users.body_choice import body_choice
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.arrival_time import LateReading
from pytest_tfserving.protocols.reading import unreadable
from pytest_tfserving.protocols.serving_protocol import SentRequests
from pytest_tfserving.protocols.transport import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_tfserving.deployment.load_clock import LoadClock
    from pytest_tfserving.load.process_plan import ProcessPlan
    from pytest_tfserving.load.recorder import Recorder
    from pytest_tfserving.protocols.prepared_requests import PreparedRequests
    from pytest_tfserving.protocols.serving_protocol import Connection

# Interval at which a clock that stands still is read.
LOOK_S = 2e-4


class LoadLoop(ABC):
    """Base of the open and the closed loop: the state that the users of a load process share.

    All times are in seconds of the load clock. ``next_body`` chooses the body of the next request.
    """

    # The classes of Locust's users.
    user_classes: Sequence[type]

    def __init__(
        self, plan: ProcessPlan, requests: PreparedRequests, recorder: Recorder, clock: LoadClock
    ) -> None:
        self.profile = plan.profile
        self.recorder = recorder
        protocol = plan.endpoints[0].protocol
        self.judge = AnswerJudge(protocol, requests.forms, plan.expected)
        self.next_body = body_choice(requests.weights, f"{plan.profile.seed} {plan.index} {plan.processes}")
        self.endpoints = plan.endpoints
        # Whether responses can be read late; None in a closed loop, which reads them at once.
        self.late = LateReading() if self.profile.is_open else None
        self._connections = SERVING_PROTOCOLS[protocol].connections(_sent(plan, requests, self.late))
        self.clock = clock
        self.now_s = clock.now_s
        self.schedule = plan.schedule
        self.index = plan.index
        self.processes = plan.processes
        self.max_in_flight = max(self.profile.max_in_flight // self.processes, 1)
        self.requesters: list[RequestSender] = []
        self.stopping = False
        # When the next request of an open loop is due.
        self.next_due_s = math.inf
        # Returns when a greenlet has to run that measures how late greenlets run.
        self.probe_due_s: Callable[[], float] = lambda: math.inf
        # Requests that were sent, and requests that were due and not sent: each must be recorded.
        self.sent = self.dropped = 0

    def is_behind(self, until_s: float) -> bool:
        """Return whether a request that was due until ``until_s`` has not been sent yet."""
        return self.next_due_s < until_s

    @abstractmethod
    def answered_since(self, at_s: float) -> bool:
        """Return whether load that reached its level at ``at_s`` has got responses since."""

    @abstractmethod
    def waits_since(self) -> float | None:
        """Return since when the requests under way have had no response; None if no request waits."""

    def sleep_until(self, at_s: float) -> None:
        """Let other greenlets run until the load clock shows ``at_s``, at least once."""
        gevent.sleep(max(at_s - self.now_s(), 0.0))
        while (left_s := at_s - self.now_s()) > 0:
            gevent.sleep(max(left_s, LOOK_S) if self.clock.stands else left_s)

    def requester(self) -> RequestSender:
        """Add a requester with a new connection; connections are spread evenly over the endpoints."""
        connection = self._connections(self.index + len(self.requesters))
        self.requesters.append(RequestSender(self, connection))
        return self.requesters[-1]

    def drop(self, due_s: float, body: int) -> None:
        """Record a due request as failed that is not sent, because too many requests are under way."""
        in_flight = self.profile.max_in_flight
        cause = self.recorder.cause(f"{DROPPED}: {in_flight} requests were under way, the profile's most")
        self.dropped += 1
        self.recorder.record(due_s, 0.0, cause, body=body)

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


def _sent(plan: ProcessPlan, requests: PreparedRequests, late: LateReading | None) -> SentRequests:
    """Return the requests of a plan."""
    return SentRequests(
        plan.endpoints,
        plan.paths,
        requests,
        plan.profile.request_timeout_s,
        plan.profile.grpc_channels,
        plan.most_bytes,
        requests.path_numbers if len(plan.paths) > 1 else (),
        late,
    )


class RequestSender:
    """Sender with one connection and at most one request under way."""

    def __init__(self, state: LoadLoop, connection: Connection) -> None:
        self.began_at = state.now_s()
        self.waiting_since = 0.0
        self.finished_at = 0.0
        self._given_up = ""
        self._sent_s = 0.0
        self._delay_ms = 0.0
        self._body = 0
        self._done: Callable[[bool], object] = bool
        self._state = state
        self._connection = connection
        self._exchange = connection.exchange
        self._record = state.recorder.record
        self._cause = state.recorder.cause
        self._wrong = state.judge.wrong
        self._now_s = state.now_s
        self._shown_before_s = state.clock.shown_before_s

    def send(self, body: int, due_s: float | None = None) -> bool:
        """Send one request, wait for the response, check and record it.

        Args:
            body: the index of the request's body in the payload set.
            due_s: when the request was due, in seconds of the run; None if it is due now.

        Returns:
            Whether a response came, right or wrong.
        """
        self._begin(body, due_s)
        try:
            status, content = self._exchange(body)
        except Exception as error:  # noqa: BLE001 - a server can send anything, and each request is recorded
            self._end(self._now_s(), self._given_up or _cause_of(error))
            return False
        end_s = self._now_s()
        self._end(end_s, self._given_up or self._wrong(body, status, content))
        return True

    def start(self, body: int, done: Callable[[bool], object], due_s: float | None = None) -> bool:
        """Send one request without waiting; return False, and send nothing, unless the connection is open.

        Args:
            body: as for `send`.
            done: called once the request is recorded, with whether a response came; it must not wait.
            due_s: as for `send`.
        """
        self._done = done
        self._begin(body, due_s)
        if self._connection.start(body, self):
            return True
        self._state.sent -= 1
        self.waiting_since = 0.0
        return False

    def send_on(self, next_body: Callable[[], int], goes_on: Callable[[], bool]) -> bool:
        """Send requests back to back while ``goes_on()``; return whether the last one got a response.

        It ends as soon as a request cannot be sent without waiting.
        """
        ended: AsyncResult[bool] = AsyncResult()

        def next_one(answered: bool) -> None:  # noqa: FBT001 - as `start` calls it
            if not (answered and goes_on() and self.start(next_body(), next_one)):
                ended.set(answered)

        next_one(True)
        got_response: bool = ended.get()
        return got_response

    def on_response(self, status: int, content: bytes, waited_s: float) -> None:
        """Check and record the response (called by the connection)."""
        end_s = self._arrived_s(waited_s) if waited_s else self._now_s()
        self._end(end_s, self._given_up or self._wrong(self._body, status, content))
        self._done(True)

    def on_failure(self, error: ExchangeError) -> None:
        """Record the failure (called by the connection)."""
        self._end(self._now_s(), self._given_up or str(error))
        self._done(False)

    def _arrived_s(self, waited_s: float) -> float:
        """Return when a response came that had waited; now, if it would be older than its request."""
        arrived_s = self._shown_before_s(waited_s)
        return arrived_s if arrived_s > self._sent_s else self._now_s()

    def _begin(self, body: int, due_s: float | None) -> None:
        self._body = body
        self._given_up = ""
        self._state.sent += 1
        sent_s = self._sent_s = self.waiting_since = self._now_s()
        self._delay_ms = 0.0 if due_s is None else (sent_s - due_s) * 1e3

    def _end(self, end_s: float, cause: str) -> None:
        sent_s = self._sent_s
        self.waiting_since = 0.0
        self.finished_at = end_s
        outcome = self._cause(cause) if cause else SUCCESS
        self._record(sent_s, (end_s - sent_s) * 1e3, outcome, self._delay_ms, self._body)

    def give_up(self, cause: str) -> None:
        """End the waiting request, which fails with ``cause``."""
        self._given_up = cause
        self._connection.abort()

    def abandon(self, cause: str) -> None:
        """Record the waiting request, if there is one, as failed with ``cause``."""
        if sent_s := self.waiting_since:
            self.waiting_since = 0.0
            waited_ms = (self._now_s() - sent_s) * 1e3
            self._record(sent_s, waited_ms, self._cause(cause), self._delay_ms, self._body)


def _cause_of(error: Exception) -> str:
    return str(error) if isinstance(error, ExchangeError) else unreadable(error)
