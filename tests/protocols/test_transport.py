"""Streams whose data can be read late."""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

import gevent.socket
import pytest

from pytest_tfserving.protocols import transport
from pytest_tfserving.protocols.arrival_time import LateReading
from pytest_tfserving.protocols.transport import PlainStream

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREAD_S = 0.004


@pytest.fixture
def late() -> LateReading:
    return LateReading()


@pytest.fixture
def peers() -> Iterator[list[socket.socket]]:
    """The other ends of the streams that `stream_to` makes."""
    made: list[socket.socket] = []
    yield made
    for each in made:
        each.close()


def stream_to(peers: list[socket.socket], late: LateReading | None) -> PlainStream:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = PlainStream(gevent.socket.create_connection(server.getsockname()), late)
        peers.append(server.accept()[0])
    return stream


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has times of arrival")
def test_data_that_is_read_late_has_its_wait(peers: list[socket.socket], late: LateReading) -> None:
    stream = stream_to(peers, late)
    began = time.perf_counter()
    peers[0].send(b"a")
    sent = time.perf_counter()
    time.sleep(UNREAD_S)
    unread_s = time.perf_counter() - sent

    data = stream.recv_now(10)

    most_s = time.perf_counter() - began
    stream.close()
    assert data == b"a"
    assert late.allowed
    # The kernel may have begun just now, and on a slow machine the time of reading counts.
    if late.has_times and most_s < 0.02:
        assert unread_s - 1e-5 <= stream.waited_s <= most_s + 1e-5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has times of arrival")
@pytest.mark.parametrize(("size", "allowed"), [(1 << 14, True), (1 << 15, False)])
def test_long_data_is_read_at_once_from_then_on(
    peers: list[socket.socket],
    late: LateReading,
    size: int,
    allowed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    stream = stream_to(peers, late)
    peers[0].sendall(bytes(size))

    read = stream.recv(1 << 16)
    while len(read) < size:
        read += stream.recv(1 << 16)

    stream.close()
    assert late.allowed is allowed


def test_a_system_without_times_reads_at_once(
    peers: list[socket.socket], late: LateReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "ask_for_arrival_times", lambda _: False)
    stream = stream_to(peers, late)
    peers[0].send(b"a")

    data = stream.recv(10)

    stream.close()
    assert data == b"a"
    assert stream.waited_s == 0
    assert not late.possible
