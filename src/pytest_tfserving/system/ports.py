"""Free ports of this machine for processes that are started next."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

_HOST = "127.0.0.1"
_FIRST = 10_000
_TRIES = 20
# From this port on Linux takes ports for connections; other systems begin higher.
_OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_OF_CONNECTIONS = 32_768


def free_ports(count: int) -> list[int]:
    """Return different ports on which nobody listens.

    The system does not take them for connections, so they are still free when a server listens on them.
    """
    with ExitStack() as stack:
        return [int(stack.enter_context(_bound()).getsockname()[1]) for _ in range(count)]


def _bound() -> socket.socket:
    """Return a socket that is bound to a free port; if chance finds none, to any that the system gives."""
    below = range(_FIRST, max(_first_of_connections(), _FIRST + _TRIES))
    found = socket.socket()
    for port in secrets.SystemRandom().sample(below, _TRIES):
        with suppress(OSError):
            found.bind((_HOST, port))
            return found
    found.bind((_HOST, 0))
    return found


def _first_of_connections() -> int:
    """Return the first port that the system takes for connections."""
    with suppress(OSError):
        return int(_OF_CONNECTIONS.read_text(encoding="ascii").split()[0])
    return _USUAL_OF_CONNECTIONS
