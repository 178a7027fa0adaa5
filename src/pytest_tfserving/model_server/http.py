"""HTTP/1.1 on asyncio with nothing on it that the REST API does not need."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

MOST_BODY_BYTES = 100 * 1024 * 1024
JSON = "application/json"
_MOST_HEAD_BYTES = 64 * 1024
# Parts smaller than this are kept together: a body may come in as many parts as it has bytes.
_SMALL_PART = 16 * 1024
_READ_AHEAD = 8
# What most answers begin with.
_JSON_HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: ".encode()


class _HeadTooLargeError(Exception):
    """More path and headers than a request needs."""


@dataclass(slots=True)
class Request:
    """One request; ``target`` is the path with its query, ``headers`` are as they came."""

    method: str
    target: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    keep_alive: bool
    too_large: bool

    def header(self, name: bytes) -> str:
        """The last header of a lower-case name, empty where there is none."""
        found = b""
        for key, value in self.headers:
            if len(key) == len(name) and key.lower() == name:
                found = value
        return found.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self, *, keep_alive: bool) -> bytes:
        """The answer's bytes."""
        if self.status == HTTPStatus.OK and keep_alive and not self.headers and self.content_type == JSON:
            return b"%b%d\r\n\r\n%b" % (_JSON_HEAD, len(self.body), self.body)
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Client Closed Request"
        lines = [f"HTTP/1.1 {self.status} {phrase}", f"Content-Type: {self.content_type}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"Content-Length: {len(self.body)}")
        if not keep_alive:
            lines.append("Connection: close")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class HttpProtocol(asyncio.Protocol):
    """One connection: requests are answered one after the other, in their order."""

    def __init__(
        self, handle: Callable[[Request], Response | Awaitable[Response]], connections: set[HttpProtocol]
    ) -> None:
        self._handle = handle
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._target: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._body: list[bytes | bytearray] = []
        self._size = 0
        self._closing = False

    # --- asyncio's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; an answer under way has nowhere to go."""
        self._connections.discard(self)
        self._closing = True
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            self._refuse(400)

    def eof_received(self) -> bool:
        """Answer what was asked before the client's end of the connection closed."""
        self._closing = True
        return self._is_busy()

    # --- the parser's calls ---

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._target, self._headers, self._body = [], [], []
        self._head_size = self._size = 0

    def on_url(self, url: bytes) -> None:
        """Keep a part of the target."""
        self._target.append(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; answer one that asks whether to go on."""
        self._count_head(len(name) + len(value))
        self._headers.append((name, value))
        if len(name) == len(b"expect") and name.lower() == b"expect":
            self._go_on(value)

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, as far as it may go."""
        self._size += len(body)
        if self._size > MOST_BODY_BYTES:
            return
        if not self._body or len(body) >= _SMALL_PART:
            self._body.append(body)
        elif isinstance(self._body[-1], bytearray):
            self._body[-1] += body
        else:
            self._body.append(bytearray(body))

    def on_message_complete(self) -> None:
        """Answer the request when those before it are answered."""
        request = Request(
            self._parser.get_method().decode("latin-1"),
            b"".join(self._target).decode("latin-1"),
            self._headers,
            self._whole_body(),
            self._parser.should_keep_alive(),
            self._size > MOST_BODY_BYTES,
        )
        self._body = []
        if self._transport and not self._is_busy():
            if self._transport.is_closing():
                return
            answer = self._handle(request)
            if isinstance(answer, Response):
                self._send(request, answer)
            else:
                self._task = asyncio.get_running_loop().create_task(self._answer_all(request, answer))
            return
        self._waiting.append(request)
        if len(self._waiting) > _READ_AHEAD and self._transport:
            self._transport.pause_reading()

    def _is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    def _whole_body(self) -> bytes:
        if len(self._body) == 1 and isinstance(self._body[0], bytes):
            return self._body[0]
        return b"".join(self._body)

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > _MOST_HEAD_BYTES:
            raise _HeadTooLargeError

    def _go_on(self, expected: bytes) -> None:
        if expected.lower() == b"100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- answering ---

    async def _answer_all(self, request: Request, answer: Response | Awaitable[Response]) -> None:
        while True:
            response = answer if isinstance(answer, Response) else await answer
            if not self._send(request, response) or not self._waiting:
                return
            request = self._waiting.popleft()
            if self._transport and len(self._waiting) <= _READ_AHEAD:
                self._transport.resume_reading()
            answer = self._handle(request)

    def _send(self, request: Request, response: Response) -> bool:
        """Write an answer; whether the connection stays open."""
        if self._transport is None:
            return False
        keep_alive = request.keep_alive and (bool(self._waiting) or not self._closing)
        content = response.encoded(keep_alive=keep_alive)
        if request.method == "HEAD":  # its answer tells a body's length, and has none
            content = content[: len(content) - len(response.body)]
        self._transport.write(content)
        if not keep_alive:
            self._transport.close()
        return keep_alive

    async def drain(self) -> None:
        """Answer what was asked, then close."""
        self._closing = True
        if self._task is not None and not self._task.done():
            await self._task
        if self._transport is not None:
            self._transport.close()

    def _refuse(self, status: int) -> None:
        self._closing = True
        if self._transport and (self._task is None or self._task.done()):
            self._transport.write(Response(status).encoded(keep_alive=False))
            self._transport.close()


def inflated(body: bytes) -> bytes:
    """A gzip body without its compression, nothing where that fails or is too large."""
    try:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        content = inflater.decompress(body, MOST_BODY_BYTES)
    except zlib.error:
        return b""
    return b"" if inflater.unconsumed_tail or not inflater.eof else content
