"""A served model in this process that notes what clients send, and may send it back."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

PATH = "/v1/models/half"


class EchoingServer(ThreadingHTTPServer):
    """A server of half_plus_two that answers requests after ``right`` right ones with 401 and their headers.

    Attributes:
        seen: the headers of each request.
        arguments: the command lines of all processes at the first request to predict.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, right: float, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.right = right
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.arguments = b""
        self._scheme = "https" if context else "http"
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        """The address of the model."""
        return f"{self._scheme}://127.0.0.1:{self.server_port}{PATH}"

    def sent(self, name: str, path: str = "predict") -> set[str | None]:
        """Return the values of a header in the requests whose path has an end."""
        return {headers.get(name.lower()) for asked, headers in self.seen if asked.endswith(path)}

    def handle_error(self, *_: object) -> None:
        """Clients that go away, or are refused, are no error."""


@contextmanager
def echoing(right: float = float("inf"), context: ssl.SSLContext | None = None) -> Iterator[EchoingServer]:
    """Serve inside the context."""
    server = EchoingServer(right, context)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: EchoingServer

    def log_message(self, *_: object) -> None:
        """Say nothing of single requests."""

    def do_GET(self) -> None:
        """Tell the state of the model, or lead to the address behind ``/to/``."""
        self._note()
        if self.path.startswith("/to/"):
            place = self.path.removeprefix("/to/")
            head = f"HTTP/1.1 302 -\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
            self.wfile.write(head.encode())
            return
        self._answer(200, {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {}}]})

    def do_POST(self) -> None:
        """Predict, or send the headers back."""
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.arguments = server.arguments or _command_lines()
        self._note()
        server.right -= 1
        if server.right < 0:
            self._answer(
                401, {"error": f"not allowed: {self.headers['Authorization']}, {dict(self.headers)}"}
            )
        else:
            self._answer(200, {"predictions": [value / 2 + 2 for value in content["instances"]]})

    def _note(self) -> None:
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.wfile.write(f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def _command_lines() -> bytes:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.append((folder / "cmdline").read_bytes())
    return b"\n".join(found)
