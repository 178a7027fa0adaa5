"""HTTP/1.1 on asyncio with nothing on it that the REST API does not need."""

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
# Parts smaller than this are kept together: a body may come in as many parts as it has bytes.
_SMALL_PART = 16 * 1024
_READ_AHEAD = 8
_HEAD_END = b"\r\n\r\n"
# Heads that came before, and how long one of them may be.
_MOST_KNOWN_HEADS = 256
_LONGEST_KNOWN_HEAD = 2048
# How long an answer may wait for those of other connections.
_LONGEST_WAIT_S = 0.001
# What most answers begin with.
_JSON_HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: ".encode()


class _HeadTooLargeError(Exception):
    """More path and headers than a request needs."""


@dataclass(frozen=True)
class Head:
    """What stands before a body; ``target`` is the path with its query, ``headers`` are as they came."""

    method: str
    target: str
    headers: Sequence[tuple[bytes, bytes]]
    keep_alive: bool

    def header(self, name: bytes) -> str:
        """The last header of a lower-case name, empty where there is none."""
        found = b""
        for key, value in self.headers:
            if len(key) == len(name) and key.lower() == name:
                found = value
        return found.decode("latin-1")

    @cached_property
    def encoding(self) -> str:
        """How the body is encoded."""
        return self.header(b"content-encoding")


class Request(NamedTuple):
    """One request."""

    head: Head
    body: bytes
    too_large: bool = False


class Response(NamedTuple):
    """One answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()

    def encoded(self, *, keep_alive: bool) -> bytes:
        """The answer's bytes."""
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
    """Answers that are written together once the loop has read what came.

    A write wakes whoever waits for it, which takes longer than the write itself where that one's core sleeps:
    of answers written one after the other, mostly the first one does so.
    """

    def __init__(self) -> None:
        self._answers: list[tuple[asyncio.Transport, bytes]] = []
        self._since_s = 0.0

    def put(self, transport: asyncio.Transport, content: bytes) -> None:
        """Write soon."""
        if not self._answers:
            self._since_s = perf_counter()
            asyncio.get_running_loop().call_soon(self.flush)
        self._answers.append((transport, content))
        if perf_counter() - self._since_s > _LONGEST_WAIT_S:
            self.flush()

    def flush(self) -> None:
        """Write now."""
        answers, self._answers = self._answers, []
        for transport, content in answers:
            if not transport.is_closing():
                transport.write(content)


class Connections:
    """The open connections, and what they share."""

    def __init__(self) -> None:
        self.open: set[HttpProtocol] = set()
        self.outbox = Outbox()
        # Clients send the same head again and again: it need not be parsed each time.
        self._heads: dict[bytes, tuple[Head, int]] = {}

    def remember(self, content: bytes, head: Head, length: int) -> None:
        """Keep the head that some bytes are, and the length of the body that it announces."""
        if len(content) > _LONGEST_KNOWN_HEAD:
            return
        if len(self._heads) >= _MOST_KNOWN_HEADS:
            self._heads.clear()
        self._heads[content] = head, length

    def known(self, data: bytes) -> Request | None:
        """The request in ``data`` when that is a whole one whose head is known."""
        end = data.find(_HEAD_END) + len(_HEAD_END)
        found = self._heads.get(data[:end])
        if found is None or len(data) - end != found[1]:
            return None
        return Request(found[0], data[end:])

    async def drain(self) -> None:
        """Answer what was asked, then close."""
        await asyncio.gather(*(connection.drain() for connection in list(self.open)))


class HttpProtocol(asyncio.Protocol):
    """One connection: requests are answered one after the other, in their order."""

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
        # Whether a request has begun of which more is to come; the last whole one, and how many there were.
        self._in_request = False
        self._last: Request | None = None
        self._parsed = 0

    # --- asyncio's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; an answer under way has nowhere to go."""
        self._connections.open.discard(self)
        self._closing = True
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer what came."""
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
        """Answer what was asked before the client's end of the connection closed."""
        self._closing = True
        return self._is_busy()

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            self._refuse(400)

    def _learn(self, data: bytes) -> None:
        """Remember the head of what was one whole request."""
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
        """Write an answer; whether the connection stays open."""
        if self._transport is None:
            return False
        keep_alive = request.head.keep_alive and (bool(self._waiting) or not self._closing)
        content = response.encoded(keep_alive=keep_alive)
        if request.head.method == "HEAD":  # its answer tells a body's length, and has none
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
        """Answer what was asked, then close."""
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
    """A gzip body without its compression, nothing where that fails or is too large."""
    try:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        content = inflater.decompress(body, MOST_BODY_BYTES)
    except zlib.error:
        return b""
    return b"" if inflater.unconsumed_tail or not inflater.eof else content
