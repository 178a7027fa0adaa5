"""TCP and TLS connections of the load loop: opened with a timeout, then as fast as possible."""

from __future__ import annotations

import _socket
import contextlib
from fcntl import ioctl
from termios import FIONREAD
from typing import TYPE_CHECKING

import gevent
import gevent.socket
import gevent.ssl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gevent.socket import socket

CONNECT_TIMEOUT_S = 10.0
READ_BYTES = 1 << 16
_NOTHING = bytes(4)


class ExchangeError(Exception):
    """Failure of a request without a whole response; the text is the cause."""


class NotTakenError(ExchangeError):
    """Failure of a request that the server has certainly not begun to process; it can be sent again."""


def connected(host: str, port: int, *, tls: bool, protocols: Sequence[str] = ()) -> PlainStream | socket:
    """Return a new connection.

    Args:
        host: the server's host.
        port: the server's port.
        tls: whether to use TLS.
        protocols: the protocols to offer by ALPN, over TLS only.

    Raises:
        ExchangeError: if there is no connection within `CONNECT_TIMEOUT_S` seconds.
    """
    try:
        sock = gevent.socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
        sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
        if tls:
            context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
            context.load_default_certs()
            if protocols:
                context.set_alpn_protocols(list(protocols))
            sock = context.wrap_socket(sock, server_hostname=host)
        sock.settimeout(None)
    except OSError as error:
        raise ExchangeError(f"cannot connect: {described(error)}") from None
    return sock if tls else PlainStream(sock)


def described(error: OSError) -> str:
    """Return an error of the operating system as a text to count errors by."""
    return (error.strerror or str(error) or type(error).__name__).lower()


class PlainStream:
    """Connected TCP socket that waits in gevent's hub with few calls.

    gevent's own socket tries to read before it waits. A response is never there just after the request was
    sent, so this class waits first.
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
        self._number = self._native.fileno()

    def pending(self) -> bool:
        """Return whether received bytes were not read yet."""
        return ioctl(self._number, FIONREAD, _NOTHING) != _NOTHING

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
        """Return at most ``size`` bytes, none at the end of the stream."""
        while True:
            self._wait(self._readable)
            try:
                return self._recv(size)
            except BlockingIOError:
                continue

    def shutdown(self, how: int) -> None:
        """Shut down the connection, which wakes a waiting `recv`."""
        self._native.shutdown(how)

    def close(self) -> None:
        """Close the socket and its watchers."""
        self._readable.close()
        self._writable.close()
        self._native.close()
