"""HTTP/2 connection (RFC 9113) with only what unary gRPC calls with prebuilt requests need."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import gevent
import gevent.lock
from gevent.event import Event
from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple

from pytest_tfserving.protocols.reading import MOST_BYTES, unreadable
from pytest_tfserving.protocols.transport import (
    READ_BYTES,
    ExchangeError,
    NotTakenError,
    connected,
    described,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ssl import SSLContext

    from gevent.socket import socket

    from pytest_tfserving.protocols.transport import PlainStream

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    0,
    1,
    3,
    4,
    6,
    7,
    8,
    9,
)
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_TABLE_SIZE, _ENABLE_PUSH, _MOST_STREAMS, _INITIAL_WINDOW, _FRAME_SIZE = 1, 2, 3, 4, 5
_REFUSED, _CANCEL = 7, 8
_FRAME_BYTES = 9
_DEFAULT_WINDOW = 65_535
_DEFAULT_FRAME = 16_384
_LARGEST_FRAME = 1 << 20
# The limit that hpack has for headers.
_LARGEST_BLOCK = 1 << 16
_LARGEST_WINDOW = 2**31 - 1
_REFILL_AT = 2**30
_LAST_STREAM = 2**31 - 1
_BLOCKS_REMEMBERED = 64
_HEAD = struct.Struct(">BHBBI")  # the length in 24 bits, the type, flags, the stream
_SETTING = struct.Struct(">HI")
_NUMBER = struct.Struct(">I")
_GOAWAY_HEAD = struct.Struct(">II")
# The server must compress headers without a dynamic table, so that equal headers make equal blocks.
_PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    {_TABLE_SIZE: 0, _ENABLE_PUSH: 0, _INITIAL_WINDOW: _LARGEST_WINDOW, _FRAME_SIZE: _LARGEST_FRAME},
)

Headers = tuple[tuple[bytes, bytes], ...]


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview) -> bytes:
    """Return a frame."""
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def header_block(headers: Sequence[tuple[str, str]]) -> bytes:
    """Return headers, compressed without the dynamic table, so that one block serves all requests."""
    encoder = Encoder()
    block: bytes = encoder.encode([NeverIndexedHeaderTuple(name, value) for name, value in headers])
    return block


@dataclass(slots=True)
class PendingCall:
    """A request under way, and its response.

    Attributes:
        window: how many bytes may still be sent on the stream.
        stream: the id of the stream; 0 before the request is sent.
        headers: the response's headers; empty before they came.
        trailers: the response's trailers; empty before they came.
        body: the parts of the body so far.
        received: the bytes received so far.
        error: the cause of the failure; empty without one.
        taken: False if the server says that it has not begun to process the request.
        done: set at the end of the call.
    """

    window: int
    stream: int = 0
    headers: Headers = ()
    trailers: Headers = ()
    body: list[bytes] = field(default_factory=list)
    received: int = 0
    error: str = ""
    taken: bool = True
    done: Event = field(default_factory=Event)

    def finish(self, error: str = "", *, taken: bool = True) -> None:
        """End the call, and wake the user that waits for it."""
        self.error, self.taken = error, taken
        self.done.set()


class Http2Connection:
    """Connection that many calls share, until ``usable`` is false.

    A call whose response has more than ``most_bytes`` is cancelled.
    """

    def __init__(
        self, host: str, port: int, *, tls: SSLContext | None = None, most_bytes: int = MOST_BYTES
    ) -> None:
        self._stream: PlainStream | socket = connected(host, port, tls)
        self._most_bytes = most_bytes
        self._writing = gevent.lock.Semaphore()
        self._changed = Event()
        self._calls: dict[int, PendingCall] = {}
        self._next_stream = 1
        self._window = _DEFAULT_WINDOW
        self._first_window = _DEFAULT_WINDOW
        self._frame_size = _DEFAULT_FRAME
        self._most_calls = 0  # until the server has sent its settings
        self._received = 0
        self._unread = bytearray()
        self._block: tuple[int, int, bytes] | None = None
        self._decoder = Decoder()
        self._decoded: dict[bytes, Headers] = {}
        self._greeted = False
        self.usable = True
        self._retired = False
        self._closed = False
        self._cause = ""
        preface, settings = _PREFACE
        values = b"".join(_SETTING.pack(*each) for each in settings.items())
        more = _NUMBER.pack(_LARGEST_WINDOW - _DEFAULT_WINDOW)
        self._write(preface + frame(_SETTINGS, 0, 0, values) + frame(_WINDOW_UPDATE, 0, 0, more))
        gevent.spawn(self._read)

    def call(self, block: bytes, body: bytes | memoryview, call: PendingCall | None = None) -> PendingCall:
        """Send a request and wait for its response.

        Args:
            block: the compressed headers.
            body: the request's body.
            call: the object that gets the response; a new one by default.

        Raises:
            ExchangeError: if no whole response comes; its text is the cause.
            NotTakenError: if the server has certainly not begun to process the request.
        """
        call = call or PendingCall(0)
        self._begin(call)
        try:
            self._send(call, block, body)
            call.done.wait()
        finally:
            self._calls.pop(call.stream, None)
            self._changed.set()
        if call.error:
            raise (ExchangeError if call.taken else NotTakenError)(call.error)
        return call

    def cancel(self, call: PendingCall, cause: str) -> None:
        """End a call under way, which fails with ``cause``; later frames of the call are ignored."""
        if self._calls.get(call.stream) is call:
            self._try_to_write(frame(_RST_STREAM, 0, call.stream, _NUMBER.pack(_CANCEL)))
            self._finish(call.stream, cause)
        elif not call.done.is_set():
            call.finish(cause)
            self._changed.set()

    def close(self, cause: str = "connection closed") -> None:
        """Close the connection; calls under way fail with ``cause``."""
        if self._closed:
            return
        self._closed, self.usable, self._cause = True, False, cause
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.finish(cause)
        self._changed.set()
        self._stream.close()

    # --- sending ---

    def _begin(self, call: PendingCall) -> None:
        while self.usable and not call.error and len(self._calls) >= self._most_calls:
            self._wait_for_a_change(call)
        if call.error:
            raise ExchangeError(call.error)
        if not self.usable:
            raise (NotTakenError if self._retired else ExchangeError)(self._cause)
        call.stream, call.window = self._next_stream, self._first_window
        self._next_stream += 2
        if self._next_stream >= _LAST_STREAM:
            self._retire("a connection has no more streams")
        self._calls[call.stream] = call

    def _send(self, call: PendingCall, block: bytes, body: bytes | memoryview) -> None:
        head = frame(_HEADERS, _END_HEADERS, call.stream, block)
        size = len(body)
        if size <= min(self._frame_size, self._window, call.window):
            self._window -= size
            self._write(head + frame(_DATA, _END_STREAM, call.stream, body))
            return
        self._write(head)
        sent = 0
        while sent < size and not call.done.is_set():
            room = min(self._frame_size, self._window, call.window, size - sent)
            if room <= 0:
                self._wait_for_a_change(call)
                continue
            self._window -= room
            call.window -= room
            flags = _END_STREAM if sent + room == size else 0
            self._write(frame(_DATA, flags, call.stream, body[sent : sent + room]))
            sent += room

    def _wait_for_a_change(self, call: PendingCall) -> None:
        self._changed.clear()
        if not call.done.is_set():
            self._changed.wait()

    def _write(self, data: bytes) -> None:
        try:
            with self._writing:
                self._stream.sendall(data)
        except OSError as error:
            self.close(described(error))
            raise ExchangeError(described(error)) from None

    def _try_to_write(self, data: bytes) -> None:
        """Write in another greenlet; the reader notices a broken connection."""
        gevent.spawn(self._write_quietly, data)

    def _write_quietly(self, data: bytes) -> None:
        try:
            self._write(data)
        except ExchangeError:
            return

    # --- receiving ---

    def _read(self) -> None:
        cause = ""
        try:
            while data := self._stream.recv(READ_BYTES):
                self._unread += data
                self._take_frames()
        except ExchangeError as error:
            cause = str(error)
        except OSError as error:
            cause = described(error)
        except HPACKError as error:
            cause = f"not an HTTP/2 response: {error}"
        except (IndexError, struct.error):
            cause = "not an HTTP/2 response: a frame is cut off"
        except Exception as error:  # noqa: BLE001 - whatever a server sends, its calls end
            cause = unreadable(error)
        self.close(cause or "connection closed after no response")

    def _take_frames(self) -> None:
        unread, start = self._unread, 0
        while len(unread) - start >= _FRAME_BYTES:
            high, low, kind, flags, stream = _HEAD.unpack_from(unread, start)
            size = high << 16 | low
            if not self._greeted and kind != _SETTINGS:
                raise ExchangeError("not an HTTP/2 server: it answers something else")
            if size > _LARGEST_FRAME:
                raise ExchangeError(f"not an HTTP/2 response: a frame of {size} bytes")
            if len(unread) - start - _FRAME_BYTES < size:
                break
            start += _FRAME_BYTES
            self._take(kind, flags, stream & _LARGEST_WINDOW, bytes(unread[start : start + size]))
            start += size
        if start:
            del unread[:start]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take_data(flags, stream, payload)
        elif kind == _HEADERS:
            block = _without_padding(flags, payload)[5 if flags & _PRIORITY else 0 :]
            self._take_block(flags, stream, flags, block)
        elif kind == _CONTINUATION and self._block:
            of, first_flags, begun = self._block
            self._take_block(flags, of, first_flags, begun + payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._take_settings(payload)
        elif kind == _WINDOW_UPDATE:
            self._take_window(stream, _NUMBER.unpack(payload)[0] & _LARGEST_WINDOW)
        elif kind == _PING and not flags & _ACK:
            self._try_to_write(frame(_PING, _ACK, 0, payload))
        elif kind == _RST_STREAM:
            code = _NUMBER.unpack(payload)[0]
            self._finish(stream, f"stream reset by the server, HTTP/2 error {code}", taken=code != _REFUSED)
        elif kind == _GOAWAY:
            self._take_goaway(payload)

    def _take_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received > _REFILL_AT:
            self._try_to_write(frame(_WINDOW_UPDATE, 0, 0, _NUMBER.pack(self._received)))
            self._received = 0
        if not (call := self._calls.get(stream)):
            return
        call.body.append(_without_padding(flags, payload))
        call.received += _FRAME_BYTES + len(payload)
        if call.received > self._most_bytes:
            self.cancel(call, f"the response is larger than {self._most_bytes} bytes")
        elif flags & _END_STREAM:
            self._finish(stream)

    def _take_block(self, flags: int, stream: int, first_flags: int, block: bytes) -> None:
        if not flags & _END_HEADERS:
            if len(block) > _LARGEST_BLOCK:
                raise ExchangeError("not an HTTP/2 response: headers without end")
            self._block = (stream, first_flags, block)
            return
        self._block = None
        headers = self._decoded.get(block) or self._decode(block)
        if not (call := self._calls.get(stream)):
            return
        if call.headers:
            call.trailers = headers
        else:
            call.headers = headers
        if first_flags & _END_STREAM:
            call.trailers = call.trailers or headers
            self._finish(stream)

    def _decode(self, block: bytes) -> Headers:
        headers = tuple((bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True))
        # A block has a fixed meaning only while the dynamic table is empty.
        if not self._decoder.header_table.dynamic_entries and len(self._decoded) < _BLOCKS_REMEMBERED:
            self._decoded[block] = headers
        return headers

    def _take_settings(self, payload: bytes) -> None:
        self._greeted = True
        gevent.spawn(self._agree_to, dict(_SETTING.iter_unpack(payload)))

    def _agree_to(self, settings: dict[int, int]) -> None:
        """Acknowledge the server's settings, then use them: the server applies them at the same time."""
        self._write_quietly(frame(_SETTINGS, _ACK, 0, b""))
        window = settings.get(_INITIAL_WINDOW, self._first_window)
        for call in self._calls.values():
            call.window += window - self._first_window
        self._first_window = window
        self._frame_size = min(settings.get(_FRAME_SIZE, self._frame_size), _LARGEST_FRAME)
        self._most_calls = settings.get(_MOST_STREAMS, self._most_calls or _LARGEST_WINDOW)
        self._changed.set()

    def _take_window(self, stream: int, more: int) -> None:
        if not stream:
            self._window += more
        elif call := self._calls.get(stream):
            call.window += more
        self._changed.set()

    def _take_goaway(self, payload: bytes) -> None:
        """Begin no more calls, and end the calls that the server will not process."""
        last, code = _GOAWAY_HEAD.unpack_from(payload)
        text = payload[_GOAWAY_HEAD.size :].decode(errors="replace")
        why = f", HTTP/2 error {code}" + (f": {text}" if text else "") if code else ""
        self._retire(f"the server is going away{why}")
        for stream in [each for each in self._calls if each > last & _LARGEST_WINDOW]:
            self._finish(stream, self._cause, taken=False)

    def _retire(self, cause: str) -> None:
        """Begin no more calls, because of ``cause``; calls under way go on."""
        self.usable, self._retired, self._cause = False, True, cause
        self._changed.set()

    def _finish(self, stream: int, error: str = "", *, taken: bool = True) -> None:
        """End a call under way; later frames of the call are ignored."""
        if call := self._calls.pop(stream, None):
            call.finish(error, taken=taken)
            self._changed.set()


def _without_padding(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    end = len(payload) - payload[0]
    if end < 1:
        raise ExchangeError("not an HTTP/2 response: a frame of padding alone")
    return payload[1:end]
