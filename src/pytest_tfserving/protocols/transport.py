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

from pytest_tfserving.protocols.arrival_time import CONTROL_BYTES, ask_for_arrival_times, waited_s
from pytest_tfserving.protocols.client_access import OneServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ssl import SSLContext

    from gevent.socket import socket

    from pytest_tfserving.protocols.arrival_time import LateReading

CONNECT_TIMEOUT_S = 10.0
READ_BYTES = 1 << 16
# A longer response can fill the kernel's buffer, and so hold up a server, unless it is read at once.
_MOST_UNREAD_BYTES = 1 << 14
_NOTHING = bytes(4)


class ExchangeError(Exception):
    """Failure of a request without a whole response; the text is the cause."""


class NotTakenError(ExchangeError):
    """Failure of a request that the server has certainly not begun to process; it can be sent again."""


class LoadContext(OneServer, gevent.ssl.SSLContext):  # type: ignore[misc] # gevent has no types for it
    """Context of TLS for one server, whose sockets wait in gevent's hub."""


def connected(
    host: str, port: int, tls: SSLContext | None = None, late: LateReading | None = None
) -> PlainStream | socket:
    """Return a new connection.

    Args:
        host: the server's host.
        port: the server's port.
        tls: the context of TLS; None without TLS.
        late: as for `PlainStream`.

    Raises:
        ExchangeError: if there is no connection within `CONNECT_TIMEOUT_S` seconds.
    """
    try:
        sock = gevent.socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
        sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
        if tls:
            sock = tls.wrap_socket(sock, server_hostname=host)
        sock.settimeout(None)
    except OSError as error:
        raise ExchangeError(f"cannot connect: {described(error)}") from None
    return sock if tls else PlainStream(sock, late)


def described(error: OSError) -> str:
    """Return an error of the operating system as a text to count errors by."""
    return (error.strerror or str(error) or type(error).__name__).lower()


class PlainStream:
    """Connected TCP socket that waits in gevent's hub with few calls.

    gevent's own socket tries to read before it waits. A response is never there just after the request was
    sent, so this class waits first.

    Args:
        connected: the socket, which this class takes over.
        late: None if data is always read at once. Else the stream asks when data arrived, and notes here
            whether data can be read late.

    Attributes:
        waited_s: for how many seconds the data that was read last had waited; 0 if that is not known.
    """

    def __init__(self, connected: socket, late: LateReading | None = None) -> None:
        self._native = _socket.socket(fileno=connected.detach())
        self._native.setblocking(False)
        hub = gevent.get_hub()
        self._wait = hub.wait
        self._readable = hub.loop.io(self._native.fileno(), 1)
        self._writable = hub.loop.io(self._native.fileno(), 2)
        self._send = self._native.send
        self._recv: Callable[[int], bytes] = self._native.recv
        self._number = self._native.fileno()
        self.waited_s = 0.0
        self._late = late
        if late and ask_for_arrival_times(self._native):
            self._recv = self._recv_timed

    def pending(self) -> bool:
        """Return whether received bytes were not read yet."""
        return ioctl(self._number, FIONREAD, _NOTHING) != _NOTHING

    def sendall(self, data: bytes | memoryview) -> None:
        """Send all of ``data``."""
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def sendmsg(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send all of ``parts``, at once if there is room."""
        self.send_rest(parts, self.send_now(parts))

    def send_now(self, parts: Sequence[bytes | memoryview]) -> int:
        """Send as much of ``parts`` as there is room for; return the number of bytes."""
        try:
            return self._send(parts[0]) if len(parts) == 1 else self._native.sendmsg(parts)
        except BlockingIOError:
            return 0

    def send_rest(self, parts: Sequence[bytes | memoryview], sent: int) -> None:
        """Send ``parts`` but for the first ``sent`` bytes."""
        for part in parts:
            if sent < len(part):
                self._send_rest(memoryview(part)[sent:])
            sent = max(sent - len(part), 0)

    def _send_rest(self, rest: memoryview) -> None:
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

    def _recv_timed(self, size: int) -> bytes:
        data, control, _, _ = self._native.recvmsg(size, CONTROL_BYTES)
        found_s = waited_s(control)
        self.waited_s = found_s or 0.0
        assert self._late is not None
        self._late.has_times = found_s is not None
        if len(data) > _MOST_UNREAD_BYTES:
            self.read_at_once()
        return data

    def read_at_once(self) -> None:
        """Note that no response of this run can be read late any more."""
        if self._late:
            self._late.allowed = False

    def watch(self, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` in the event loop whenever there is something to receive, until `unwatch`."""
        self._readable.start(on_readable)

    def unwatch(self) -> None:
        """Call nothing any more, so that `recv` can wait."""
        self._readable.stop()

    def recv_now(self, size: int) -> bytes | None:
        """Return at most ``size`` bytes, none at the end of the stream; None if nothing was received."""
        try:
            return self._recv(size)
        except BlockingIOError:
            return None

    def shutdown(self, how: int) -> None:
        """Shut down the connection, which wakes a waiting `recv`."""
        self._native.shutdown(how)

    def close(self) -> None:
        """Close the socket and its watchers."""
        self._readable.close()
        self._writable.close()
        self._native.close()
