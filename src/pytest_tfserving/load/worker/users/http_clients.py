"""Tracking of the requests of Locust's HTTP clients, so that each request is recorded.

Locust reports a request when the ``with`` block of its response ends without an exception, or has marked the
response. Locust reports nothing if an exception leaves the block, if there is no block, and if no response
has come at the end of the run.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections import deque
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from locust import clients
from locust.contrib import fasthttp
from locust.exception import ResponseError

from pytest_tfserving.load.worker.users.exceptions import CONTROL

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    # What a client of Locust returns: a response that is a context manager if the user asked for one.
    Response: TypeAlias = clients.ResponseContextManager | fasthttp.ResponseContextManager
    Send: TypeAlias = Callable[..., Response]
    Leave: TypeAlias = Callable[
        [Response, type | None, BaseException | None, TracebackType | None], bool | None
    ]
    # Called with Locust's data on a request, and with the exception that left the block of its response.
    OnLeft = Callable[["Meta", BaseException], None]

UNMARKED = "the response was never marked: catch_response=True needs a with block"
UNANSWERED = "no response until the end"


class Meta(TypedDict):
    """Locust's data on a request; code of the user can have put any values there."""

    name: object
    response_time: object
    start_time: object


class HttpRequests:
    """Tracker of all requests of Locust's two HTTP clients in this process.

    Args:
        is_over: returns whether the run is over.
        on_left: called if an exception leaves the block of a response, which makes the request fail.
        on_marked: called if an exception leaves the block of a response that was marked as failed before.
    """

    def __init__(
        self, is_over: Callable[[], bool], on_left: OnLeft, on_marked: Callable[[BaseException], None]
    ) -> None:
        self._is_over = is_over
        self._on_left = on_left
        self._on_marked = on_marked
        # For each request when it was sent, and a function that returns its name.
        self._under_way: dict[object, tuple[float, Callable[[], object]]] = {}
        self._without_block: dict[int, weakref.finalize[[int, Meta], Response]] = {}
        self._dropped: deque[Meta] = deque()

    def watch(self, now_s: Callable[[], float]) -> None:
        """Track all requests from now on."""
        for session in (clients.HttpSession, fasthttp.FastHttpSession):
            session.request = self._followed(session.request, now_s)
        for response in (clients.ResponseContextManager, fasthttp.ResponseContextManager):
            response.__exit__ = self._left(response.__exit__)

    @property
    def under_way(self) -> int:
        """Number of requests without a response yet; requests sent after the run do not count."""
        return len(self._under_way)

    def give_up(self) -> list[tuple[float, object]]:
        """Return when requests under way were sent, and their names; forget these requests."""
        found = [(sent_s, name()) for sent_s, name in self._under_way.values()]
        self._under_way.clear()
        return found

    def unmarked(self) -> list[Meta]:
        """Return the requests whose response had no block: those deleted so far; after the run all."""
        found = [self._dropped.popleft() for _ in range(len(self._dropped))]
        if self._is_over():
            for key, finalizer in list(self._without_block.items()):
                alive = finalizer.detach()
                if alive and not alive[0]._entered:  # noqa: SLF001 - Locust's own mark
                    found.append(alive[2][1])
                self._without_block.pop(key, None)
        return found

    def _followed(self, send: Send, now_s: Callable[[], float]) -> Send:
        """Return a client's method ``send``, extended by the tracking of each request."""

        @functools.wraps(send)
        def request(*args: object, **kwargs: object) -> Response:
            key = object()
            if not self._is_over():
                self._under_way[key] = now_s(), functools.partial(_name, send, *args, **kwargs)
            try:
                response = send(*args, **kwargs)
            finally:
                self._under_way.pop(key, None)
            if getattr(response, "_catch_response", False):
                self._expect_block(response)
            return response

        return request

    def _expect_block(self, response: Response) -> None:
        """Note the times of a request until its block begins; keep no reference to the response."""
        meta, key = response.request_meta, id(response)
        known: Meta = {
            "name": meta.get("name"),
            "response_time": meta.get("response_time"),
            "start_time": meta.get("start_time"),
        }
        self._without_block[key] = weakref.finalize(response, self._drop, key, known)

    def _drop(self, key: int, known: Meta) -> None:
        """Note a response that was deleted. It is reported later: a finalizer may run at any moment."""
        self._without_block.pop(key, None)
        self._dropped.append(known)

    def _left(self, leave: Leave) -> Leave:
        """Return a response's ``__exit__``, extended by a report of each exception."""

        @functools.wraps(leave)
        def exit_block(
            response: Response, kind: type | None, error: BaseException | None, trace: TracebackType | None
        ) -> bool | None:
            if finalizer := self._without_block.pop(id(response), None):
                finalizer.detach()
            mark = response._manual_result  # noqa: SLF001 - Locust's own mark
            if error is None or mark is True or isinstance(error, ResponseError):
                return leave(response, kind, error, trace)
            if mark is not None:
                self._on_marked(error)
                return leave(response, kind, error, trace)
            if isinstance(error, CONTROL):
                leave(response, None, None, None)  # the response's status decides on success
            else:
                self._on_left(response.request_meta, error)
            return False

        return exit_block


def _name(send: Send, *args: object, **kwargs: object) -> object:
    """Return the name of a request that ``send`` was called for, as Locust does."""
    given = inspect.signature(send).bind(*args, **kwargs).arguments
    return given.get("name") or given["self"].request_name or given["url"]
