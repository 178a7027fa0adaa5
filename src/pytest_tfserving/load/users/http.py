"""One keep-alive HTTP connection with nothing on it that a load generator does not need."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import gevent.socket
import httptools

from pytest_tfserving.load.users.stream import READ_BYTES, ExchangeError, connected, described

if TYPE_CHECKING:
    from gevent.socket import socket

    from pytest_tfserving.load.users.stream import PlainStream


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
            ExchangeError: when there is no whole answer; its text is the cause.
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
                data = stream.recv(READ_BYTES)
                if not data:
                    break
                parser.feed_data(data)
        except OSError as error:
            self.close()
            raise ExchangeError(described(error)) from None
        except httptools.HttpParserError as error:
            self.close()
            raise ExchangeError(f"not an HTTP answer: {error}") from None
        if not self._complete:
            self.close()
            part = "half an answer" if parser.get_status_code() else "no answer"
            raise ExchangeError(f"connection closed after {part}")
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
        self._stream = connected(*self._address, tls=self._tls)
        self._parser = httptools.HttpResponseParser(self)
