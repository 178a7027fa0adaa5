"""HTTP/1.1 on asyncio, limited to what the REST API needs."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, cast

from pytest_tfserving.model_server.http_requests import (
    MOST_BODY_BYTES,
    HttpError,
    KnownHeads,
    RequestReader,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pytest_tfserving.model_server.http_requests import Request

JSON = "application/json"
_READ_AHEAD = 8
# How long an answer may wait to be written together with those of other connections.
_LONGEST_WAIT_S = 0.001
# How long a refused client may go on sending: it reads the answer only if its connection is not reset.
_LINGER_S = 2.0
_OK = 200
# How much of a body is read before others have the event loop.
_LONGEST_READ_BYTES = 2**20
# The beginning of most answers.
_JSON_HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: ".encode()


class Response(NamedTuple):
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()

    def encoded(self, connection: str = "") -> bytes:
        """Return the answer's bytes; ``connection`` is the value of that header, empty for no such header."""
        if self.status == _OK and not connection and not self.headers and self.content_type == JSON:
            return b"%b%d\r\n\r\n%b" % (_JSON_HEAD, len(self.body), self.body)
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Client Closed Request"
        lines = [f"HTTP/1.1 {self.status} {phrase}", f"Content-Type: {self.content_type}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(self.body)}")
        if connection:
            lines.append(f"Connection: {connection}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class Outbox:
    """A batch of answers, written together once the event loop has read all received data.

    Waking a client whose core sleeps takes longer than the write itself. Of answers that are written one
    after the other, mostly only the first one pays for that.
    """

    def __init__(self) -> None:
        self._answers: list[tuple[asyncio.Transport, bytes]] = []
        self._since_s = 0.0

    def put(self, transport: asyncio.Transport, content: bytes) -> None:
        """Write an answer soon."""
        if not self._answers:
            self._since_s = perf_counter()
            asyncio.get_running_loop().call_soon(self.flush)
        self._answers.append((transport, content))
        if perf_counter() - self._since_s > _LONGEST_WAIT_S:
            self.flush()

    def flush(self) -> None:
        """Write all waiting answers now."""
        answers, self._answers = self._answers, []
        for transport, content in answers:
            if not transport.is_closing():
                transport.write(content)


class Connections:
    """The open connections, and what they share."""

    def __init__(self) -> None:
        self.open: set[HttpProtocol] = set()
        self.outbox = Outbox()
        self.heads = KnownHeads()

    async def drain(self) -> None:
        """Answer the requests so far, then close."""
        await asyncio.gather(*(connection.drain() for connection in list(self.open)))

    async def close_idle(self, after_s: float) -> None:
        """Close, again and again, the connections whose clients sent nothing for ``after_s``; 0 for none."""
        while after_s > 0:
            await asyncio.sleep(min(after_s / 4, 5.0))
            before_s = asyncio.get_running_loop().time() - after_s
            for connection in list(self.open):
                connection.close_if_idle(before_s)


class HttpProtocol(asyncio.Protocol):
    """A connection, whose requests are answered one after the other, in their order."""

    def __init__(
        self, handle: Callable[[Request], Response | Awaitable[Response]], connections: Connections
    ) -> None:
        self._handle = handle
        self._connections = connections
        self._outbox = connections.outbox
        self._heads = connections.heads
        self._reader = RequestReader(connections.heads)
        self._loop = asyncio.get_running_loop()
        self._active_s = self._loop.time()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        # Whether many answers wait for the client to read them, and how many bytes did at the last look.
        self._is_full = False
        self._unread = 0
        # How many bytes of a body came since others had the event loop.
        self._unbroken_bytes = 0

    # --- asyncio's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Remove the connection; an answer under way is dropped."""
        self._connections.open.discard(self)
        self._closing = True
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer the requests in ``data``."""
        if self._closing:
            return
        if self._reader.is_between and (request := self._heads.request(data)) is not None:
            self._active_s = self._loop.time()
            self._take(request)
            return
        if not self._reader.is_in_head:  # a head must arrive in time as a whole, the parts of a body each
            self._active_s = self._loop.time()
        try:
            for request in self._reader.read(data):
                self._active_s = self._loop.time()
                self._take(request)
        except HttpError as error:
            self._refuse(error)
            return
        if self._reader.is_between:
            self._unbroken_bytes = 0
        else:
            self._yield_after(len(data))
        if self._reader.is_asked() and self._transport:
            self._outbox.flush()
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _yield_after(self, size: int) -> None:
        """Let others have the event loop now and then, which else reads a large body without a break."""
        self._unbroken_bytes += size
        if self._unbroken_bytes > _LONGEST_READ_BYTES and self._transport:
            self._unbroken_bytes = 0
            self._transport.pause_reading()
            self._loop.call_soon(self._read_on)

    def eof_received(self) -> bool:
        """Answer the requests that came before the client closed its end of the connection."""
        self._closing = True
        return self._is_busy()

    def pause_writing(self) -> None:
        """Read no more requests while the client does not read its answers."""
        self._is_full = True
        if self._transport and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        self._is_full = False
        self._read_on()

    # --- answering ---

    def _take(self, request: Request) -> None:
        if self._transport and not self._is_busy():
            if self._transport.is_closing():
                return
            answer = self._handle(request)
            if isinstance(answer, Response):
                self._send(request, answer)
            else:
                self._task = self._loop.create_task(self._answer_all(request, answer))
            return
        self._waiting.append(request)
        if len(self._waiting) > _READ_AHEAD and self._transport:
            self._transport.pause_reading()

    def _is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _answer_all(self, request: Request, answer: Response | Awaitable[Response]) -> None:
        while True:
            response = answer if isinstance(answer, Response) else await answer
            self._active_s = self._loop.time()
            if not self._send(request, response) or not self._waiting:
                return
            request = self._waiting.popleft()
            self._read_on()
            answer = self._handle(request)

    def _read_on(self) -> None:
        may_read = not self._is_full and len(self._waiting) <= _READ_AHEAD
        if may_read and self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def _send(self, request: Request, response: Response) -> bool:
        """Write an answer; return whether the connection stays open."""
        if self._transport is None:
            return False
        keep_alive = request.head.keep_alive and (bool(self._waiting) or not self._closing)
        content = response.encoded(("keep-alive" if request.head.is_old else "") if keep_alive else "close")
        if request.head.method == "HEAD":  # its answer has a Content-Length and no body
            content = content[: len(content) - len(response.body)]
        self._outbox.put(self._transport, content)
        if not keep_alive:
            self._close()
        return keep_alive

    def _close(self) -> None:
        self._outbox.flush()
        if self._transport:
            self._transport.close()

    async def drain(self) -> None:
        """Answer the requests so far, then close."""
        self._closing = True
        if self._task is not None and not self._task.done():
            await self._task
        self._close()

    def close_if_idle(self, before_s: float) -> None:
        """Close the connection if it waits for its client, which sent and read nothing since ``before_s``."""
        unread = self._transport.get_write_buffer_size() if self._transport else 0
        if unread < self._unread:
            self._active_s = self._loop.time()
        self._unread = unread
        if self._active_s < before_s and not self._is_busy():
            self._close()
            if unread and self._transport:  # to close it takes a client that reads
                self._transport.abort()

    def _refuse(self, error: HttpError) -> None:
        self._closing = True
        if self._transport and not self._is_busy():
            self._outbox.put(self._transport, Response(error.status, error.body).encoded("close"))
            self._outbox.flush()
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._loop.call_later(_LINGER_S, self._close)


def inflated(body: bytes) -> bytes:
    """Return a gzip body decompressed; empty if the body is invalid or too large."""
    try:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        content = inflater.decompress(body, MOST_BODY_BYTES)
    except zlib.error:
        return b""
    return b"" if inflater.unconsumed_tail or not inflater.eof else content
