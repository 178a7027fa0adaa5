"""A server of known latencies, and what it meant: ``_known_server.py PORT LATENCIES OUT``.

It answers the n-th request after the n-th of the latencies (ms, float64 in the file LATENCIES), whatever
comes before or after it, and over again at their end. Threads sleep more exactly than an asyncio loop, whose
timer counts whole milliseconds. On SIGTERM it writes to OUT, in the order of the answers, what it meant and
what it really took from having read a request to having it answered, in ms.
"""

from __future__ import annotations

import itertools
import signal
import socket
import sys
import threading
import time
from array import array
from pathlib import Path

_READ_BYTES = 1 << 16
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


def serve(
    sock: socket.socket, latencies: array[float], counter: itertools.count[int], told: array[float]
) -> None:
    """Answer the requests of one connection."""
    from _common import ANSWER

    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    answer %= (len(ANSWER), ANSWER)
    clock, sleep, count = time.perf_counter, time.sleep, len(latencies)
    while read_request(sock):
        start = clock()
        meant_ms = latencies[next(counter) % count]
        sleep(max(0.0, start + meant_ms / 1e3 - clock()))
        try:
            sock.sendall(answer)
        except OSError:
            break
        told.extend((meant_ms, (clock() - start) * 1e3))


def read_request(sock: socket.socket) -> bool:
    """Read one whole request; False at the end of the connection."""
    data = b""
    while _HEAD_END not in data:
        if not (part := sock.recv(_READ_BYTES)):
            return False
        data += part
    head, _, body = data.partition(_HEAD_END)
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(_LENGTH)), b":0")
    left = int(length.partition(b":")[2]) - len(body)
    while left > 0:
        if not (part := sock.recv(_READ_BYTES)):
            return False
        left -= len(part)
    return True


def main() -> None:
    port, source, out = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    latencies, told = array("d", source.read_bytes()), array("d")

    def end(*_: object) -> None:
        out.write_bytes(told.tobytes())
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    counter = itertools.count()
    with socket.create_server(("127.0.0.1", port), backlog=256) as listener:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(sock, latencies, counter, told), daemon=True).start()


if __name__ == "__main__":
    main()
