"""One keep-alive HTTP connection with nothing on it that a load generator does not need."""

from __future__ import annotations

import _socket
import contextlib
from typing import TYPE_CHECKING

import gevent
import gevent.socket
import gevent.ssl
import httptools

if TYPE_CHECKING:
    from gevent.socket import socket

CONNECT_TIMEOUT_S = 10.0
_READ_BYTES = 1 << 16


class HttpError(Exception):
    """A request without a whole answer; the text is its cause."""


class HttpConnection:
    """Sends the same prebuilt request again and again over one connection, reconnecting where it must."""

    def __init__(self, host: str, port: int, request: bytes, *, tls: bool = False) -> None:
        self._address = (host, port)
        self._request = request
        self._tls = tls
        self._stream: PlainStream | socket | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._body: list[bytes] = []
        self._complete = False
        self._keep_alive = False
        self._status = 0

    def exchange(self) -> tuple[int, bytes]:
        """Send the request and return the answer's status and body.

        Raises:
            HttpError: when there is no whole answer; its text is the cause.
        """
        if self._stream is None:
            self._connect()
        stream, parser = self._stream, self._parser
        assert stream is not None
        assert parser is not None
        self._complete = False
        self._body.clear()
        try:
            stream.sendall(self._request)
            while not self._complete:
                data = stream.recv(_READ_BYTES)
                if not data:
                    break
                parser.feed_data(data)
        except OSError as error:
            self.close()
            raise HttpError(_describe(error)) from None
        except httptools.HttpParserError as error:
            self.close()
            raise HttpError(f"not an HTTP answer: {error}") from None
        if not self._complete:
            self.close()
            part = "half an answer" if parser.get_status_code() else "no answer"
            raise HttpError(f"connection closed after {part}")
        if not self._keep_alive:
            self.close()
        body = self._body
        return self._status, body[0] if len(body) == 1 else b"".join(body)

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body (called by the parser)."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Note the end of the answer (called by the parser, which forgets both once this returns)."""
        parser = self._parser
        assert parser is not None
        self._complete = True
        self._status = parser.get_status_code()
        self._keep_alive = parser.should_keep_alive()

    def abort(self) -> None:
        """Make a waiting `exchange` end at once."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.shutdown(gevent.socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next `exchange` opens a new one."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _connect(self) -> None:
        try:
            sock = gevent.socket.create_connection(self._address, timeout=CONNECT_TIMEOUT_S)
            sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
            if self._tls:
                context = gevent.ssl.create_default_context()
                sock = context.wrap_socket(sock, server_hostname=self._address[0])
            sock.settimeout(None)
        except OSError as error:
            raise HttpError(f"cannot connect: {_describe(error)}") from None
        self._stream = sock if self._tls else PlainStream(sock)
        self._parser = httptools.HttpResponseParser(self)


class PlainStream:
    """A connected TCP socket whose waits go to gevent's hub with the fewest calls on the way.

    gevent's own socket tries to read before it waits; an answer is never there yet when a request has just
    been sent, so this one waits first.
    """

    def __init__(self, connected: socket) -> None:
        self._native = _socket.socket(fileno=connected.detach())
        self._native.setblocking(False)
        hub = gevent.get_hub()
        self._wait = hub.wait
        self._readable = hub.loop.io(self._native.fileno(), 1)
        self._writable = hub.loop.io(self._native.fileno(), 2)
        self._send = self._native.send
        self._recv = self._native.recv

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``."""
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        rest = memoryview(data)[sent:] if sent < len(data) else b""
        while rest:
            self._wait(self._writable)
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._send(rest) :]

    def recv(self, size: int) -> bytes:
        """At most ``size`` bytes, nothing at the end of the stream."""
        while True:
            self._wait(self._readable)
            try:
                return self._recv(size)
            except BlockingIOError:
                continue

    def shutdown(self, how: int) -> None:
        """Shut the connection down, which wakes a waiting `recv`."""
        self._native.shutdown(how)

    def close(self) -> None:
        """Close the socket and its watchers."""
        self._readable.close()
        self._writable.close()
        self._native.close()


def _describe(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
