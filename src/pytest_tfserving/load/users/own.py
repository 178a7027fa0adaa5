"""A user's own Locust users: whatever they send is recorded as exactly as what ours send."""

from __future__ import annotations

import itertools
import time
import traceback
from typing import TYPE_CHECKING, Any

from locust import TaskSet
from locust.util.load_locustfile import load_locustfile

from pytest_tfserving.foreign_text import lines, one_line
from pytest_tfserving.load.users.requester import Loop

if TYPE_CHECKING:
    from pytest_tfserving.load.clock import LoadClock
    from pytest_tfserving.load.recorder import Recorder

_MS = 1e3


class LocustfileError(Exception):
    """A locustfile that cannot be used; ``details`` is its own traceback, if it has one."""

    def __init__(self, text: str, details: str = "") -> None:
        super().__init__(one_line(text))
        self.details = lines(details)


class Locustfile:
    """The users and the shape of a locustfile."""

    def __init__(self, path: str) -> None:
        try:
            users, shapes = load_locustfile(path)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises, SystemExit too
            last = traceback.format_exception_only(error)[-1].strip()
            details = "".join(traceback.format_exception(type(error), error, _own(error.__traceback__, path)))
            raise LocustfileError(f"the locustfile {path} cannot be imported: {last}", details) from None
        if not users:
            raise LocustfileError(f"the locustfile {path} has no user: no class derived from locust.User.")
        if len(shapes) > 1:
            names = ", ".join(type(each).__name__ for each in shapes)
            raise LocustfileError(f"the locustfile {path} has several shapes, {names}; keep one.")
        self.users = tuple(users.values())
        self.shape = shapes[0] if shapes else None


def _own(found: Any, path: str) -> Any:
    """The part of a traceback that begins in the locustfile."""
    at = found
    while at is not None and at.tb_frame.f_code.co_filename != path:
        at = at.tb_next
    return at or found


class OwnUsers(Loop):
    """Users of a locustfile, spread over the endpoints by their ``host``."""

    def __init__(
        self, plan: dict[str, Any], recorder: Recorder, body: bytes, clock: LoadClock, file: Locustfile
    ) -> None:
        super().__init__(plan, recorder, body, clock)
        hosts = itertools.cycle(_address(each) for each in self.endpoints)
        self.user_classes = tuple(_spread(each, hosts) for each in file.users)
        self._answered_at = 0.0

    def listen(self, environment: Any) -> None:
        """Record every request that Locust tells of; users wait on the load clock."""
        # What Locust itself has every wait of a user done by.
        TaskSet._sleep = lambda _, length_s: self.sleep_until(self.now_s() + length_s)  # noqa: SLF001 - Locust has no other way
        environment.events.request.add_listener(self._on_request)

    def answered_since(self, at_s: float) -> bool:
        """Whether an answer has come since."""
        return self._answered_at > at_s

    def waits_since(self) -> float | None:
        """Not known of users that we have not written: their own timeouts end what waits."""
        return None

    def _on_request(
        self, response_time: float, exception: Any = None, start_time: float | None = None, **_: Any
    ) -> None:
        now_s = self.now_s()
        ago_s = response_time / _MS if start_time is None else time.time() - start_time
        sent_s = self.clock.shown_at_s(time.perf_counter() - ago_s)
        ended_s = self.clock.shown_at_s(time.perf_counter() - ago_s + response_time / _MS)
        outcome = self.recorder.cause(str(exception) or type(exception).__name__) if exception else 0
        self.recorder.record(sent_s, (ended_s - sent_s) * _MS, outcome)
        if not exception:
            self._answered_at = now_s


def _spread(cls: type, hosts: Any) -> type:
    """The same user, each with the next host."""

    def begin(self: Any, environment: Any) -> None:
        self.host = next(hosts)
        cls.__init__(self, environment)  # type: ignore[misc]

    return type(cls.__name__, (cls,), {"__init__": begin, "__module__": cls.__module__})


def _address(endpoint: dict[str, Any]) -> str:
    host = f"[{endpoint['host']}]" if ":" in endpoint["host"] else endpoint["host"]
    address = f"{host}:{endpoint['port']}"
    if endpoint["protocol"] == "grpc":
        return address  # as gRPC's own clients take it
    return f"{'https' if endpoint['tls'] else 'http'}://{address}"
