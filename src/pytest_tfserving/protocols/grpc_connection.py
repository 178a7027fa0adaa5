"""Unary gRPC calls with prepared requests, over connections that users share or own."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

import gevent
import gevent.lock

from pytest_tfserving.protocols.client_access import host_of, metadata_of, tls_context
from pytest_tfserving.protocols.http2 import Http2Connection, PendingCall, header_block
from pytest_tfserving.protocols.reading import MOST_BYTES
from pytest_tfserving.protocols.transport import ExchangeError, LoadContext, NotTakenError
from pytest_tfserving.text.secrets import without_hidden

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ssl import SSLContext

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.protocols.http2 import Headers
    from pytest_tfserving.protocols.serving_protocol import Bodies, Receiver

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
        bodies: the serialized requests, each with its prefix.
        tls: the context of TLS; None without TLS.
        deadline_s: the timeout of each call that is sent to the server, in seconds.
        most_bytes: a larger response is an error.
        authority: the host that calls name; the address by default.
        metadata: the metadata of each call.
    """

    def __init__(  # noqa: PLR0913 - what a channel is made of
        self,
        host: str,
        port: int,
        bodies: Bodies,
        *,
        tls: SSLContext | None,
        deadline_s: float,
        most_bytes: int = MOST_BYTES,
        authority: str = "",
        metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._address = (host, port)
        self._tls = tls
        self._most_bytes = most_bytes
        self._bodies = bodies
        name = f"[{host}]" if ":" in host else host
        self._block = header_block(
            [
                (":method", "POST"),
                (":scheme", "https" if tls else "http"),
                (":path", PREDICT),
                (":authority", authority or f"{name}:{port}"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("grpc-timeout", f"{max(round(deadline_s * 1e3), 1)}m"),
                *metadata,
            ]
        )
        self._connecting = gevent.lock.Semaphore()
        self._connection: Http2Connection | None = None

    def call(self, call: PendingCall, body: int) -> None:
        """Send the request with the body of this index, and wait for its response.

        Raises:
            ExchangeError: if no whole response comes; its text is the cause.
        """
        connection = self._connection
        if connection is None or not connection.usable:
            connection = self._connected()
        connection.call(self._block, self._bodies[body], call)

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
        bodies: the serialized requests, each with its prefix.
        shared: the number of shared channels to each endpoint; 0 for a channel for each user.
        deadline_s: the timeout of each call that is sent to the server, in seconds.
        most_bytes: a larger response is an error.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        bodies: Bodies,
        shared: int,
        deadline_s: float,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._endpoints = endpoints
        self._bodies = bodies
        self._shared = shared
        self._deadline_s = deadline_s
        self._most_bytes = most_bytes
        self._tls = [tls_context(endpoint, ("h2",), LoadContext) for endpoint in endpoints]
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
            self._bodies,
            tls=self._tls[index],
            deadline_s=self._deadline_s,
            most_bytes=self._most_bytes,
            authority=host_of(at),
            metadata=metadata_of(at),
        )


class GrpcConnection:
    """Calls of one user, one at a time, on a channel that other users may share."""

    def __init__(self, channel: GrpcChannel) -> None:
        self._channel = channel
        self._call: PendingCall | None = None

    def start(self, body: int, receiver: Receiver) -> bool:  # noqa: ARG002 - part of Connection
        """Return False: other users may be sending on the channel, so a call may have to wait."""
        return False

    def exchange(self, body: int = 0) -> tuple[int, bytes]:
        """Send the request with the body of this index, and return the answer.

        The answer is the gRPC status, and the response's message or the status's text. A request that the
        server has certainly not begun to process is sent again, as gRPC clients do: the server refused it
        because of too many calls under way, or closed an old connection. The latency includes all tries.

        Raises:
            ExchangeError: if no whole response comes; its text is the cause.
        """
        for number in range(_TRIES - 1):
            with suppress(NotTakenError):
                return self._exchange_once(body)
            gevent.sleep(_FIRST_PAUSE_S * 2**number)
        return self._exchange_once(body)

    def _exchange_once(self, number: int) -> tuple[int, bytes]:
        call = self._call = PendingCall(0)
        try:
            self._channel.call(call, number)
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
        shown = without_hidden(status.decode("latin-1"))[:_STATUS_SHOWN].encode("latin-1")
        raise ExchangeError(f"not a gRPC response: its status is {shown!r}")
    text = unquote(found.get(b"grpc-message", b"").decode("ascii", "replace"))
    return int(status), text.encode()
