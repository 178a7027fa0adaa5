"""A model server that speaks HTTP and HTTP/2 by hand, so that it can get anything wrong.

It serves half_plus_two for one request, `{"instances": [1.0, 2.0, 5.0]}`, over REST or over gRPC. Some of its
answers to predict requests are of one of ``KINDS``: what a kind does is a function of that name.
"""

from __future__ import annotations

import gzip
import json
import socket
import socketserver
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from hpack import Decoder

from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto
from pytest_tfserving.protocols.http2 import frame, header_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message
    from numpy.typing import ArrayLike

BODY = b'{"predictions": [2.5, 3.0, 4.5]}'
# A lone surrogate, a colour, a window's title, NUL, a mention, a link, a mark that turns writing, a backtick.
NASTY = "\ud800\x1b[31mred\x1b]0;pwned\x07\x00 @octocat https://evil.invalid \u202e`x` |"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ENDS_STREAM, ENDS_HEADERS, ACK = 1, 4, 1
_PADDED, _PRIORITY = 8, 32
_FRAME_HEAD = struct.Struct(">BHBBI")
_PREFACE_BYTES = 24
# How often a byte comes of an answer that comes byte by byte.
_DRIP_S = 0.05
_PART_BYTES = 1 << 16
# Frames of 16 KB that are more than a small answer may have.
_MANY = 100


class Peer(socketserver.BaseRequestHandler):
    """One connection."""

    server: Any

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def handle(self) -> None:
        with suppress(OSError, EOFError):
            self.serve()

    def serve(self) -> None:
        """Answer requests until the client goes."""
        raise NotImplementedError

    def take(self, size: int) -> bytes:
        """Return the next bytes of the client."""
        while len(self.received) < size:
            self._receive()
        found, self.received = self.received[:size], self.received[size:]
        return found

    def take_to(self, mark: bytes) -> bytes:
        """Return what the client sends up to a mark, and the mark."""
        while mark not in self.received:
            self._receive()
        return self.take(self.received.index(mark) + len(mark))

    def send(self, *parts: bytes) -> None:
        """Send bytes."""
        self.request.sendall(b"".join(parts))

    def close(self) -> NoReturn:
        """End the connection, and read no more of it."""
        with suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)
        raise EOFError

    def reset(self) -> None:
        """Break the connection off."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.request.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Return whether the server is still to serve after so long, or until its end."""
        ended: threading.Event = self.server.ended
        return not ended.wait(seconds)

    def _receive(self) -> None:
        part = self.request.recv(_PART_BYTES)
        if not part:
            raise EOFError
        self.received += part


# --- REST ---------------------------------------------------------------------------------------------


class RestPeer(Peer):
    """One connection over HTTP."""

    def serve(self) -> None:
        while True:
            head = self.take_to(b"\r\n\r\n").lower()
            _, found, length = head.partition(b"content-length: ")
            if found:
                self.take(int(length.split()[0]))
            if head.startswith(b"get"):
                self.answer(b'{"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}')
            else:
                self.server.odd.predict(self)

    def right(self) -> None:
        """Answer as half_plus_two does."""
        self.answer(BODY)

    def answer(self, body: bytes, status: int = 200, *headers: str, version: str = "1.1") -> None:
        """Answer with a body and its length."""
        fields = "".join(f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}"))
        self.send(f"HTTP/{version} {status} -\r\n{fields}\r\n".encode(), body)


def http_500(peer: RestPeer) -> None:
    peer.answer(json.dumps({"error": NASTY}).encode(), 500)


def sheds_load(peer: RestPeer) -> None:
    peer.answer(b'{"error": "queue is full"}', 503, "Retry-After: 1")


def error_inside(peer: RestPeer) -> None:
    peer.answer(b'{"error": "out of memory"}')


def not_json(peer: RestPeer) -> None:
    peer.answer(b"<html>")


def not_utf8(peer: RestPeer) -> None:
    peer.answer(b'{"predictions": ["\xff\xfe"]}')


def nested(peer: RestPeer) -> None:
    peer.answer(b'{"predictions": ' + b"[" * 20_000 + b"]" * 20_000 + b"}")


def nulls(peer: RestPeer) -> None:
    peer.answer(b'{"predictions": [null, null, null]}')


def texts(peer: RestPeer) -> None:
    peer.answer(b'{"predictions": ["2.5", "3.0", "4.5"]}')


def too_deep_a_row(peer: RestPeer) -> None:
    peer.answer(b'{"predictions": [[2.5], [3.0], [4.5]]}')


def missing_row(peer: RestPeer) -> None:
    peer.answer(b'{"predictions": [2.5, 3.0]}')


def huge_number(peer: RestPeer) -> None:
    peer.answer(b'{"predictions": [2.5, 3.0, ' + b"9" * 5_000 + b"]}")


def length_too_long(peer: RestPeer) -> None:
    peer.send(b"HTTP/1.1 200 -\r\nContent-Length: 999\r\n\r\n", BODY)
    peer.close()


def length_too_short(peer: RestPeer) -> None:
    peer.send(b"HTTP/1.1 200 -\r\nContent-Length: 9\r\n\r\n", BODY)


def two_lengths(peer: RestPeer) -> None:
    peer.answer(BODY, 200, "Content-Length: 3")


def bad_chunks(peer: RestPeer) -> None:
    peer.send(b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", BODY)


def no_length_and_cut(peer: RestPeer) -> None:
    peer.send(b"HTTP/1.0 200 -\r\n\r\n", BODY[:-5])
    peer.close()


def two_answers(peer: RestPeer) -> None:
    # In one piece: one that comes while the next request is sent cannot be told from that one's answer.
    peer.send((f"HTTP/1.1 200 -\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY) * 2)


def other_protocol(peer: RestPeer) -> None:
    peer.send(b"HTTP/1.1 101 -\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")


def only_announced(peer: RestPeer) -> None:
    with suppress(OSError):
        while peer.wait(0):
            peer.send(b"HTTP/1.1 103 -\r\nLink: <x>\r\n\r\n" * 1_000)


def endless_headers(peer: RestPeer) -> None:
    peer.send(b"HTTP/1.1 200 -\r\n")
    with suppress(OSError):
        while peer.wait(0):
            peer.send(b"X-More: and more\r\n" * 1_000)


def endless_body(peer: RestPeer) -> None:
    peer.send(b"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n")
    with suppress(OSError):
        while peer.wait(0):
            peer.send(b"1000\r\n" + b" " * 4096 + b"\r\n")


def compressed_bomb(peer: RestPeer) -> None:
    peer.answer(gzip.compress(bytes(20 << 20)), 200, "Content-Encoding: gzip")


def no_http(peer: RestPeer) -> None:
    peer.send(b"\x00\x01\x02 what?\r\n\r\n")


def nothing(peer: Peer) -> None:
    """Leave the request without an answer, and the connection open."""


def byte_by_byte(peer: RestPeer) -> None:
    peer.send(b"HTTP/1.1 200 -\r\nContent-Length: 999\r\n\r\n")
    with suppress(OSError):
        while peer.wait(_DRIP_S):
            peer.send(b" ")


def closes(peer: Peer) -> None:
    peer.close()


def resets(peer: Peer) -> None:
    peer.reset()


REST_KINDS: dict[str, Callable[[Any], None]] = {
    each.__name__: each
    for each in (
        *(http_500, sheds_load, error_inside, not_json, not_utf8, nested, nulls, texts, too_deep_a_row),
        *(missing_row, huge_number, length_too_long, length_too_short, two_lengths, bad_chunks),
        *(no_length_and_cut, two_answers, other_protocol, only_announced, endless_headers, endless_body),
        *(compressed_bomb, no_http, nothing, byte_by_byte, closes, resets),
    )
}


# --- gRPC ---------------------------------------------------------------------------------------------


def predict_response(values: ArrayLike = (2.5, 3.0, 4.5), alias: str = "y") -> Message:
    """Return the message of an answer."""
    found = message("tensorflow.serving.PredictResponse")()
    fill_proto(found.outputs[alias], np.asarray(values, np.float32), as_content=False)
    return found


def prefixed(content: bytes, size: int | None = None, compressed: int = 0) -> bytes:
    """Return a message as gRPC sends it."""
    return bytes([compressed]) + (len(content) if size is None else size).to_bytes(4, "big") + content


class GrpcPeer(Peer):
    """One connection over HTTP/2."""

    def serve(self) -> None:
        self.take(_PREFACE_BYTES)
        self.send(frame(SETTINGS, 0, 0, b""))
        self._paths: dict[int, str] = {}
        self._decoder = Decoder()
        while True:
            high, low, kind, flags, stream = _FRAME_HEAD.unpack(self.take(_FRAME_HEAD.size))
            self._use(kind, flags, stream, self.take(high << 16 | low))

    def _use(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS:
            block = payload[5 if flags & _PRIORITY else 0 :]
            headers: Any = self._decoder.decode(block)
            self._paths[stream] = dict(headers)[":path"]
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self.send(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == DATA and payload:
            self.send(frame(WINDOW_UPDATE, 0, 0, len(payload).to_bytes(4, "big")))
        if kind in (HEADERS, DATA) and flags & ENDS_STREAM:
            self.stream = stream
            self._ask(self._paths.pop(stream))

    def _ask(self, path: str) -> None:
        if path.endswith("/Predict"):
            self.server.odd.predict(self)
        elif path.endswith("/GetModelStatus"):
            status = message("tensorflow.serving.GetModelStatusResponse")()
            status.model_version_status.add(version=1, state=30)
            self.answer(status.SerializeToString())
        else:
            self.answer(_metadata())

    def right(self) -> None:
        """Answer as half_plus_two does."""
        self.answer(predict_response().SerializeToString())

    def answer(self, content: bytes) -> None:
        """Answer with a message."""
        self.begin()
        self.data(prefixed(content))
        self.end()

    def begin(self, *headers: tuple[str, str]) -> None:
        """Send the headers of an answer."""
        block = header_block([(":status", "200"), ("content-type", "application/grpc"), *headers])
        self.send(frame(HEADERS, ENDS_HEADERS, self.stream, block))

    def data(self, content: bytes) -> None:
        """Send a part of an answer."""
        self.send(frame(DATA, 0, self.stream, content))

    def end(self, *trailers: tuple[str, str]) -> None:
        """End an answer, well unless ``trailers`` say something else."""
        block = header_block(trailers or [("grpc-status", "0")])
        self.send(frame(HEADERS, ENDS_HEADERS | ENDS_STREAM, self.stream, block))


def _metadata() -> bytes:
    signatures = message("tensorflow.serving.SignatureDefMap")()
    signature = signatures.signature_def["serving_default"]
    signature.inputs["x"].dtype = signature.outputs["y"].dtype = 1
    found = message("tensorflow.serving.GetModelMetadataResponse")()
    found.metadata["signature_def"].Pack(signatures)
    content: bytes = found.SerializeToString()
    return content


def grpc_error(peer: GrpcPeer) -> None:
    peer.begin()
    peer.end(("grpc-status", "13"), ("grpc-message", "%1B[31mred @octocat %ED%A0%80%00"))


def no_status(peer: GrpcPeer) -> None:
    peer.begin()
    peer.data(prefixed(predict_response().SerializeToString()))
    peer.end(("x", "y"))


def odd_status(peer: GrpcPeer) -> None:
    peer.begin()
    peer.end(("grpc-status", "-1"))


def two_statuses(peer: GrpcPeer) -> None:
    peer.begin()
    peer.data(prefixed(predict_response().SerializeToString()))
    peer.end(("grpc-status", "14"), ("grpc-status", "0"))


def message_cut(peer: GrpcPeer) -> None:
    content = predict_response().SerializeToString()
    peer.answer(content[:-6])


def message_too_long(peer: GrpcPeer) -> None:
    peer.begin()
    peer.data(prefixed(predict_response().SerializeToString(), size=9_999))
    peer.end()


def two_messages(peer: GrpcPeer) -> None:
    peer.begin()
    peer.data(prefixed(predict_response().SerializeToString()) * 2)
    peer.end()


def compressed(peer: GrpcPeer) -> None:
    peer.begin()
    peer.data(prefixed(predict_response().SerializeToString(), compressed=1))
    peer.end()


def no_message(peer: GrpcPeer) -> None:
    peer.answer(b"\xff" * 20)


def no_outputs(peer: GrpcPeer) -> None:
    peer.answer(b"")


def tensor_bomb(peer: GrpcPeer) -> None:
    found = predict_response()
    found.outputs["y"].tensor_shape.dim[0].size = 1 << 24
    peer.answer(found.SerializeToString())


def missing_value(peer: GrpcPeer) -> None:
    peer.answer(predict_response((2.5, 3.0)).SerializeToString())


def endless_message(peer: GrpcPeer) -> None:
    """Send more than a client takes, and no end, on a connection that others may go on with."""
    peer.begin()
    for _ in range(_MANY):
        peer.data(bytes(16_384))


def endless_trailers(peer: GrpcPeer) -> None:
    peer.send(frame(HEADERS, 0, peer.stream, b""))
    with suppress(OSError):
        while peer.wait(0):
            peer.send(frame(CONTINUATION, 0, peer.stream, b"\x00\x01a\x01b" * 200))


def frame_too_large(peer: GrpcPeer) -> None:
    peer.send(b"\xff\xff\xff\x00\x00", peer.stream.to_bytes(4, "big"), bytes(1_000))


def bad_headers(peer: GrpcPeer) -> None:
    peer.send(frame(HEADERS, ENDS_HEADERS | ENDS_STREAM, peer.stream, b"\xff" * 8))


def stream_reset(peer: GrpcPeer) -> None:
    peer.send(frame(RST_STREAM, 0, peer.stream, b"\x00\x00\x00\x02"))


def goes_away(peer: GrpcPeer) -> None:
    last = peer.stream.to_bytes(4, "big")
    peer.send(frame(GOAWAY, 0, 0, last + b"\x00\x00\x00\x0b" + NASTY.encode(errors="replace")))
    peer.close()


GRPC_KINDS: dict[str, Callable[[Any], None]] = {
    each.__name__: each
    for each in (
        *(grpc_error, no_status, odd_status, two_statuses, message_cut, message_too_long, two_messages),
        *(compressed, no_message, no_outputs, tensor_bomb, missing_value, endless_message, endless_trailers),
        *(frame_too_large, bad_headers, stream_reset, goes_away, nothing, closes, resets),
    )
}
KINDS = {"rest": REST_KINDS, "grpc": GRPC_KINDS}


# --- the server ---------------------------------------------------------------------------------------


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    odd: OddServer
    ended: threading.Event


class OddServer:
    """The server, in threads of this process, inside of this context.

    ``misbehave`` answers the predict requests that are to be answered wrongly: every ``every``-th one when
    the first ``after`` were answered well.
    """

    def __init__(
        self, protocol: str, misbehave: Callable[[Any], None], *, after: int = 3, every: int = 1
    ) -> None:
        self.protocol = protocol
        self.predicted = 0
        self.misbehaved = 0
        self._misbehave, self._after, self._every = misbehave, after, every
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), GrpcPeer if protocol == "grpc" else RestPeer)
        self._server.odd, self._server.ended = self, threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Return its address, as ``--tfserving-url`` takes it."""
        if self.protocol == "grpc":
            return f"grpc://127.0.0.1:{self.port}/half"
        return f"http://127.0.0.1:{self.port}/v1/models/half"

    def predict(self, peer: RestPeer | GrpcPeer) -> None:
        """Answer a predict request."""
        with self._lock:
            odd = self.predicted >= self._after and (self.predicted - self._after) % self._every == 0
            self.predicted += 1
            self.misbehaved += odd
        if odd:
            self._misbehave(peer)
        else:
            peer.right()
