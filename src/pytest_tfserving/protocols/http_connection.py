"""Keep-alive HTTP/1.1 connection with only what a load generator needs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import gevent.socket
import httptools

from pytest_tfserving.protocols.reading import MOST_BYTES, unreadable
from pytest_tfserving.protocols.transport import READ_BYTES, ExchangeError, connected, described

if TYPE_CHECKING:
    from gevent.socket import socket

    from pytest_tfserving.protocols.transport import PlainStream

_HEAD_END = b"\r\n\r\n"
# Headers with the length of the body; without them the body ends with the connection.
_LENGTHS = (b"\r\ncontent-length:", b"\r\ntransfer-encoding:")
_FIRST_FINAL = 200


class HttpConnection:
    """Connection that sends the same prebuilt request again and again, and reconnects if necessary.

    A response of more than ``most_bytes`` is an error, and so is a response without a request.
    """

    def __init__(
        self, host: str, port: int, request: bytes, *, tls: bool = False, most_bytes: int = MOST_BYTES
    ) -> None:
        self._address = (host, port)
        self._request = request
        self._tls = tls
        self._most_bytes = most_bytes
        self._stream: PlainStream | socket | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._body: list[bytes] = []
        self._complete = False
        self._surplus = False
        self._keep_alive = False
        self._status = 0

    def exchange(self) -> tuple[int, bytes]:
        """Send the request and return the response's status and body.

        Raises:
            ExchangeError: if no whole response comes; its text is the cause.
        """
        try:
            if self._stream is None:
                self._connect()
            self._exchange()
        except Exception as error:  # noqa: BLE001 - a server can send anything
            self.close()
            raise ExchangeError(_cause(error)) from None
        if not self._keep_alive:
            self.close()
        body = self._body
        return self._status, body[0] if len(body) == 1 else b"".join(body)

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
        """End a waiting `exchange` at once."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.shutdown(gevent.socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next `exchange` opens a new one."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _connect(self) -> None:
        self._stream = connected(*self._address, tls=self._tls)
        self._parser = httptools.HttpResponseParser(self)

    def _exchange(self) -> None:
        stream, parser = self._stream, self._parser
        assert stream is not None
        assert parser is not None
        if stream.pending():
            raise ExchangeError("the server sends data without a request")
        self._complete = self._surplus = False
        self._body.clear()
        stream.sendall(self._request)
        data = stream.recv(READ_BYTES)
        if data:
            parser.feed_data(data)
        if not self._complete:
            self._read_on(data)
        if self._surplus:
            raise ExchangeError("more than one response to a request")

    def _read_on(self, data: bytes) -> None:
        """Read the rest of a response that did not come in one piece."""
        stream, parser = self._stream, self._parser
        assert stream is not None
        assert parser is not None
        head, left = data, self._most_bytes - len(data)
        while data and not self._complete:
            data = stream.recv(READ_BYTES)
            left -= len(data)
            if data:
                parser.feed_data(data)
            if left < 0:
                raise ExchangeError(f"the response is larger than {self._most_bytes} bytes")
        if not self._complete:
            self._end(head, parser.get_status_code())

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
