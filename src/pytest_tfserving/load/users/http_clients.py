"""Requests of Locust's HTTP clients, followed from when they are sent: each of them is recorded.

Locust itself tells of a request when the block of its response ends well, or has marked it. It says nothing
where an exception leaves the block, where there is none, and where no response has come when the run is over.
"""

from __future__ import annotations

import functools
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from locust import clients
from locust.contrib import fasthttp
from locust.exception import ResponseError

from pytest_tfserving.load.users.exceptions import CONTROL

if TYPE_CHECKING:
    from collections.abc import Callable

    Meta = dict[str, Any]
    # Is told of a request by what Locust knows of it, and of the exception that has left its block.
    OnLeft = Callable[[Meta, BaseException], None]

UNMARKED = "the response was never marked: catch_response=True needs a with block"
UNANSWERED = "no answer until the end"


class HttpRequests:
    """All requests of Locust's two HTTP clients in this process.

    ``on_left`` is called where an exception leaves the block of a response that it makes a failed one, and
    ``on_marked`` where the block had marked it as failed before.
    """

    def __init__(
        self, is_over: Callable[[], bool], on_left: OnLeft, on_marked: Callable[[BaseException], None]
    ) -> None:
        self._is_over = is_over
        self._on_left = on_left
        self._on_marked = on_marked
        self._under_way: dict[object, float] = {}
        self._without_block: dict[int, weakref.finalize[..., Any]] = {}
        self._dropped: deque[Meta] = deque()

    def watch(self, now_s: Callable[[], float]) -> None:
        """Follow all requests from now on."""
        for session in (clients.HttpSession, fasthttp.FastHttpSession):
            session.request = self._followed(session.request, now_s)
        for response in (clients.ResponseContextManager, fasthttp.ResponseContextManager):
            response.__exit__ = self._left(response.__exit__)

    @property
    def under_way(self) -> int:
        """The number of requests without a response yet, but for those sent after the run was over."""
        return len(self._under_way)

    def give_up(self) -> list[float]:
        """Return when the requests were sent that are under way, and forget them."""
        sent_s = list(self._under_way.values())
        self._under_way.clear()
        return sent_s

    def unmarked(self) -> list[Meta]:
        """Return the requests whose response is gone and had no block; at the end all that had none."""
        found = [self._dropped.popleft() for _ in range(len(self._dropped))]
        if self._is_over():
            for key, finalizer in list(self._without_block.items()):
                alive = finalizer.detach()
                if alive and not alive[0]._entered:  # noqa: SLF001 - Locust's own mark
                    found.append(alive[2][1])
                self._without_block.pop(key, None)
        return found

    def _followed(self, send: Callable[..., Any], now_s: Callable[[], float]) -> Callable[..., Any]:
        """Return the method of a client that sends, followed."""

        @functools.wraps(send)
        def request(*args: Any, **kwargs: Any) -> Any:
            key = object()
            if not self._is_over():
                self._under_way[key] = now_s()
            try:
                response = send(*args, **kwargs)
            finally:
                self._under_way.pop(key, None)
            if getattr(response, "_catch_response", False):
                self._expect_block(response)
            return response

        return request

    def _expect_block(self, response: Any) -> None:
        """Note what is known of the request, but for the response, which would live as long."""
        known = {name: response.request_meta.get(name) for name in ("response_time", "start_time")}
        key = id(response)
        self._without_block[key] = weakref.finalize(response, self._drop, key, known)

    def _drop(self, key: int, known: Meta) -> None:
        """Note a response that has gone; it is told of later: anything may be going on at this moment."""
        self._without_block.pop(key, None)
        self._dropped.append(known)

    def _left(self, leave: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method of a response that ends its block, which tells of each request."""

        @functools.wraps(leave)
        def exit_block(response: Any, kind: Any, error: BaseException | None, trace: Any) -> Any:
            if finalizer := self._without_block.pop(id(response), None):
                finalizer.detach()
            mark = response._manual_result  # noqa: SLF001 - Locust's own mark
            if error is None or mark is True or isinstance(error, ResponseError):
                return leave(response, kind, error, trace)
            if mark is not None:
                self._on_marked(error)
                return leave(response, kind, error, trace)
            if isinstance(error, CONTROL):
                leave(response, None, None, None)  # as good as its status
            else:
                self._on_left(response.request_meta, error)
            return False

        return exit_block
