"""Stand-in server that only returns half_plus_two's response, so that runs measure the load generator.

The server is started by its path, pinned by its parent, and prints the port that it listens on.
"""

from __future__ import annotations

import asyncio

import httptools

_BODY = b'{"predictions": [2.5, 3.0, 4.5]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


class StandInConnection(asyncio.Protocol):
    """Connection on which every request gets the same response."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse the received bytes."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Send the response to a request."""
        assert self._transport
        self._transport.write(ANSWER)


async def main() -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(StandInConnection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - its parent reads it
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
