"""Keep-alive HTTP/1.1 connection with only what a load generator needs."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import gevent
import gevent.socket
import httptools

from pytest_tfserving.protocols.reading import MOST_BYTES, unreadable
from pytest_tfserving.protocols.transport import (
    READ_BYTES,
    ExchangeError,
    PlainStream,
    connected,
    described,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ssl import SSLContext

    from gevent.socket import socket

    from pytest_tfserving.protocols.arrival_time import LateReading
    from pytest_tfserving.protocols.serving_protocol import Bodies, Receiver

_HEAD_END = b"\r\n\r\n"
# Headers with the length of the body; without them the body ends with the connection.
_LENGTHS = (b"\r\ncontent-length:", b"\r\ntransfer-encoding:")
_FIRST_FINAL = 200
_MOST_HEADS = 64
# A shorter body is copied behind its head: one buffer is sent faster than two.
_SHORT_BYTES = 1 << 13


class PreparedHttp:
    """HTTP requests to one endpoint, a head and a body each.

    Args:
        heads: the head of the requests to each path, up to the length of the body.
        bodies: the bodies.
        heads_of_bodies: the number of the head of each body; empty if there is only one head.
        in_one: whether head and body are always one part, as TLS needs them.
    """

    def __init__(
        self,
        heads: Sequence[bytes],
        bodies: Bodies,
        heads_of_bodies: Sequence[int] = (),
        *,
        in_one: bool = False,
    ) -> None:
        self._heads = heads
        self._heads_of_bodies = heads_of_bodies
        self._bodies = bodies
        self._most_in_one = sys.maxsize if in_one else _SHORT_BYTES
        self._only = (self._whole(0),) if len(bodies) == 1 else ()

    def parts(self, body: int) -> tuple[bytes | memoryview, ...]:
        """Return the bytes to send for a body, in one or two parts."""
        if self._only:
            return self._only
        content = self._bodies[body]
        if len(content) < self._most_in_one:
            return (self._whole(body),)
        return (self._head(body, content), content)

    def _whole(self, body: int) -> bytes:
        content = self._bodies[body]
        return self._head(body, content) + content

    def _head(self, body: int, content: bytes | memoryview) -> bytes:
        head = self._heads[self._heads_of_bodies[body] if self._heads_of_bodies else 0]
        return b"%bContent-Length: %d\r\n\r\n" % (head, len(content))


class HttpConnection:
    """Connection that sends prepared requests, and reconnects if necessary.

    A response of more than ``most_bytes`` is an error, and so is a response without a request.
    ``late`` is as for `PlainStream`.
    """

    def __init__(  # noqa: PLR0913 - what a connection has
        self,
        host: str,
        port: int,
        requests: PreparedHttp,
        *,
        tls: SSLContext | None = None,
        most_bytes: int = MOST_BYTES,
        late: LateReading | None = None,
    ) -> None:
        self._address = (host, port)
        self._parts = requests.parts
        self._tls = tls
        self._late = late
        self._most_bytes = most_bytes
        self._stream: PlainStream | socket | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._body: list[bytes] = []
        self._complete = False
        self._surplus = False
        self._keep_alive = False
        self._status = 0
        self._content = b""
        # The first bytes of the response under way, and the number of the further ones.
        self._first: bytes | None = None
        self._further_bytes = 0
        self._is_watched = False
        self._receiver: Receiver | None = None
        # The heads of whole responses, each with its status, by the size of the response.
        self._known_heads: dict[int, tuple[bytes, int]] = {}

    def start(self, body: int, receiver: Receiver) -> bool:
        """Send a request without waiting; return False, and send nothing, unless a connection is open.

        Args:
            body: the index of the request's body.
            receiver: gets the response.
        """
        stream = self._stream
        if not isinstance(stream, PlainStream) or stream.pending():
            return False
        if not self._is_watched:
            stream.watch(self._on_readable)
            self._is_watched = True
        self._receiver = receiver
        parts = self._parts(body)
        try:
            sent = stream.send_now(parts)
        except OSError as error:
            self._fail(error)
            return True
        if sent != (len(parts[0]) if len(parts) == 1 else sum(map(len, parts))):
            stream.read_at_once()  # the rest is sent in the event loop
            gevent.spawn(self._send_rest, stream, parts, sent)
        return True

    def exchange(self, body: int = 0) -> tuple[int, bytes]:
        """Send the request with the body of this index, and return the response's status and body.

        Raises:
            ExchangeError: if no whole response comes; its text is the cause.
        """
        try:
            if self._stream is None:
                self._connect()
            self._exchange(self._parts(body))
        except Exception as error:  # noqa: BLE001 - a server can send anything
            self.close()
            raise ExchangeError(_cause(error)) from None
        if not self._keep_alive:
            self.close()
        return self._status, self._content

    def on_message_begin(self) -> None:
        """Note whether this response follows a complete one (called by the parser)."""
        self._surplus = self._complete

    def on_body(self, data: bytes) -> None:
        """Add a part of the body (called by the parser)."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Note the status and the end of the response (called by the parser, which then forgets both)."""
        parser = self._parser
        assert parser is not None
        status = parser.get_status_code()
        if status >= _FIRST_FINAL:  # lower ones announce the final response
            self._complete = True
            self._status = status
            self._keep_alive = parser.should_keep_alive()

    def abort(self) -> None:
        """End a waiting `exchange`, or a request that was started, at once."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.shutdown(gevent.socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next `exchange` opens a new one."""
        self._is_watched = False
        self._first = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _connect(self) -> None:
        self._stream = connected(*self._address, self._tls, self._late)
        self._parser = httptools.HttpResponseParser(self)

    def _unwatch(self) -> None:
        if self._is_watched:
            assert isinstance(self._stream, PlainStream)
            self._stream.unwatch()
            self._is_watched = False

    def _exchange(self, request: tuple[bytes | memoryview, ...]) -> None:
        stream = self._stream
        assert stream is not None
        self._unwatch()
        if stream.pending():
            raise ExchangeError("the server sends data without a request")
        if len(request) == 1:
            stream.sendall(request[0])
        else:
            stream.sendmsg(request)
        while not self._take(stream.recv(READ_BYTES)):
            pass

    def _send_rest(self, stream: PlainStream, parts: tuple[bytes | memoryview, ...], sent: int) -> None:
        with contextlib.suppress(OSError):  # the receiving side notices a broken connection
            stream.send_rest(parts, sent)

    def _on_readable(self) -> None:
        """Receive, and hand over a whole response (called by the event loop)."""
        receiver, stream = self._receiver, self._stream
        if receiver is None:
            self._unwatch()  # the next `exchange` finds data that came without a request
            return
        try:
            data = stream.recv_now(READ_BYTES)  # type: ignore[union-attr] # only plain streams are watched
            if data is None or not self._take(data):
                return
        except Exception as error:  # noqa: BLE001 - a server can send anything
            self._fail(error)
            return
        self._receiver = None
        if not self._keep_alive:
            self.close()
        receiver.on_response(self._status, self._content, stream.waited_s)  # type: ignore[union-attr] # as above

    def _fail(self, error: Exception) -> None:
        receiver, self._receiver = self._receiver, None
        self.close()
        assert receiver is not None
        receiver.on_failure(ExchangeError(_cause(error)))

    def _take(self, data: bytes) -> bool:
        """Take received bytes, none at the end of the stream; return whether the response is whole.

        Raises:
            ExchangeError: if the response is cut off, too large, or more than one.
        """
        if self._first is None:
            known = self._known_heads.get(len(data))
            if known is not None and data.startswith(known[0]):
                self._content = data[len(known[0]) :]
                self._status, self._keep_alive = known[1], True
                return True
            self._first = data
            self._further_bytes = 0
            self._complete = self._surplus = False
            self._body.clear()
        else:
            self._further_bytes += len(data)
        self._parse(data, self._first)
        if not self._complete:
            return False
        body = self._body
        self._content = body[0] if len(body) == 1 else b"".join(body)
        if data is self._first:
            self._remember_head(data)
        self._first = None
        return True

    def _parse(self, data: bytes, first: bytes) -> None:
        parser = self._parser
        assert parser is not None
        if data:
            parser.feed_data(data)
        if self._further_bytes and self._further_bytes > self._most_bytes - len(first):
            raise ExchangeError(f"the response is larger than {self._most_bytes} bytes")
        if not (data or self._complete):
            self._end(first, parser.get_status_code())
        if self._surplus:
            raise ExchangeError("more than one response to a request")

    def _remember_head(self, data: bytes) -> None:
        """Remember the head of a whole response: one with this head, and of this size, needs no parser."""
        head = data[: len(data) - len(self._content)]
        is_one_head = head.find(_HEAD_END) == len(head) - len(_HEAD_END)
        if self._keep_alive and is_one_head and _LENGTHS[0] in head.lower():
            if len(self._known_heads) >= _MOST_HEADS:
                self._known_heads.clear()
            self._known_heads[len(data)] = (head, self._status)

    def _end(self, head: bytes, status: int) -> None:
        """End the response at the end of the connection, if the headers do not say its length.

        Raises:
            ExchangeError: if the response is cut off.
        """
        fields, found, _ = head.lower().partition(_HEAD_END)
        if not found or status < _FIRST_FINAL or any(length in fields for length in _LENGTHS):
            part = "half a response" if head else "no response"
            raise ExchangeError(f"connection closed after {part}")
        self._complete, self._status, self._keep_alive = True, status, False


def _cause(error: Exception) -> str:
    if isinstance(error, ExchangeError):
        return str(error)
    if isinstance(error, OSError):
        return described(error)
    if isinstance(error, httptools.HttpParserUpgrade):
        return "not an HTTP response: the server changes to another protocol"
    if isinstance(error, httptools.HttpParserError):
        return f"not an HTTP response: {error}"
    return unreadable(error)
