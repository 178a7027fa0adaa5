"""The reader of HTTP requests beside libevent, whose server TF Serving uses, on generated requests.

`HTTP_REQUESTS` in the environment is their number.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import until
from pytest_tfserving.model_server.http_requests import HttpError, KnownHeads, RequestReader
from server_process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("libevent")

COUNT = int(os.environ.get("HTTP_REQUESTS", "500"))
LAST = b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n"
REFUSED = "refused"
ODD = (*(bytes([sign]) for sign in b'"<>[]{}|\\^`%'), b"%4", b"%zz", b"\xc3\xa4", b"##", b"?#?#")


class Requests:
    """A source of requests, most of them right."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self) -> bytes:
        return b"".join(self.request() for _ in range(self.random.randint(1, 3))) + LAST

    def request(self) -> bytes:
        pick = self.random.choice
        end = pick([b"\r\n"] * 4 + [b"\n"])
        method = pick([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"] * 5 + [b"get", b"FOO"])
        version = pick(
            [b"HTTP/1.1"] * 20 + [b"HTTP/1.0"] * 3 + [b"HTTP/2.0", b"http/1.1", b"HTTP/11", b"HTTP/a.b"]
        )
        headers, body = self.content(end) if method in (b"POST", b"PUT", b"PATCH") else ([], b"")
        headers += [self.header(end) for _ in range(self.random.randrange(4))]
        self.random.shuffle(headers)
        begin = pick([b""] * 40 + [b"\r\n", b"\n"])
        line = b"%b %b %b%b" % (method, self.target(), version, end)
        return begin + line + b"".join(header + end for header in headers) + end + body

    def target(self) -> bytes:
        path = self.random.choice(
            [
                *(
                    b"/v1/models/m:predict",
                    b"/",
                    b"/v1/models/a%20b",
                    b"/v1/m?x=1",
                    b"/v1/m#y",
                    b"/v1/m?x=1#y",
                ),
                *(b"/v1//m/../n", b"/v1/m?", b"/v1/m#", b"/a;b=c,d/!$&'()*+-._~@", b"/v1/m?a/?b"),
                b"/v1/m" + self.random.choice(ODD),
            ]
        )
        return self.random.choice([b""] * 6 + [b"http://h:8501", b"HTTPS://h", b"http://u@[::1]:80"]) + path

    def header(self, end: bytes) -> bytes:
        space = self.random.choice([b" ", b"", b"\t", b"   "])
        name, value = self.random.choice(
            [
                *(
                    (b"Host", b"h"),
                    (b"Accept", b"*/*"),
                    (b"A", b""),
                    (b"a-b_c!", b"\xe9 x: y"),
                    (b"Cookie", b"x" * 3000),
                ),
                *((b"Connection", each) for each in (b"close", b"keep-alive", b"Keep-Alive", b"TE, Upgrade")),
                *((b"Upgrade", each) for each in (b"h2c", b"websocket", b"")),
                *(
                    (b"HTTP2-Settings", b"AAEAAEAAAAIAAAABAAMAAABk"),
                    (b"UPGRADE", b"x"),
                    (b"B", b"1" + end + b" 2"),
                    (b"Proxy-Connection", b"Keep-Alive"),
                ),
            ]
        )
        # libevent keeps tabs, and spaces at the end, in the value.
        if name.endswith(b"Connection"):
            return name + b": " + value
        return name + b":" + space + value + self.random.choice([b"", b" "])

    def content(self, end: bytes) -> tuple[list[bytes], bytes]:
        body = self.random.randbytes(self.random.choice([0, 1, 20, 70_000]))
        if self.random.random() < 0.5:
            return [self.random.choice([b"Content-Length: %d", b"content-length:%d"]) % len(body)], body
        parts = [body[at : at + 30_000] for at in range(0, len(body), 30_000)]
        extension = self.random.choice([b"", b"", b";a=b", b" ;x"])
        size = self.random.choice([b"%x", b"%X", b"00%x"])
        chunks = b"".join(size % len(part) + extension + end + part + end for part in parts)
        trailer = self.random.choice([b"", b"", b"X: y" + end])
        name = self.random.choice([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked"])
        return [name], chunks + b"0" + end + trailer + end


@pytest.fixture(scope="module")
def oracle() -> Iterator[int]:
    """The port of libevent's server."""
    port = free_port()
    source = Path(__file__).with_name("libevent_oracle.py")
    with subprocess.Popen([sys.executable, source, str(port)], stderr=subprocess.DEVNULL) as process:
        with socket.socket() as probe:
            until(lambda: probe.connect_ex(("127.0.0.1", port)) == 0, "libevent's server")
        yield port
        process.kill()


def expected(port: int, content: bytes) -> list[object] | None:
    """What libevent finds; None if the connection was reset, which may lose answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        received = b""
        try:
            connection.sendall(content)
            while part := connection.recv(1 << 16):
                received += part
        except ConnectionError:
            return None
    answers: list[object] = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = int(fields.get(b"content-length", len(received)))
        answers.append(json.loads(received[:size]) if b" 200 " in head.split(b"\r\n")[0] else REFUSED)
        received = received[size:]
    return answers


def found(content: bytes) -> list[object]:
    """What the reader finds, up to the end of the connection."""
    answers: list[object] = []
    try:
        for request in RequestReader(KnownHeads()).read(content):
            head, body = request.head, request.content()
            answers.append([head.method, head.target, hashlib.sha256(body).hexdigest()])
            if not head.keep_alive:
                break
    except HttpError:
        answers.append(REFUSED)
    return answers


def test_requests_are_read_as_libevent_reads_them(oracle: int) -> None:
    requests, refused, lost = Requests(1), 0, 0
    for _ in range(COUNT):
        content = requests.some()
        right = expected(oracle, content)
        if right is None:
            lost += 1
            continue
        refused += REFUSED in right
        assert found(content) == right, content

    assert COUNT // 50 < refused < COUNT // 2
    assert lost < COUNT // 2
