"""Requests that clients got wrong, 200 000 of them, over REST and gRPC: none may be the server's fault.

Random and damaged JSON, truncated bodies, wrong types, bad base64, huge numbers, deep nesting, ragged rows,
damaged gzip, odd paths and methods, broken HTTP and HTTP/2; heads, lines and bodies without an end, small
bodies that grow; over gRPC random bytes, damaged messages, tensors that contradict themselves, names with
control characters; at the end some that take the server 100 MB each. All come from ``--seed``, four at a
time, while a hundred slow clients send a byte now and then and never finish. Between them the right answer
to a good request is checked over both APIs.

Targets: no status of 500 or above but 501 (a type that JSON does not carry), no gRPC code that blames the
server, nothing unanswered, no traceback, control character or forged line in the log, the process alive, its
memory after a fifth of the requests and at the end within a tenth of each other.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Self

import _common as common
import _hostile
import _malformed
import grpc
import numpy as np
import psutil
from _hostile import Endless
from _malformed import Grpc, Raw, Rest
from _serving import GrpcCaller, RestCaller, embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KINDS: dict[Callable[[random.Random], Rest | Raw | Grpc | Endless], int] = dict(
    chain[Any](_malformed.KINDS.items(), _hostile.KINDS.items())
)
TESTS = common.HERE.parent / "tests"
_COUNT, _QUICK_COUNT = 200_000, 4_000
_LARGE_COUNT = 12
_CALLERS = 4
_SLOW_CLIENTS = 100
_TIMEOUT_S = 60.0
_PAUSE_S = 0.5
_GOOD_EVERY = 500
_FORGED = "2026-01-01 00:00:00"
_CLIENT_CODES = {"OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "UNIMPLEMENTED"}
_MODEL_SERVICE = ("GetModelStatus", "HandleReloadConfigRequest")
_SHOWN = 10


class Http:
    """A connection that is opened again when the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, request: Rest) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        fresh = self._socket is None
        if self._socket is None:
            self._socket = socket.create_connection((common.HOST, self._port), _TIMEOUT_S)
        lines = [
            f"{request.method} {request.target} HTTP/1.1",
            "Host: x",
            f"Content-Length: {len(request.body)}",
        ]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        self._socket.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + request.body)
        try:
            return self._read(self._socket, request.method)
        except ConnectionError:
            self.close()
            if fresh:
                raise
            return self.ask(request)

    def close(self) -> None:
        """Close the connection."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _read(self, connection: socket.socket, method: str) -> tuple[int, bytes]:
        content = b""
        while b"\r\n\r\n" not in content:
            content += _received(connection)
        head, _, body = content.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = 0 if method == "HEAD" else int(fields[b"content-length"])
        while len(body) < length:
            body += _received(connection)
        if fields.get(b"connection") == b"close":
            self.close()
        return int(head.split()[1]), body


def _received(connection: socket.socket) -> bytes:
    part = connection.recv(1 << 16)
    if not part:
        raise ConnectionError("closed without a response")
    return part


@dataclass
class Outcome:
    """What became of the requests, by kind, and those that blame the server."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, answer: str, fault: str = "") -> None:
        """Count an answer."""
        with self.lock:
            self.answers[kind, answer] += 1
            if fault:
                self.faults.append(f"{kind}: {answer}: {fault}")


class Caller:
    """Sends requests of every kind to one server."""

    def __init__(self, rest: int, rpc: int, outcome: Outcome) -> None:
        self._ports = (rest, rpc)
        self._http = Http(rest)
        self._channel = grpc.insecure_channel(f"{common.HOST}:{rpc}")
        self._outcome = outcome

    def send(self, kind: str, request: Rest | Raw | Grpc | Endless) -> None:
        """Send one, and judge the answer."""
        try:
            answer, is_fault = self._answer(request)
        except (OSError, ValueError, KeyError, IndexError) as error:
            self._http.close()
            answer, is_fault = f"no response ({type(error).__name__})", True
        self._outcome.add(kind, answer, repr(request)[:1000] if is_fault else "")

    def _answer(self, request: Rest | Raw | Grpc | Endless) -> tuple[str, bool]:
        """Return the answer, and whether it is the server's fault."""
        match request:
            case Rest():
                return self._rest(request)
            case Raw():
                return self._raw(request)
            case Grpc():
                return self._grpc(request)
            case Endless():
                return self._endless(request)

    def _rest(self, request: Rest) -> tuple[str, bool]:
        status, body = self._http.ask(request)
        is_fault = (status >= 500 and status != 501) or b"Traceback" in body
        return str(status), is_fault or b"Internal error" in body

    def _raw(self, request: Raw) -> tuple[str, bool]:
        with socket.create_connection((common.HOST, self._ports[request.grpc]), _TIMEOUT_S) as connection:
            try:
                connection.sendall(request.content)
                connection.shutdown(socket.SHUT_WR)
                content = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            except (ConnectionError, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
                return "closed", False
        if request.grpc or not content:
            return "closed", False
        status = content.split()[1].decode("latin-1")
        return status, status.startswith("5") or b"Traceback" in content

    def _endless(self, request: Endless) -> tuple[str, bool]:
        with socket.create_connection((common.HOST, self._ports[0]), _TIMEOUT_S) as connection:
            connection.sendall(request.first)
            for _ in range(request.count):
                if select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(request.part)
            status = connection.recv(1 << 16).split()[1].decode("latin-1")
        return status, status not in ("400", "413")

    def _grpc(self, request: Grpc) -> tuple[str, bool]:
        service = "ModelService" if request.method in _MODEL_SERVICE else "PredictionService"
        ask = self._channel.unary_unary(f"/tensorflow.serving.{service}/{request.method}")
        try:
            ask(request.content, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            failed: Any = error
            code = failed.code().name
            return code, code not in _CLIENT_CODES or "Traceback" in failed.details()
        return "OK", False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._channel.close()


class SlowClients:
    """Connections whose requests come byte by byte and never end; leaving the context closes them."""

    def __init__(self, rest: int, rpc: int) -> None:
        self._ports = (rest, rpc)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._sockets = [
            socket.create_connection((common.HOST, self._ports[number % 2]))
            for number in range(_SLOW_CLIENTS)
        ]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for connection in self._sockets:
            connection.close()

    def _send(self) -> None:
        head = b"POST /v1/models/kinds:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        for index in count():
            for number, connection in enumerate(self._sockets):
                text = http2[:-1] if number % 2 else head
                with contextlib.suppress(OSError):
                    connection.sendall(text[index : index + 1] or (b"" if number % 2 else b" "))
            if self._ended.wait(_PAUSE_S):
                return


class Load:
    """All callers at once on one server."""

    def __init__(self, rest: int, rpc: int, process: psutil.Process, seed: int) -> None:
        self._ports = (rest, rpc)
        self._process = process
        self._seed = seed
        self._numbers = count()
        self.outcome = Outcome()
        self.memory: list[int] = []

    def run(self, total: int) -> None:
        """Send so many requests, the same for the same seed."""
        with ThreadPoolExecutor(_CALLERS) as pool:
            for sent in [pool.submit(self._send, total) for _ in range(_CALLERS)]:
                sent.result()

    def run_large(self, total: int) -> None:
        """Send so many requests that take the server 100 MB each, each before a good one."""
        caller = Caller(*self._ports, self.outcome)
        good = self._good()
        for number in range(total):
            make = _hostile.LARGE[number % len(_hostile.LARGE)]
            caller.send(make.__name__, make(random.Random(f"{self._seed}/large/{number}")))
            self.outcome.add("a good request", *_checked(*good))
        caller.close()

    def _good(self) -> tuple[RestCaller, GrpcCaller]:
        rest = RestCaller(self._ports[0], "/v1/models/kinds:predict", common.REQUEST)
        return rest, GrpcCaller(self._ports[1], "kinds", {"x": np.array([1, 2, 5], np.float32)})

    def _send(self, total: int) -> None:
        caller = Caller(*self._ports, self.outcome)
        good = self._good()
        for number in iter(lambda: next(self._numbers), None):
            if number >= total or self._process.status() == psutil.STATUS_ZOMBIE:
                break
            chance = random.Random(f"{self._seed}/{number}")
            (make,) = chance.choices(list(KINDS), list(KINDS.values()))
            caller.send(make.__name__, make(chance))
            if number % _GOOD_EVERY == 0:
                self.outcome.add("a good request", *_checked(*good))
                if number >= total // 5:
                    self.memory.append(self._process.memory_info().rss)
        caller.close()


def _checked(rest: RestCaller, rpc: GrpcCaller) -> tuple[str, str]:
    """Whether the answers to a good request are right, and what they are otherwise."""
    try:
        answers = rest(), rpc()
    except (OSError, RuntimeError, grpc.RpcError) as error:
        return "no response", repr(error)
    right = b"[2.5, 3.0, 4.5" in answers[0] and np.array([2.5, 3, 4.5], np.float32).tobytes() in answers[1]
    return ("right", "") if right else ("wrong", repr(answers))


def _exported(folder: Path) -> Path:
    command = [sys.executable, "-m", "model_server.export_models", str(folder)]
    subprocess.run(command, check=True, cwd=TESTS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder / "kinds"


def _rows(outcome: Outcome) -> Iterator[list[str]]:
    for kind in [*(make.__name__ for make in (*KINDS, *_hostile.LARGE)), "a good request"]:
        found = {answer: number for (each, answer), number in outcome.answers.items() if each == kind}
        shown = ", ".join(f"{number} {answer}" for answer, number in sorted(found.items()))
        yield [kind.replace("_", " "), str(sum(found.values())), shown]


def _judged(outcome: Outcome, load: Load, log: str) -> list[common.Target]:
    ratio = load.memory[-1] / load.memory[0] if load.memory else float("inf")
    missing = sum(
        number for (_, answer), number in outcome.answers.items() if answer.startswith("no response")
    )
    return [
        common.Target("answers that blame the server, or none, or wrong ones", len(outcome.faults), 0),
        common.Target("requests without a response", missing, 0),
        common.Target("tracebacks in the server's log", log.count("Traceback"), 0),
        common.Target("lines of the log that are forged or not printable", len(_odd_lines(log)), 0),
        common.Target("memory at the end beside that after a fifth of the requests", ratio, 1.1),
    ]


def _odd_lines(log: str) -> list[str]:
    return [line for line in log.split("\n") if line.startswith(_FORGED) or not line.isprintable()]


def main() -> None:
    args = common.arguments(
        __doc__, seed=(1, "where the requests come from"), count=(None, "how many requests (default: 200000)")
    )
    total = args.count or (_QUICK_COUNT if args.quick else _COUNT)
    with common.scratch() as folder:
        base = _exported(folder)
        log = folder / "server.log"
        with log.open("wb") as out, embedded(None, "kinds", base, log=out) as server:
            load = Load(server.rest, server.grpc, psutil.Process(server.process.pid), args.seed)
            started = time.perf_counter()
            with SlowClients(server.rest, server.grpc):
                load.run(total)
                load.run_large(_LARGE_COUNT)
            took_s = time.perf_counter() - started
            ended_with = server.process.poll()
        targets = _judged(load.outcome, load, log.read_bytes().decode(errors="replace"))
    common.table(["requests", "number", "answers"], list(_rows(load.outcome)))
    end = "lives" if ended_with is None else f"ENDED with {ended_with}"
    print(f"\n{total:,} requests of seed {args.seed} in {took_s:.0f} s; the server {end}")
    for fault in load.outcome.faults[:_SHOWN]:
        print(f"fault: {fault}")
    figures = {
        "seed": args.seed,
        "requests": total,
        "took_s": took_s,
        "answers": [[*key, number] for key, number in sorted(load.outcome.answers.items())],
        "faults": load.outcome.faults[:_SHOWN],
        "memory_mb": [round(each / 1e6, 1) for each in load.memory],
    }
    targets.append(common.Target("servers that ended", int(ended_with is not None), 0))
    common.finish(args, figures, targets)


if __name__ == "__main__":
    main()
