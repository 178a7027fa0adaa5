"""Attempts to connect to the servers, from the place of a load process."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The nodes of a cluster know a new Service only after a moment.
PATIENCE_S = 3.0
_LOOK_S = 0.2


def unreachable(addresses: Iterable[tuple[str, int]]) -> Mapping[str, str]:
    """Return how each address fails that takes no connection, by ``host:port``; all are tried at once."""
    tried = {_shown(host, port): gevent.spawn(_failure, host, port) for host, port in addresses}
    gevent.joinall(tried.values())
    return {address: attempt.value for address, attempt in tried.items() if attempt.value}


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _failure(host: str, port: int) -> str:
    """Return how a connection fails: refused, dropped, or the system's words; empty if it does not fail."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection((host, port), max(until_s - time.monotonic(), _LOOK_S)).close()
        except TimeoutError:
            return "dropped"
        except OSError as error:
            how = "refused" if isinstance(error, ConnectionRefusedError) else str(error.strerror or error)
        else:
            return ""
        if time.monotonic() > until_s:
            return how
        gevent.sleep(_LOOK_S)
