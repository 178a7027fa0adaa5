"""HTTP requests to a server that may misbehave: limited in time and size, without redirects and proxies."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING
from urllib.parse import quote

from pytest_tfserving.errors import LoadError
from pytest_tfserving.protocols.client_access import header_values, tls_context
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from pytest_tfserving.deployment.deployment import Endpoint

# The largest answer with status, metadata or metrics.
MOST_BYTES = 1 << 24


class PlainHttp:
    """A connection to one endpoint, opened when it is needed, and again after it was closed."""

    def __init__(self, endpoint: Endpoint) -> None:
        context = tls_context(endpoint)
        self._connection = (
            HTTPSConnection(endpoint.host, endpoint.port, context=context)
            if context
            else HTTPConnection(endpoint.host, endpoint.port)
        )
        self._endpoint = endpoint
        self._socket: socket.socket | None = None
        self._expired = threading.Event()

    def close(self) -> None:
        """Close the connection, if it is open."""
        self._connection.close()

    def ask(
        self, path: str, timeout_s: float, *, body: bytes | None = None, most_bytes: int = MOST_BYTES
    ) -> tuple[int, bytes]:
        """Get ``path``, or post ``body`` to ``path``; return the status and the body of the answer.

        Raises:
            LoadError: when no whole answer comes within ``timeout_s``, or the answer exceeds ``most_bytes``.
        """
        self._expired.clear()
        timer = threading.Timer(timeout_s, self._expire)
        timer.daemon = True
        timer.start()
        try:
            return self._asked(path, timeout_s, body, most_bytes)
        except Exception as error:  # noqa: BLE001 - for arbitrary answers http.client can raise any error
            self._connection.close()
            late = self._expired.is_set() or isinstance(error, TimeoutError)
            raise LoadError(f"no response within {timeout_s:g} s" if late else _cause(error)) from None
        finally:
            timer.cancel()
            timer.join()

    def _asked(self, path: str, timeout_s: float, body: bytes | None, most_bytes: int) -> tuple[int, bytes]:
        self._connection.timeout = timeout_s
        if self._connection.sock is None:
            self._connection.connect()
        # Kept here, because the connection drops its socket when the server announces a close.
        self._socket = self._connection.sock
        self._socket.settimeout(timeout_s)
        headers = dict(header_values(self._endpoint.client))
        if body is not None:
            headers["Content-Type"] = "application/json"
        method = "GET" if body is None else "POST"
        self._connection.request(method, quote(path, safe="/:%"), body, headers)
        answer = self._connection.getresponse()
        content = answer.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise LoadError(f"the response is larger than {most_bytes} bytes")
        if answer.length:
            raise LoadError("connection closed after half a response")
        _finish(answer)
        if self._expired.is_set():
            raise LoadError("no response in time")
        return answer.status, content

    def _expire(self) -> None:
        """Wake the thread that waits for the answer: each part may come in time, but the whole never."""
        self._expired.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _finish(answer: HTTPResponse) -> None:
    """Read the end of the last chunk; otherwise the connection takes no further request."""
    if not answer.isclosed() and answer.read(1):
        raise LoadError("the response goes on after its end")


def _cause(error: Exception) -> str:
    if isinstance(error, LoadError):
        return str(error)
    if isinstance(error, RemoteDisconnected):
        return "connection closed after no response"
    if isinstance(error, IncompleteRead):
        return "connection closed after half a response"
    if isinstance(error, OSError):
        return one_line(error.strerror or str(error) or type(error).__name__)
    if isinstance(error, HTTPException):
        return f"not an HTTP response: {one_line(str(error) or type(error).__name__)}"
    return f"not an HTTP response ({type(error).__name__})"
