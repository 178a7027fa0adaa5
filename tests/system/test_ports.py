"""Ports for servers that are started next."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.system import ports
from pytest_tfserving.system.ports import free_ports

if TYPE_CHECKING:
    import pytest


def test_ports_differ_and_can_be_bound() -> None:
    found = free_ports(50)

    assert len(set(found)) == 50
    for port in found:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_the_system_takes_none_of_them_for_a_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Or a connection could have the port before the server does."""
    taken = tmp_path / "range"
    taken.write_text("20000\t60999\n", encoding="ascii")
    monkeypatch.setattr(ports, "_OF_CONNECTIONS", taken)

    assert all(10_000 <= port < 20_000 for port in free_ports(50))


def test_where_chance_finds_none_it_is_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_TRIES", 0)

    assert len(set(free_ports(3))) == 3


def test_a_system_without_such_a_file_has_free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_OF_CONNECTIONS", Path("/nowhere"))

    assert len(set(free_ports(3))) == 3
