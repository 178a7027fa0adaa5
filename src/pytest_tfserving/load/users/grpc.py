"""Unary gRPC calls, each the same prebuilt request, over connections that are shared or a user's own."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import gevent
import gevent.lock

from pytest_tfserving.load.answer import MOST_BYTES
from pytest_tfserving.load.users.http2 import Call, Http2Connection, header_block
from pytest_tfserving.load.users.stream import ExchangeError, NotTakenError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.load.users.http2 import Headers

PREDICT = "/tensorflow.serving.PredictionService/Predict"
_HTTP_OK = b"200"
_PREFIX_BYTES = 5
_STATUS = re.compile(rb"[0-9]{1,4}")
_STATUS_SHOWN = 20
# A server counts a call for a moment after its end, and may refuse one more than once.
_TRIES = 5
_FIRST_PAUSE_S = 0.001


class GrpcChannel:
    """A connection to one endpoint for any number of users, opened when it is needed, again and again.

    ``message`` is the serialized request, ``deadline_s`` what the server is told each call may take.
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

    def call(self, call: Call) -> None:
        """Send the request and wait for its answer.

        Raises:
            ExchangeError: when there is no whole answer; its text is the cause.
        """
        connection = self._connection
        if connection is None or not connection.usable:
            connection = self._connected()
        connection.call(self._block, self._body, call)

    def _connected(self) -> Http2Connection:
        with self._connecting:  # the others wait for the one who connects
            if self._connection is None or not self._connection.usable:
                self._connection = Http2Connection(*self._address, tls=self._tls, most_bytes=self._most_bytes)
            return self._connection

    def cancel(self, call: Call, cause: str) -> None:
        """End a call under way."""
        if self._connection is not None:
            self._connection.cancel(call, cause)

    def close(self) -> None:
        """Close the connection there is."""
        if self._connection is not None:
            self._connection.close()


class Channels:
    """Gives each user a connection: on a channel of its own, or on one of ``shared`` to each endpoint."""

    def __init__(
        self,
        endpoints: Sequence[dict[str, Any]],
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
        """The connection of the user of some number."""
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
            at["host"],
            at["port"],
            self._message,
            tls=at["tls"],
            deadline_s=self._deadline_s,
            most_bytes=self._most_bytes,
        )


class GrpcConnection:
    """One user's calls, one at a time, on a channel that others may use too."""

    def __init__(self, channel: GrpcChannel) -> None:
        self._channel = channel
        self._call: Call | None = None

    def exchange(self) -> tuple[int, bytes]:
        """Send the request; return gRPC's status and the answer's message, or what the status says.

        What the server has surely not begun with is sent again, as by any client of gRPC, and takes so much
        longer: a call refused for the number of those under way, or one of a connection that grew too old.

        Raises:
            ExchangeError: when there is no whole answer; its text is the cause.
        """
        for number in range(_TRIES - 1):
            with suppress(NotTakenError):
                return self._exchange_once()
            gevent.sleep(_FIRST_PAUSE_S * 2**number)
        return self._exchange_once()

    def _exchange_once(self) -> tuple[int, bytes]:
        call = self._call = Call(0)
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
            raise ExchangeError("half an answer")
        if size > told:
            raise ExchangeError("more than one answer to a request")
        if body[0]:
            raise ExchangeError("the answer is compressed, which was not asked for")
        return 0, body[_PREFIX_BYTES:]

    def abort(self) -> None:
        """Make a waiting `exchange` end at once."""
        if self._call is not None:
            self._channel.cancel(self._call, "given up")

    def close(self) -> None:
        """Close the channel's connection; the next `exchange` opens a new one."""
        self._channel.close()


def _status(headers: Headers, trailers: Headers) -> tuple[int, bytes]:
    """The status and its text.

    Raises:
        ExchangeError: when the answer is none of gRPC's.
    """
    found = dict(trailers)
    told = {value for name, value in trailers if name == b"grpc-status"}
    if not told:
        http = dict(headers).get(b":status", b"none")
        what = "no gRPC status" if http == _HTTP_OK else f"HTTP status {http.decode('ascii', 'replace')}"
        raise ExchangeError(f"not a gRPC answer: {what}")
    status = told.pop()
    if told:
        raise ExchangeError("not a gRPC answer: it has several statuses")
    if not _STATUS.fullmatch(status):
        raise ExchangeError(f"not a gRPC answer: its status is {status[:_STATUS_SHOWN]!r}")
    text = unquote(found.get(b"grpc-message", b"").decode("ascii", "replace"))
    return int(status), text.encode()
