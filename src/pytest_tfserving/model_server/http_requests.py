"""The requests in the bytes of an HTTP/1.1 connection.

httptools reads a head as soon as the head is whole. The body is counted here. So an endless head, an endless
body and an offer of another protocol are found before anything is parsed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import httptools

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_BODY_BYTES = 100 * 1024 * 1024
_MOST_HEAD_BYTES = 64 * 1024
_MOST_LINE_BYTES = 4096
_HEAD_END = b"\r\n\r\n"
# Clients of old may end lines with LF alone, as libevent allows.
_ANY_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LONGEST_HEAD_END = 4
_BARE_LF = re.compile(rb"(?<!\r)\n")
# The end of a line that goes on in the next one, which httptools refuses and libevent does not.
_FOLD = re.compile(rb"\r\n[ \t]+")
_BEGINNING = re.compile(rb"[A-Za-z-]{1,20}(?: |$)")
# An offer of another protocol, as HTTP/2. Nobody has to accept it, and httptools would end the connection.
_UPGRADE = re.compile(rb"(?<=\n)upgrade(?=:)", re.IGNORECASE)
# What clients put before the path if they ask through a proxy; and what libevent refuses from there on.
_ORIGIN = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?")
_NO_TARGET = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:@/?%#-]|%(?![0-9a-fA-F]{2})|#.*#", re.DOTALL)
# As in libevent, what comes behind a size needs a space before it.
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})(?: .*)?")
# Smaller parts are joined: a body may come in as many parts as it has bytes.
_SMALL_PART = 16 * 1024
# Larger bodies are joined later.
_LARGE_BODY_BYTES = 2**16
# How many heads are remembered, and how long a remembered head may be, in bytes.
_MOST_KNOWN_HEADS = 256
_LONGEST_KNOWN_HEAD = 2048


class HttpError(Exception):
    """A request that is refused, with the status and the body of the answer; the connection is closed."""

    def __init__(self, status: HTTPStatus, body: bytes = b"") -> None:
        super().__init__(status.phrase)
        self.status = status
        self.body = body


def _too_large() -> HttpError:
    text = f"Request body is larger than {MOST_BODY_BYTES} bytes"
    return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f'{{\n    "error": "{text}"\n}}'.encode())


@dataclass(frozen=True)
class Head:
    """The head of a request.

    Attributes:
        method: as received.
        target: the path with query and fragment.
        headers: names and values, as received.
        is_old: whether the request is one of HTTP/1.0, whose clients must be told that the connection stays.
        is_proxied: whether the target came with scheme and host, as clients send it to a proxy.
    """

    method: str
    target: str
    headers: Sequence[tuple[bytes, bytes]]
    is_old: bool
    is_proxied: bool

    def header(self, name: bytes) -> str:
        """Return the first header of a lower-case name; empty if there is none."""
        for key, value in self.headers:
            if len(key) == len(name) and key.lower() == name:
                return value.decode("latin-1")
        return ""

    @cached_property
    def keep_alive(self) -> bool:
        """True if the connection stays open after the answer, by libevent's rules."""
        wish = self.header(b"connection").lower()
        return not self.is_proxied and (wish.startswith("keep-alive") if self.is_old else wish != "close")

    @cached_property
    def encoding(self) -> str:
        """The value of the Content-Encoding header."""
        return self.header(b"content-encoding")

    @cached_property
    def body_bytes(self) -> int | None:
        """The number of bytes of the body; None if the body comes in chunks."""
        return None if self.header(b"transfer-encoding") else int(self.header(b"content-length") or 0)


class Request(NamedTuple):
    """A request; a large body has ``more`` parts, because to join them on the event loop delays others."""

    head: Head
    body: bytes
    more: Sequence[bytes] = ()

    def content(self) -> bytes:
        """Return the whole body."""
        return b"".join((self.body, *self.more)) if self.more else self.body


class KnownHeads:
    """The heads of the latest requests: clients repeat the same head, so it is not parsed again."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def get(self, content: bytes) -> Head:
        """Return the head in ``content``.

        Raises:
            HttpError: when ``content`` is no head.
        """
        head = self._heads.get(content)
        if head is None:
            head = _parsed(content)
            if len(content) <= _LONGEST_KNOWN_HEAD:
                if len(self._heads) >= _MOST_KNOWN_HEADS:
                    self._heads.clear()
                self._heads[content] = head
        return head

    def request(self, data: bytes) -> Request | None:
        """Return the request in ``data`` if ``data`` is one whole request with a known head, else None."""
        end = data.find(_HEAD_END) + len(_HEAD_END)
        head = self._heads.get(data[:end])
        if head is None or len(data) - end != head.body_bytes:
            return None
        return Request(head, data[end:])


class RequestReader:
    """The requests of one connection, read from its bytes in any parts."""

    def __init__(self, heads: KnownHeads) -> None:
        self._heads = heads
        self._pending = b""
        self._body: _Body | None = None
        self._head: Head | None = None
        self._is_asked = False

    @property
    def is_between(self) -> bool:
        """True if no request has begun."""
        return not self._pending and self._body is None

    @property
    def is_in_head(self) -> bool:
        """True if a part of a head has arrived."""
        return bool(self._pending)

    def is_asked(self) -> bool:
        """Return whether the client now waits to be asked for the body; each request is told so once."""
        asked, self._is_asked = self._is_asked and self._body is not None, False
        return asked

    def read(self, data: bytes) -> Iterator[Request]:
        """Yield the requests that ``data`` completes.

        Raises:
            HttpError: when ``data`` is no HTTP, or a head or a body is too large.
        """
        while data:
            if self._body is None:
                data = self._read_head(data)
            if self._body is None or self._head is None:
                return
            data = self._body.add(data)
            if self._body.is_whole:
                first, *more = self._body.parts()
                self._body = None
                yield Request(self._head, first, more)

    def _read_head(self, data: bytes) -> bytes:
        """Read up to the end of a head; return the rest."""
        seen = max(len(self._pending) - _LONGEST_HEAD_END, 0)
        data = self._pending + data
        found = _ANY_HEAD_END.search(data, seen)
        if (found.end() if found else len(data)) > _MOST_HEAD_BYTES or not _BEGINNING.match(data):
            raise HttpError(HTTPStatus.BAD_REQUEST)
        if found is None:
            self._pending = data
            return b""
        self._pending = b""
        self._head = self._heads.get(data[: found.end()])
        size = self._head.body_bytes
        self._body = _ChunkedBody() if size is None else _SizedBody(size)
        self._is_asked = self._head.header(b"expect").lower() == "100-continue"
        return data[found.end() :]


class _Body(ABC):
    """A body that arrives in parts."""

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray] = []
        self.is_whole = False

    @abstractmethod
    def add(self, data: bytes) -> bytes:
        """Take bytes of the body; return those behind its end."""

    def parts(self) -> Sequence[bytes]:
        """Return the body as bytes, joined unless it is large."""
        if sum(map(len, self._parts)) > _LARGE_BODY_BYTES:
            return [*map(bytes, self._parts)]
        return [b"".join(self._parts)]

    def _keep(self, part: bytes) -> None:
        if not self._parts or len(part) >= _SMALL_PART:
            self._parts.append(part)
        elif isinstance(self._parts[-1], bytearray):
            self._parts[-1] += part
        else:
            self._parts.append(bytearray(part))


class _SizedBody(_Body):
    """A body whose size the head gives."""

    def __init__(self, size: int) -> None:
        super().__init__()
        if size > MOST_BODY_BYTES:
            raise _too_large()
        self._missing = size
        self.is_whole = not size

    def add(self, data: bytes) -> bytes:
        """Take the bytes that are missing."""
        part = data[: self._missing]
        if part:
            self._keep(part)
        self._missing -= len(part)
        self.is_whole = not self._missing
        return data[len(part) :]


class _ChunkedBody(_Body):
    """A body in chunks, each behind a line with its size."""

    def __init__(self) -> None:
        super().__init__()
        self._size = 0
        self._line = b""
        # The bytes of extensions and trailers, which nobody reads.
        self._unread = 0
        # The bytes that the chunk still misses; then, whether its line end comes, or the trailer.
        self._missing = 0
        self._ends_chunk = False
        self._in_trailer = False

    def add(self, data: bytes) -> bytes:
        """Take chunks."""
        at = 0
        while at < len(data) and not self.is_whole:
            if self._missing:
                part = data[at : at + self._missing]
                self._keep(part)
                self._missing -= len(part)
                self._ends_chunk = not self._missing
                at += len(part)
            else:
                at = self._add_line(data, at)
        return data[at:]

    def _add_line(self, data: bytes, start: int) -> int:
        """Take a line of the framing, or the part of it that is there; return the place behind it."""
        end = data.find(b"\n", start)
        self._line += data[start : end if end >= 0 else len(data)]
        is_more = self._ends_chunk and self._line not in (b"", b"\r")
        if is_more or len(self._line) > _MOST_LINE_BYTES:
            raise HttpError(HTTPStatus.BAD_REQUEST)
        if end < 0:
            return len(data)
        line, self._line = self._line.removesuffix(b"\r"), b""
        self._read_line(line)
        return end + 1

    def _read_line(self, line: bytes) -> None:
        if self._in_trailer:
            self._skip(len(line))
            self.is_whole = not line
        elif self._ends_chunk:
            self._ends_chunk = False
            if line:
                raise HttpError(HTTPStatus.BAD_REQUEST)
        elif found := _CHUNK_SIZE.fullmatch(line):
            self._skip(len(line) - len(found[1]))
            self._begin_chunk(int(found[1], 16))
        else:
            raise HttpError(HTTPStatus.BAD_REQUEST)

    def _skip(self, count: int) -> None:
        self._unread += count
        if self._unread > _MOST_HEAD_BYTES:
            raise HttpError(HTTPStatus.BAD_REQUEST)

    def _begin_chunk(self, size: int) -> None:
        self._missing = size
        self._size += size
        self._in_trailer = not size
        if self._size > MOST_BODY_BYTES:
            raise _too_large()


class _HeadEvents:
    """Receiver of what httptools reports of one head."""

    def __init__(self) -> None:
        self.target: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_whole = False

    def on_url(self, url: bytes) -> None:
        """Keep a part of the target."""
        self.target.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        self.is_whole = True


def _parsed(content: bytes) -> Head:
    events = _HeadEvents()
    parser = httptools.HttpRequestParser(events)
    try:
        lines = _FOLD.sub(b" ", _BARE_LF.sub(b"\r\n", content))
        parser.feed_data(_UPGRADE.sub(b"x-offer", lines))
    except (httptools.HttpParserUpgrade, httptools.HttpParserError):
        raise HttpError(HTTPStatus.BAD_REQUEST) from None
    if not events.is_whole:
        raise HttpError(HTTPStatus.BAD_REQUEST)
    method, target = parser.get_method().decode("latin-1"), b"".join(events.target).decode("latin-1")
    version = parser.get_http_version()
    origin = _ORIGIN.match(target)
    assert origin
    path = target[origin.end() :] or "/"
    if not version.startswith("1.") or _NO_TARGET.search(path):
        raise HttpError(HTTPStatus.BAD_REQUEST)
    is_proxied = origin[0].lower().startswith(("http://", "https://"))
    return Head(method, path, events.headers, is_old=version == "1.0", is_proxied=is_proxied)
