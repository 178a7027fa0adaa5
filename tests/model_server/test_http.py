"""What one client can ask of the server: limits while a request arrives, and connections."""

from __future__ import annotations

import gzip
import select
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
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


@pytest.mark.parametrize(
    "target",
    [
        *(b"http://localhost:8501/v1/models/kinds", b"HTTP://x/v1/models/kinds"),
        *(b"https://user@[::1]:8501/v1/models/kinds", b"http:///v1/models/kinds"),
    ],
)
def test_the_target_of_a_client_that_asks_through_a_proxy(kinds: Server, target: bytes) -> None:
    status = kinds.raw(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
    missing = kinds.raw(b"GET http://localhost HTTP/1.1\r\nHost: x\r\n\r\n")

    assert b'"state": "AVAILABLE"' in status
    assert missing.startswith(b"HTTP/1.1 404 Not Found")


def endless(first: bytes, part: bytes) -> Iterator[bytes]:
    yield first
    for _ in range(300 * MB // len(part)):
        yield part


@pytest.mark.parametrize(
    "first",
    [
        *(b"\r\n", b"GET /", b"GET / HTTP/1.1\r\nHost: ", b"GET / HTTP/1.1\r\nA: b\r\n"),
        *(CHUNKED + b"1 ;", CHUNKED + b"0\r\nA: ", CHUNKED + b"0\r\nA: b\r\n"),
    ],
    ids=["no line", "target", "header", "headers", "chunk extension", "trailer", "trailers"],
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


@pytest.mark.parametrize("size", [b"2" * 20, b"-1", b"0x1", b"", b"g", b"1;a=b"])
def test_chunks_without_a_size(kinds: Server, size: bytes) -> None:
    assert answer_to(kinds, iter([CHUNKED + size + b"\r\n"]))[0] == b"HTTP/1.1 400 Bad Request"


def test_a_chunk_without_an_end(kinds: Server) -> None:
    assert answer_to(kinds, iter([CHUNKED + b"1\r\nab"]))[0] == b"HTTP/1.1 400 Bad Request"


def test_large_bodies_one_after_the_other(kinds: Server) -> None:
    body = b'{"instances": [1]%b}' % (b" " * 3 * MB)
    sized = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    chunked = CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    last = b"GET /v1/models/kinds HTTP/1.1\r\nConnection: close\r\n\r\n"

    answers = kinds.raw(sized + chunked + sized + last)

    assert answers.count(b"HTTP/1.1 200 OK") == 4


def test_chunks_without_an_end(kinds: Server) -> None:
    status, sent = answer_to(kinds, endless(CHUNKED, b"%x\r\n%b\r\n" % (MB, bytes(MB))))

    assert status == b"HTTP/1.1 413 Request Entity Too Large"
    assert 100 * MB < sent < 150 * MB


def test_extensions_of_chunks_without_an_end(kinds: Server) -> None:
    status, sent = answer_to(kinds, endless(CHUNKED, b"1 ;%b\r\n \r\n" % (b"a" * 1000)))

    assert status == b"HTTP/1.1 400 Bad Request"
    assert sent < 20 * MB


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(models: Path) -> None:
    with Server("kinds", models / "kinds", "--rest_api_idle_timeout_in_ms=300") as server:
        with connected(server) as connection:
            connection.sendall(HEAD + b"A: ")
            until(lambda: is_closed_after(connection, b"a"), "the end of the connection")
        assert server.predict({"instances": [1]}).status_code == 200


def is_closed_after(connection: socket.socket, byte: bytes) -> bool:
    """Send a byte; return whether the other end has closed the connection."""
    try:
        connection.sendall(byte)
        return bool(select.select([connection], [], [], 0.05)[0]) and connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    ("request_", "stays_open"),
    [
        (b"GET /v1/models/kinds HTTP/1.1\r\nConnection: close\r\n\r\n", False),
        (HEAD + b"Connection: Close\r\nContent-Length: 0\r\n\r\n", False),
        (b"GET /v1/models/kinds HTTP/1.0\r\n\r\n", False),
        (b"GET /v1/models/kinds HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"GET /v1/models/kinds HTTP/1.1\r\nConnection: keep-alive, x\r\n\r\n", True),
    ],
)
def test_the_client_says_whether_the_connection_stays_open(
    kinds: Server, request_: bytes, *, stays_open: bool
) -> None:
    with connected(kinds) as connection:
        connection.sendall(request_)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
            if stays_open and b"}" in answer:
                connection.sendall(b"GET /v1/models/kinds HTTP/1.1\r\nConnection: close\r\n\r\n")
                stays_open = False

    assert answer.count(b"HTTP/1.1 ") == (2 if b"eep-" in request_ else 1)
    assert (b"Connection: keep-alive" in answer) is (b"HTTP/1.0\r\nConnection" in request_)


def test_a_client_that_reads_no_answer_is_not_read(models: Path) -> None:
    requests = b"GET /v1/models/kinds HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
    with Server("kinds", models / "kinds", "--rest_api_idle_timeout_in_ms=1000") as server:
        with connected(server) as connection, pytest.raises(ConnectionError):
            connection.sendall(requests * (30 * MB // len(requests)))
        assert server.predict({"instances": [1]}).status_code == 200


def test_answers_that_are_read_late(kinds: Server) -> None:
    count = 20_000
    request = b"GET /v1/models/kinds HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(kinds) as connection, ThreadPoolExecutor(1) as pool:
        sent = pool.submit(
            connection.sendall, request * count + request.replace(b"Host", b"Connection: close\r\nHost")
        )
        until(lambda: select.select([connection], [], [], 0)[0], "the first answer")
        received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        sent.result()

    assert received.count(b"HTTP/1.1 200 OK") == count + 1


@pytest.mark.parametrize(
    "begun",
    [b"", b"POST /v1", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{", CHUNKED + b"5\r\nab"],
    ids=["nothing", "half a line", "half a head", "half a body", "half a chunk"],
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
