"""What one client can ask of the server: limits while a request arrives, and connections."""

from __future__ import annotations

import gzip
import select
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import until
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"POST /v1/models/kinds:predict HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MB = 2**20


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def answer_to(server: Server, parts: Iterator[bytes]) -> tuple[bytes, int]:
    """The status line of the answer, and the bytes that were sent before it came."""
    sent = 0
    with connected(server) as connection:
        for part in parts:
            connection.sendall(part)
            sent += len(part)
            if select.select([connection], [], [], 0)[0]:
                break
        return connection.recv(1 << 16).partition(b"\r\n")[0], sent


def endless(first: bytes, part: bytes) -> Iterator[bytes]:
    yield first
    for _ in range(300 * MB // len(part)):
        yield part


@pytest.mark.parametrize(
    "first",
    [
        *(b"GET /", b"GET / HTTP/1.1\r\nHost: ", b"GET / HTTP/1.1\r\nA: b\r\n"),
        *(CHUNKED + b"1;", CHUNKED + b"0\r\nA: "),
    ],
    ids=["target", "header", "headers", "chunk extension", "trailer"],
)
def test_a_line_without_an_end_is_refused(kinds: Server, first: bytes) -> None:
    part = b"A: b\r\n" * 10_000 if first.endswith(b"b\r\n") else b"a" * 60_000

    status, sent = answer_to(kinds, endless(first, part))

    assert status == b"HTTP/1.1 400 Bad Request"
    assert sent < 20 * MB
    assert kinds.predict({"instances": [1]}).status_code == 200


@pytest.mark.parametrize("length", [100 * MB + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_body_too_large_is_refused_before_it_arrives(kinds: Server, length: int) -> None:
    for head in (HEAD + b"Content-Length: %d\r\n\r\n" % length, CHUNKED + b"%x\r\n" % length):
        status, sent = answer_to(kinds, iter([head]))

        assert (status, sent) == (b"HTTP/1.1 413 Request Entity Too Large", len(head))


def test_a_client_that_asks_first_is_refused(kinds: Server) -> None:
    head = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % 2**40

    assert answer_to(kinds, iter([head]))[0] == b"HTTP/1.1 413 Request Entity Too Large"


@pytest.mark.parametrize("size", [b"2" * 20, b"-1", b"0x1", b"", b"g", b"1 1"])
def test_chunks_without_a_size(kinds: Server, size: bytes) -> None:
    assert answer_to(kinds, iter([CHUNKED + size + b"\r\n"]))[0] == b"HTTP/1.1 400 Bad Request"


def test_a_chunk_without_an_end(kinds: Server) -> None:
    assert answer_to(kinds, iter([CHUNKED + b"1\r\nab"]))[0] == b"HTTP/1.1 400 Bad Request"


def test_chunks_without_an_end(kinds: Server) -> None:
    status, sent = answer_to(kinds, endless(CHUNKED, b"%x\r\n%b\r\n" % (MB, bytes(MB))))

    assert status == b"HTTP/1.1 413 Request Entity Too Large"
    assert 100 * MB < sent < 150 * MB


@pytest.mark.parametrize(
    "begun",
    [b"", b"POST /v1", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{", CHUNKED + b"5\r\nab", b"\r\n"],
    ids=["nothing", "half a line", "half a head", "half a body", "half a chunk", "no line"],
)
def test_clients_that_wait_are_not_waited_for(models: Path, begun: bytes) -> None:
    with Server("kinds", models / "kinds", "--rest_api_idle_timeout_in_ms=300") as server:
        with connected(server) as connection:
            connection.sendall(begun)
            assert connection.recv(1) == b""
        assert server.predict({"instances": [1]}).status_code == 200


def test_a_run_is_waited_for(models: Path, tmp_path: Path) -> None:
    held = tmp_path / "held"
    body = b'{"signature_name": "hold", "inputs": ["%s"]}' % str(held).encode()
    flag = "--rest_api_idle_timeout_in_ms=300"
    with Server("kinds", models / "kinds", flag) as server, connected(server) as busy:
        busy.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until(held.with_suffix(".arrived").exists, "the run")
        for _ in range(2):
            with connected(server) as idle:
                assert idle.recv(1) == b""
        held.touch()
        assert busy.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.needs("linux")
def test_many_connect_at_once(models: Path) -> None:
    with Server("kinds", models / "kinds") as server, ExitStack() as opened:
        server.process.send_signal(signal.SIGSTOP)
        try:
            sockets = [opened.enter_context(socket.socket()) for _ in range(400)]
            for each in sockets:
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", server.port))
            until(lambda: len(select.select([], sockets, [], 0)[1]) == len(sockets), "all connections")
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert server.predict({"instances": [1]}).status_code == 200


def memory_kb(server: Server, name: str) -> int:
    """A figure of the server's memory, as VmRSS or its peak, VmHWM."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@pytest.mark.needs("linux")
@pytest.mark.parametrize("ending", [b"1]]}", b"NaN]]}"], ids=["numbers", "NaN"])
def test_the_memory_of_many_numbers(models: Path, ending: bytes) -> None:
    count = 20_000_000
    body = b'{"signature_name": "sum", "instances": [[' + b"1," * (count - 1) + ending
    packed = gzip.compress(body, compresslevel=1)
    with Server("kinds", models / "kinds") as server:
        before_kb = memory_kb(server, "VmRSS")
        response = server.predict(packed, headers={"Content-Encoding": "gzip"})
        used = 1024 * (memory_kb(server, "VmHWM") - before_kb)

    assert response.status_code == 200
    assert used < len(body) + 16 * count
