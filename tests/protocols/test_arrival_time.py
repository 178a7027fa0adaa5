"""The kernel's times of arrival, read beside data from a loopback connection."""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.protocols.arrival_time import CONTROL_BYTES, ask_for_arrival_times, waited_s

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has SO_TIMESTAMPNS")

UNREAD_S = 0.004
# Of the two clocks against each other.
ROUNDING_S = 1e-5
Control = list[tuple[int, int, bytes]]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection; the first one has times of arrival."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
    with client, peer:
        assert ask_for_arrival_times(client)
        yield client, peer


def read_late(ends: tuple[socket.socket, socket.socket]) -> Control:
    """Send a byte, and read its control messages some time later."""
    client, peer = ends
    peer.send(b"a")
    time.sleep(UNREAD_S)
    return client.recvmsg(1, CONTROL_BYTES)[1]


def test_it_is_between_sending_and_reading(ends: tuple[socket.socket, socket.socket]) -> None:
    client, peer = ends
    before = time.perf_counter()
    peer.send(b"a")
    sent = time.perf_counter()
    time.sleep(UNREAD_S)
    control = client.recvmsg(1, CONTROL_BYTES)[1]
    read = time.perf_counter()

    found_s = waited_s(control)

    ended = time.perf_counter()
    assert found_s is not None
    if ended - before < 0.02:  # else the machine was too slow, and the time of reading counts
        assert read - sent - ROUNDING_S <= found_s <= ended - before + ROUNDING_S


def test_the_last_part_counts(ends: tuple[socket.socket, socket.socket]) -> None:
    client, peer = ends
    peer.send(b"a")
    time.sleep(UNREAD_S)
    before = time.perf_counter()
    peer.send(b"b")
    data, control, _, _ = client.recvmsg(2, CONTROL_BYTES)

    found_s = waited_s(control)

    assert data == b"ab"
    assert found_s is not None
    assert found_s <= time.perf_counter() - before + ROUNDING_S


@pytest.mark.parametrize("step_s", [3600, -3600, 0.1, -0.1])
def test_after_a_step_of_the_clock_the_time_of_reading_counts(
    ends: tuple[socket.socket, socket.socket], step_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, system_ns = read_late(ends), time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: system_ns() + int(step_s * 1e9))

    assert waited_s(control) == 0.0


@pytest.mark.parametrize("control", [[], [(socket.SOL_SOCKET, 35, bytes(8))]])
def test_without_a_time_it_is_not_known(control: Control) -> None:
    assert waited_s(control) is None


def test_other_systems_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    with socket.socket() as sock:
        assert not ask_for_arrival_times(sock)


def test_a_refused_option_is_no_error() -> None:
    sock = socket.socket()
    sock.close()

    assert not ask_for_arrival_times(sock)
