"""A stand-in for a model server: answers as TF Serving does, or misbehaves as ``FAKE_SERVER`` says.

``FAKE_SERVER`` is JSON with any of: ``mode`` (see `Handler.predict`), ``latencies_ms`` (given in turn),
``after`` (how many predict requests are answered well before the mode sets in), ``every``
(every so many of those after are what the mode is about), ``rows`` (the mode is about requests of at least
so many rows), ``last_words`` (what it writes before it dies),
``start`` (``exit`` prints a line and exits with 3, ``silent`` never listens, ``hog`` takes 64 MB more
every moment), ``lock`` (one request at a time), ``leak_mb_per_s`` (memory that it takes more and more of),
``cold`` (``[100, 5]``: a request after 5 idle seconds takes 100 ms more), ``throttle`` (``[20, 80]``: it
runs for 20 ms, then stands still for 80 ms), ``host`` (the address to listen at, also at gRPC's port, where
nothing answers), ``slow`` (``[3, 50]``: a request of at least 3 rows takes 50 ms more), ``cache`` (a body
that was seen before is answered at once), ``once`` (a file that the first server makes; who finds it
behaves). A file ``how.json`` in version 1 of a model says it for the servers of that model.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FLAGS = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
HOW: dict[str, Any] = json.loads(os.environ.get("FAKE_SERVER", "{}"))
OF_MODEL = Path(FLAGS.get("model_base_path", ".")) / "1" / "how.json"
if OF_MODEL.is_file():
    HOW.update(json.loads(OF_MODEL.read_text(encoding="utf-8")))
if "once" in HOW:
    try:
        Path(HOW["once"]).touch(exist_ok=False)
    except FileExistsError:
        HOW.clear()
LATENCIES = itertools.cycle(HOW.get("latencies_ms", [1]))
COUNT = itertools.count()
ERRORS: dict[str, tuple[Any, int]] = {
    "http500": ({"error": "out of cheese"}, 500),
    "http429": ({"error": "queue is full"}, 429),
    "http503": ({"error": "queue is full"}, 503),
    "error200": ({"error": "queue is full"}, 200),
}
# A server that sheds load does it at once.
AT_ONCE = ("http429", "http503", "error200")
SEEN: set[bytes] = set()
ONE_AT_A_TIME = threading.Lock() if HOW.get("lock") else contextlib.nullcontext()
COLD_MS, IDLE_S = HOW.get("cold", (0, math.inf))
LAST_S = [time.monotonic()]
SLOW_ROWS, SLOW_MS = HOW.get("slow", (math.inf, 0))


class Server(ThreadingHTTPServer):
    """A thread a connection; clients that go away are no error."""

    request_queue_size = 128

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing of single requests."""

    def do_GET(self) -> None:
        """Status and metadata."""
        if self.path.endswith("/metadata"):
            size = {"dim": [{"size": "-1"}], "unknown_rank": False}
            number = {"dtype": "DT_FLOAT", "tensor_shape": size}
            signatures = {"serving_default": {"inputs": {"x": number}, "outputs": {"y": number}}}
            return self.answer({"metadata": {"signature_def": {"signature_def": signatures}}})
        state = {"version": "1", "state": HOW.get("state", "AVAILABLE"), "status": {}}
        if "state_error" in HOW:
            state["status"] = {"error_code": "INVALID_ARGUMENT", "error_message": HOW["state_error"]}
        return self.answer({"model_version_status": [state]})

    def do_POST(self) -> None:
        """Predict."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(content)
        number = next(COUNT)
        behaves = number < HOW.get("after", 0) or number % HOW.get("every", 1)
        behaves = behaves or len(body["instances"]) < HOW.get("rows", 0)
        mode = "ok" if behaves else HOW.get("mode", "ok")
        if mode not in AT_ONCE and not (HOW.get("cache") and content in SEEN):
            with ONE_AT_A_TIME:
                time.sleep((next(LATENCIES) + cold_ms() + slow_ms(body["instances"])) / 1000)
        LAST_S[0] = time.monotonic()
        SEEN.add(content)
        self.predict(mode, [x / 2 + 2 for x in body["instances"]])

    def predict(self, mode: str, values: list[float]) -> None:
        """Answer well, or not."""
        if mode == "wrong_shape":
            self.answer({"predictions": [[value, value] for value in values]})
        elif mode == "other_values":
            self.answer({"predictions": [2 * value for value in values]})
        elif mode == "missing_row":
            self.answer({"predictions": values[:-1]})
        elif mode in ERRORS:
            self.answer(*ERRORS[mode])
        elif mode == "not_json":
            self.answer("<html>", raw=b"<html>")
        elif mode == "half":
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"predictions": [')
            self.close()
        elif mode == "close":
            self.close()
        elif mode == "nothing":
            threading.Event().wait()
        elif mode == "die":
            words = HOW.get("last_words", "fatal: the fake server dies now")
            sys.stderr.buffer.write(words.encode(errors="surrogatepass") + b"\n")
            sys.stderr.flush()
            os._exit(9)
        else:
            self.answer({"predictions": values})

    def answer(self, content: object, status: int = 200, raw: bytes = b"") -> None:
        """Send JSON."""
        body = raw or json.dumps(content).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def close(self) -> None:
        """Break the connection."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def cold_ms() -> float:
    """How much longer a request takes because the server was idle before."""
    return float(COLD_MS) if time.monotonic() - LAST_S[0] > IDLE_S else 0.0


def slow_ms(instances: list[float]) -> float:
    """How much longer a request takes because of its rows."""
    return float(SLOW_MS) if len(instances) >= SLOW_ROWS else 0.0


def leak() -> None:
    """Take more memory at a steady pace."""
    taken = []
    while True:
        taken.append(b"x" * int(HOW["leak_mb_per_s"] * 1e5))
        time.sleep(0.1)


def throttle(run_ms: float, stop_ms: float) -> None:
    """Serve in a child, and stop it again and again as a CPU limit would."""
    if (child := os.fork()) == 0:
        return
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(run_ms / 1000)
        os.kill(child, signal.SIGSTOP)
        time.sleep(stop_ms / 1000)
        os.kill(child, signal.SIGCONT)
    sys.exit(1)


def hog() -> None:
    """Take ever more memory."""
    taken = []
    while True:
        taken.append(b"x" * (64 << 20))
        time.sleep(0.05)


def main() -> None:
    """Serve until the process is ended."""
    sys.stderr.write(f"flags: {' '.join(sys.argv[1:])}\n")
    if HOW.get("start") == "exit":
        sys.stderr.write("error: cannot find the cheese\n")
        sys.exit(3)
    if HOW.get("start") == "silent":
        threading.Event().wait()
    if HOW.get("start") == "hog":
        threading.Thread(target=hog, daemon=True).start()
    if "leak_mb_per_s" in HOW:
        threading.Thread(target=leak, daemon=True).start()
    if "throttle" in HOW:
        throttle(*HOW["throttle"])
    if "pid_file" in HOW:
        with Path(HOW["pid_file"]).open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {sorted(os.sched_getaffinity(0))}\n")
    host = HOW.get("host", "127.0.0.1")
    with (
        socket.create_server((host, int(FLAGS.get("port", 8500))))
        if "host" in HOW
        else contextlib.nullcontext()
    ):
        Server((host, int(FLAGS.get("rest_api_port", 8501))), Handler).serve_forever()


if __name__ == "__main__":
    main()
