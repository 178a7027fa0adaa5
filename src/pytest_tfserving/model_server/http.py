"""HTTP/1.1 on asyncio, limited to what the REST API needs."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, cast

import httptools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

MOST_BODY_BYTES = 100 * 1024 * 1024
JSON = "application/json"
_MOST_HEAD_BYTES = 64 * 1024
# Smaller parts are joined: a body may come in as many parts as it has bytes.
_SMALL_PART = 16 * 1024
_READ_AHEAD = 8
_HEAD_END = b"\r\n\r\n"
# How many heads are remembered, and how long a remembered head may be, in bytes.
_MOST_KNOWN_HEADS = 256
_LONGEST_KNOWN_HEAD = 2048
# How long an answer may wait to be written together with those of other connections.
_LONGEST_WAIT_S = 0.001
# The beginning of most answers.
_JSON_HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: ".encode()


class _HeadTooLargeError(Exception):
    """A request line and headers that are larger than the limit."""


@dataclass(frozen=True)
class Head:
    """The head of a request; ``target`` is the path with its query, ``headers`` are as received."""

    method: str
    target: str
    headers: Sequence[tuple[bytes, bytes]]
    keep_alive: bool

    def header(self, name: bytes) -> str:
        """Return the last header of a lower-case name; empty if there is none."""
        found = b""
        for key, value in self.headers:
            if len(key) == len(name) and key.lower() == name:
                found = value
        return found.decode("latin-1")

    @cached_property
    def encoding(self) -> str:
        """The value of the Content-Encoding header."""
        return self.header(b"content-encoding")


class Request(NamedTuple):
    """A request."""

    head: Head
    body: bytes
    too_large: bool = False


class Response(NamedTuple):
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()

    def encoded(self, *, keep_alive: bool) -> bytes:
        """Return the answer's bytes."""
        if self.status == HTTPStatus.OK and keep_alive and not self.headers and self.content_type == JSON:
            return b"%b%d\r\n\r\n%b" % (_JSON_HEAD, len(self.body), self.body)
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Client Closed Request"
        lines = [f"HTTP/1.1 {self.status} {phrase}", f"Content-Type: {self.content_type}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(self.body)}")
        if not keep_alive:
            lines.append("Connection: close")
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
        # Clients repeat the same head, so a known head is not parsed again.
        self._heads: dict[bytes, tuple[Head, int]] = {}

    def remember(self, content: bytes, head: Head, length: int) -> None:
        """Keep a parsed head under its bytes, with the length of the body that the head announces."""
        if len(content) > _LONGEST_KNOWN_HEAD:
            return
        if len(self._heads) >= _MOST_KNOWN_HEADS:
            self._heads.clear()
        self._heads[content] = head, length

    def known(self, data: bytes) -> Request | None:
        """Return the request in ``data`` if ``data`` is one whole request with a known head, else None."""
        end = data.find(_HEAD_END) + len(_HEAD_END)
        found = self._heads.get(data[:end])
        if found is None or len(data) - end != found[1]:
            return None
        return Request(found[0], data[end:])

    async def drain(self) -> None:
        """Answer the requests so far, then close."""
        await asyncio.gather(*(connection.drain() for connection in list(self.open)))


class HttpProtocol(asyncio.Protocol):
    """A connection, whose requests are answered one after the other, in their order."""

    def __init__(
        self, handle: Callable[[Request], Response | Awaitable[Response]], connections: Connections
    ) -> None:
        self._handle = handle
        self._connections = connections
        self._outbox = connections.outbox
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
        # Whether a request is incomplete; the last whole request; the number of whole requests.
        self._in_request = False
        self._last: Request | None = None
        self._parsed = 0

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
        if self._in_request or self._closing:
            self._parse(data)
        elif (request := self._connections.known(data)) is not None:
            self._take(request)
        else:
            before = self._parsed
            self._parse(data)
            if self._parsed == before + 1 and not self._in_request:
                self._learn(data)

    def eof_received(self) -> bool:
        """Answer the requests that came before the client closed its end of the connection."""
        self._closing = True
        return self._is_busy()

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            self._refuse(400)

    def _learn(self, data: bytes) -> None:
        """Remember the head of ``data``, one whole request."""
        end = data.find(_HEAD_END) + len(_HEAD_END)
        request, self._last = self._last, None
        if self._closing or request is None or len(data) - end != len(request.body):
            return
        if request.head.keep_alive and not request.head.header(b"expect"):
            self._connections.remember(data[:end], request.head, len(request.body))

    # --- the parser's calls ---

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._target, self._headers, self._body = [], [], []
        self._head_size = self._size = 0
        self._in_request = True

    def on_url(self, url: bytes) -> None:
        """Keep a part of the target."""
        self._target.append(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; answer ``Expect: 100-continue``."""
        self._count_head(len(name) + len(value))
        self._headers.append((name, value))
        if len(name) == len(b"expect") and name.lower() == b"expect":
            self._go_on(value)

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, up to the limit."""
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
        """Answer the request once the requests before it are answered."""
        head = Head(
            self._parser.get_method().decode("latin-1"),
            b"".join(self._target).decode("latin-1"),
            self._headers,
            self._parser.should_keep_alive(),
        )
        request = Request(head, self._whole_body(), self._size > MOST_BODY_BYTES)
        self._body = []
        self._in_request, self._last = False, request
        self._parsed += 1
        self._take(request)

    def _take(self, request: Request) -> None:
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
            self._outbox.flush()
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
        """Write an answer; return whether the connection stays open."""
        if self._transport is None:
            return False
        keep_alive = request.head.keep_alive and (bool(self._waiting) or not self._closing)
        content = response.encoded(keep_alive=keep_alive)
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

    def _refuse(self, status: int) -> None:
        self._closing = True
        if self._transport and not self._is_busy():
            self._outbox.put(self._transport, Response(status).encoded(keep_alive=False))
            self._close()


def inflated(body: bytes) -> bytes:
    """Return a gzip body decompressed; empty if the body is invalid or too large."""
    try:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        content = inflater.decompress(body, MOST_BODY_BYTES)
    except zlib.error:
        return b""
    return b"" if inflater.unconsumed_tail or not inflater.eof else content
