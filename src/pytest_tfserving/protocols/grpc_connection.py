"""Unary gRPC calls with one prebuilt request, over connections that users share or own."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

import gevent
import gevent.lock

from pytest_tfserving.protocols.http2 import Http2Connection, PendingCall, header_block
from pytest_tfserving.protocols.reading import MOST_BYTES
from pytest_tfserving.protocols.transport import ExchangeError, NotTakenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.protocols.http2 import Headers

PREDICT = "/tensorflow.serving.PredictionService/Predict"
_HTTP_OK = b"200"
_PREFIX_BYTES = 5
_STATUS = re.compile(rb"[0-9]{1,4}")
_STATUS_SHOWN = 20
# A server counts a call for a moment after its end, so it may refuse a new call more than once.
_TRIES = 5
_FIRST_PAUSE_S = 0.001


class GrpcChannel:
    """Connection to one endpoint for any number of users, opened and reopened when it is needed.

    Args:
        host: the endpoint's host.
        port: the endpoint's port.
        message: the serialized request.
        tls: whether to use TLS.
        deadline_s: the timeout of each call that is sent to the server, in seconds.
        most_bytes: a larger response is an error.
    """

    def __init__(  # noqa: PLR0913 - what a channel is made of
        self,
        host: str,
        port: int,
        message: bytes,
        *,
        tls: bool,
        deadline_s: float,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._address = (host, port)
        self._tls = tls
        self._most_bytes = most_bytes
        self._body = b"\0" + len(message).to_bytes(4, "big") + message
        name = f"[{host}]" if ":" in host else host
        self._block = header_block(
            [
                (":method", "POST"),
                (":scheme", "https" if tls else "http"),
                (":path", PREDICT),
                (":authority", f"{name}:{port}"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("grpc-timeout", f"{max(round(deadline_s * 1e3), 1)}m"),
            ]
        )
        self._connecting = gevent.lock.Semaphore()
        self._connection: Http2Connection | None = None

    def call(self, call: PendingCall) -> None:
        """Send the request and wait for its response.

        Raises:
            ExchangeError: if no whole response comes; its text is the cause.
        """
        connection = self._connection
        if connection is None or not connection.usable:
            connection = self._connected()
        connection.call(self._block, self._body, call)

    def _connected(self) -> Http2Connection:
        with self._connecting:  # only one user connects, the others wait
            if self._connection is None or not self._connection.usable:
                self._connection = Http2Connection(*self._address, tls=self._tls, most_bytes=self._most_bytes)
            return self._connection

    def cancel(self, call: PendingCall, cause: str) -> None:
        """End a call under way, which fails with ``cause``."""
        if self._connection is not None:
            self._connection.cancel(call, cause)

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._connection is not None:
            self._connection.close()


class Channels:
    """Factory of connections: each user has its own channel, or shares one of ``shared`` to each endpoint.

    Args:
        endpoints: the replicas; users are spread evenly over them.
        message: the serialized request.
        shared: the number of shared channels to each endpoint; 0 for a channel for each user.
        deadline_s: the timeout of each call that is sent to the server, in seconds.
        most_bytes: a larger response is an error.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        message: bytes,
        shared: int,
        deadline_s: float,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._endpoints = endpoints
        self._message = message
        self._shared = shared
        self._deadline_s = deadline_s
        self._most_bytes = most_bytes
        self._channels: dict[tuple[int, int], GrpcChannel] = {}

    def __call__(self, number: int) -> GrpcConnection:
        """Return the connection of user ``number``."""
        turn, index = divmod(number, len(self._endpoints))
        if not self._shared:
            return GrpcConnection(self._channel(index))
        key = index, turn % self._shared
        if key not in self._channels:
            self._channels[key] = self._channel(index)
        return GrpcConnection(self._channels[key])

    def _channel(self, index: int) -> GrpcChannel:
        at = self._endpoints[index]
        return GrpcChannel(
            at.host,
            at.port,
            self._message,
            tls=at.tls,
            deadline_s=self._deadline_s,
            most_bytes=self._most_bytes,
        )


class GrpcConnection:
    """Calls of one user, one at a time, on a channel that other users may share."""

    def __init__(self, channel: GrpcChannel) -> None:
        self._channel = channel
        self._call: PendingCall | None = None

    def exchange(self) -> tuple[int, bytes]:
        """Send the request; return the gRPC status, and the response's message or the status's text.

        A request that the server has certainly not begun to process is sent again, as gRPC clients do: the
        server refused it because of too many calls under way, or closed an old connection. The latency
        includes all tries.

        Raises:
            ExchangeError: if no whole response comes; its text is the cause.
        """
        for number in range(_TRIES - 1):
            with suppress(NotTakenError):
                return self._exchange_once()
            gevent.sleep(_FIRST_PAUSE_S * 2**number)
        return self._exchange_once()

    def _exchange_once(self) -> tuple[int, bytes]:
        call = self._call = PendingCall(0)
        try:
            self._channel.call(call)
        finally:
            self._call = None
        status, text = _status(call.headers, call.trailers)
        if status:
            return status, text
        body = call.body[0] if len(call.body) == 1 else b"".join(call.body)
        size = len(body) - _PREFIX_BYTES
        told = int.from_bytes(body[1:_PREFIX_BYTES], "big")
        if size < 0 or size < told:
            raise ExchangeError("half a response")
        if size > told:
            raise ExchangeError("more than one response to a request")
        if body[0]:
            raise ExchangeError("the response is compressed, which was not asked for")
        return 0, body[_PREFIX_BYTES:]

    def abort(self) -> None:
        """Make a waiting `exchange` end at once."""
        if self._call is not None:
            self._channel.cancel(self._call, "given up")

    def close(self) -> None:
        """Close the channel's connection; the next `exchange` opens a new one."""
        self._channel.close()


def _status(headers: Headers, trailers: Headers) -> tuple[int, bytes]:
    """Return the gRPC status and its text.

    Raises:
        ExchangeError: if the response is not a gRPC response.
    """
    found = dict(trailers)
    told = {value for name, value in trailers if name == b"grpc-status"}
    if not told:
        http = dict(headers).get(b":status", b"none")
        what = "no gRPC status" if http == _HTTP_OK else f"HTTP status {http.decode('ascii', 'replace')}"
        raise ExchangeError(f"not a gRPC response: {what}")
    status = told.pop()
    if told:
        raise ExchangeError("not a gRPC response: it has several statuses")
    if not _STATUS.fullmatch(status):
        raise ExchangeError(f"not a gRPC response: its status is {status[:_STATUS_SHOWN]!r}")
    text = unquote(found.get(b"grpc-message", b"").decode("ascii", "replace"))
    return int(status), text.encode()
