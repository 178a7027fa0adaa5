"""A model server that answers at once, but for a time that ``PROMPT_SERVER`` gives, in which it is frozen.

``PROMPT_SERVER`` is JSON with ``freeze_after``, the number of the predict request that freezes it, and
``freeze_s``. One thread answers all, so that a hundred answers that come together are milliseconds apart.
With ``delay_s`` the server computes for this time before each answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time

FLAGS = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
HOW = json.loads(os.environ.get("PROMPT_SERVER", "{}"))
STATUS = b'{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {}}]}'
ANSWER = b'{"predictions": [2.5, 3.0, 4.5]}'
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Server(asyncio.Protocol):
    """One connection, one request at a time."""

    predicted = 0
    thaws_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        began = time.perf_counter()
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        self.received = b""
        if head.startswith(b"POST"):
            while time.perf_counter() - began < HOW.get("delay_s", 0.0):
                pass
            self.predict()
        else:
            self.answer(STATUS)

    def predict(self) -> None:
        """Answer, now or when it thaws."""
        loop = asyncio.get_running_loop()
        if Server.predicted == HOW.get("freeze_after"):
            Server.thaws_at = loop.time() + HOW["freeze_s"]
        Server.predicted += 1
        if loop.time() < Server.thaws_at:
            loop.call_at(Server.thaws_at, self.answer, ANSWER)
        else:
            self.answer(ANSWER)

    def answer(self, body: bytes) -> None:
        """Send 200."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


async def main() -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", int(FLAGS["rest_api_port"]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
