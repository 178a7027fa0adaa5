"""Users of a locustfile: their requests are recorded as exactly as those of this package's users."""

from __future__ import annotations

import functools
import itertools
import math
import time
import traceback
from typing import TYPE_CHECKING, TypeGuard
from weakref import WeakSet

import gevent
from locust import TaskSet, User
from locust.runners import STATE_INIT

from pytest_tfserving.load.recorder import SUCCESS
from pytest_tfserving.load.worker.users.exceptions import (
    CONTROL,
    Place,
    Tracebacks,
    cause_of,
    is_new,
    typed_cause_of,
)
from pytest_tfserving.load.worker.users.host_clients import use_settings
from pytest_tfserving.load.worker.users.http_clients import UNANSWERED, UNMARKED, HttpRequests
from pytest_tfserving.load.worker.users.request_names import EXCEPTIONS, RequestNames
from pytest_tfserving.load.worker.users.sender import LoadLoop
from pytest_tfserving.protocols import SERVING_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from locust.env import Environment

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.deployment.load_clock import LoadClock
    from pytest_tfserving.deployment.load_messages import Fault, Kind, Traceback
    from pytest_tfserving.load.process_plan import ProcessPlan
    from pytest_tfserving.load.recorder import Recorder
    from pytest_tfserving.load.worker.users.http_clients import Meta
    from pytest_tfserving.load.worker.users.locustfile import Locustfile
    from pytest_tfserving.protocols.prepared_requests import PreparedRequests

_MS = 1e3
# Time for users to stop, and time for the listeners of the end. The parent waits longer than both for a line.
_STOP_S = 3.0
_LISTENERS_S = 5.0
# Time for each of both if the run was stopped; the parent then waits 3 s.
_AT_ONCE_S = 1.0


class LocustfileUsers(LoadLoop):
    """Loop of the users of a locustfile, spread over the endpoints by their ``host``.

    Args:
        plan: the plan of the run.
        requests: the requests of the plan, which a locustfile's users do not send.
        recorder: records the requests.
        clock: the clock of the load.
        file: the locustfile.
        say: writes a line to the parent.

    Attributes:
        fault: the reason why the run cannot go on; empty while it can.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what the loop is made of
        self,
        plan: ProcessPlan,
        requests: PreparedRequests,
        recorder: Recorder,
        clock: LoadClock,
        file: Locustfile,
        say: Callable[[Kind | Traceback | Fault], None],
    ) -> None:
        super().__init__(plan, requests, recorder, clock)
        self.user_classes = tuple(file.users)
        self.fault = ""
        self._file = file
        self._say = say
        self._tracebacks = Tracebacks(lambda text: say({"event": "traceback", "text": text}))
        self._names = RequestNames(plan.index, say)
        self._http = HttpRequests(lambda: self.stopping, self._on_left_block, self._on_counted)
        # Greenlets whose last request of the task that they execute has failed.
        self._failed: WeakSet[gevent.Greenlet] = WeakSet()
        self._answered_at = 0.0
        self._have_begun = False
        self._imported_at = time.time()

    def begin(self, environment: Environment) -> None:
        """Record all requests and exceptions from now on, and run the listeners of ``init``."""
        # Users wait on the load clock: Locust calls this method for every wait of a user.
        TaskSet._sleep = lambda _, length_s: self.sleep_until(self.now_s() + length_s)  # noqa: SLF001 - Locust has no other way
        execute = TaskSet.execute_next_task
        TaskSet.execute_next_task = lambda tasks: self._execute(functools.partial(execute, tasks))
        _give_hosts(itertools.islice(itertools.cycle(map(address, self.endpoints)), self.index, None))
        use_settings({address(each): each for each in self.endpoints})
        # The first listener is called even if a listener of the locustfile stops the user.
        environment.events.request._handlers.insert(0, self._on_request)  # noqa: SLF001 - no other way
        self._http.watch(self.now_s)
        self._file.hooks.on_exception = self._on_exception
        self._file.hooks.watch(environment)
        self._file.begin(environment.runner)

    def answered_since(self, at_s: float) -> bool:
        """Return whether a response has come since ``at_s``."""
        return self._answered_at > at_s

    def waits_since(self) -> float | None:
        """Return None: the waiting of a locustfile's users is not known, and their own timeouts end it."""
        return None

    def waiting(self) -> int:
        """Return how many requests of Locust's HTTP clients are under way; those sent later do not count."""
        return self._http.under_way

    def expire(self, limit_s: float) -> int:
        """Record the requests that Locust will never report; with the limit 0 also those under way."""
        for known in self._http.unmarked():
            self._record(known, UNMARKED)
        if limit_s:
            return 0  # the users' own clients have timeouts of their own
        left = self._http.give_up()
        for sent_s, name in left:
            self._keep(sent_s, (self.now_s() - sent_s) * _MS, UNANSWERED, name)
        return len(left)

    def end(self, *, at_once: bool) -> None:
        """Stop the users and run the listeners of the test's end, for a few seconds at most."""
        runner = self._file.environment.runner
        if runner.state == STATE_INIT:
            return
        limit_s = _AT_ONCE_S if at_once else _STOP_S
        self._file.environment.stop_timeout = min(self._file.environment.stop_timeout, limit_s / 2)
        with gevent.Timeout(limit_s, False):
            self._file.fire(runner.stop)
        with gevent.Timeout(_AT_ONCE_S if at_once else _LISTENERS_S, False):
            self._file.end()
        self.expire(0.0)
        if (fault := self._file.exit_fault) and not at_once:
            self._end_run(fault)

    def _on_request(
        self,
        name: object = None,
        response_time: object = None,
        exception: object = None,
        start_time: object = None,
        **_: object,
    ) -> None:
        self._record(
            {"name": name, "response_time": response_time, "start_time": start_time},
            cause_of(exception) if exception else "",
        )
        if exception:
            self._failed.add(gevent.getcurrent())
        else:
            self._failed.discard(gevent.getcurrent())
            self._answered_at = self.now_s()

    def _record(self, known: Meta, cause: str) -> None:
        """Record a request at the times that Locust reports; without a ``cause`` it is a success."""
        response_ms = known["response_time"]
        if not _is_time(response_ms):
            cause = cause or f"response_time is {response_ms!r:.50}, not a number of milliseconds"
            response_ms = 0.0
        ago_s = response_ms / _MS
        if _is_time(start := known["start_time"]) and self._imported_at <= start <= time.time() - ago_s / 2:
            ago_s = time.time() - start
        sent_s = self.clock.shown_at_s(time.perf_counter() - ago_s)
        ended_s = self.clock.shown_at_s(time.perf_counter() - ago_s + response_ms / _MS)
        self._keep(sent_s, (ended_s - sent_s) * _MS, cause, known["name"])

    def _keep(self, sent_s: float, latency_ms: float, cause: str, name: object) -> None:
        outcome = self.recorder.cause(cause) if cause else SUCCESS
        self.sent += 1
        self.recorder.record(sent_s, latency_ms, outcome, body=self._names.number(name))

    def _on_left_block(self, known: Meta, error: BaseException) -> None:
        is_new(error, Place.BLOCK)
        self._tracebacks.add(error)
        self._failed.add(gevent.getcurrent())
        self._record(known, typed_cause_of(error))

    def _execute(self, execute: Callable[[], None]) -> None:
        """Execute a task; an exception right after a failed request counts with the request."""
        user = gevent.getcurrent()
        self._failed.discard(user)
        try:
            execute()
        except Exception as error:
            if user in self._failed and not isinstance(error, CONTROL):
                self._on_counted(error)
            raise
        finally:
            self._failed.discard(user)

    def _on_counted(self, error: BaseException) -> None:
        """Show an exception that comes of a request which counts as failed without it."""
        is_new(error, Place.BLOCK)
        self._tracebacks.add(error)

    def _on_exception(self, error: BaseException, place: Place, trace: TracebackType | None) -> None:
        """Count an exception as a failed request; end the run if the exception keeps users from starting."""
        if isinstance(error, CONTROL) or not is_new(error, place):
            return
        cause = typed_cause_of(error)
        self._tracebacks.add(error, trace)
        self._have_begun = self._have_begun or bool(self._file.environment.runner.user_count)
        if not (self._have_begun or self.stopping):
            self._end_run(f"{self._raised(cause)} before its first user started{no_web_ui(error)}")
        elif place is Place.LOCUST:
            self._end_run(f"{self._raised(cause)} while its users were started")
        elif isinstance(error, SystemExit):
            self._end_run(self._raised(cause))
        self._keep(self.now_s(), 0.0, cause, EXCEPTIONS)

    def _raised(self, cause: str) -> str:
        return f"the locustfile {self._file.path} raised {cause}"

    def _end_run(self, fault: str) -> None:
        if not self.fault:
            self.fault = fault
            self._say({"event": "fault", "text": fault})


def no_web_ui(error: BaseException) -> str:
    """Return a hint if the error comes from code that needs Locust's web UI; else an empty text."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    code = frames[-1].f_code if frames else None
    if isinstance(error, AttributeError) and code and "web_ui" in (*code.co_names, *code.co_varnames):
        return "; there is no web UI here: web_ui is None, as with locust --headless"
    return ""


def address(endpoint: Endpoint) -> str:
    """Return an endpoint as the ``host`` of a user: a URL, or ``host:port`` for gRPC clients."""
    if SERVING_PROTOCOLS[endpoint.protocol].is_http:
        return f"{'https' if endpoint.tls else 'http'}://{endpoint.address}"
    return endpoint.address


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _give_hosts(hosts: Iterator[str]) -> None:
    """Give each user the next host, before its client is created."""
    begin = User.__init__

    @functools.wraps(begin)
    def begin_with_host(user: User, *args: object, **kwargs: object) -> None:
        begin(user, *args, **kwargs)
        user.host = next(hosts)

    User.__init__ = begin_with_host
