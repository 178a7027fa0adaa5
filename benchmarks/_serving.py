"""What the benchmarks of the embedded server share: a server on one core, and callers on another."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self

import _common as common
import grpc
import numpy as np

from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

ONE_THREAD = ("--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=1")
_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_TIMEOUT_S = 120.0
_CONNECTIONS = 16
_LOOK_S = 0.005


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a server listens, and its process."""

    rest: int
    grpc: int
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def embedded(
    core: int | None, name: str, base_path: Path, *flags: str, log: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[Ports]:
    """Run the embedded server on one core, or on all for None; the server writes its log to ``log``."""
    rest, rpc = common.free_port(), common.free_port()
    command = [
        *(sys.executable, "-m", "pytest_tfserving.model_server", f"--port={rpc}", f"--rest_api_port={rest}"),
        *(f"--model_name={name}", f"--model_base_path={base_path}", "--max_num_load_retries=0", *flags),
    ]
    with contextlib.nullcontext() if core is None else common.pinned(core):
        process = subprocess.Popen(command, stdout=log, stderr=log)
    with common.ending(process):
        common.wait_for_port(rest, process)
        yield Ports(rest, rpc, process)


class RestCaller:
    """One connection that sends the same request over and over."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        self._connection = http.client.HTTPConnection(common.HOST, port, timeout=_TIMEOUT_S)
        self._path, self._body = path, body

    def __call__(self) -> bytes:
        """Return the answer's body; an error ends the benchmark."""
        self._connection.request("POST", self._path, self._body)
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {content[:200]!r}")
        return content


class GrpcCaller:
    """The same over gRPC."""

    def __init__(
        self, port: int, model: str, inputs: Mapping[str, NDArray[Any]], signature: str = ""
    ) -> None:
        self._ask = grpc.insecure_channel(
            f"{common.HOST}:{port}", [("grpc.use_local_subchannel_pool", 1)]
        ).unary_unary(_PREDICT)
        request = message("tensorflow.serving.PredictRequest")()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        for alias, array in inputs.items():
            fill_proto(request.inputs[alias], array, as_content=True)
        self._request = request.SerializeToString()

    def __call__(self) -> bytes:
        """Return the serialized answer; an error ends the benchmark."""
        answer: bytes = self._ask(self._request, timeout=_TIMEOUT_S, wait_for_ready=True)
        return answer


@dataclass(slots=True)
class Calls:
    """What callers saw: the latency of each call, and when it began."""

    began: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def p99_ms(self, spans: list[tuple[float, float]] | None = None) -> float:
        """Return the 99th percentile, of the calls that touch one of ``spans`` if there are any."""
        latencies = np.array(self.latencies_s)
        if spans is not None:
            latencies = latencies[np.any([self._touch(span) for span in spans], axis=0)]
        return float(np.percentile(latencies, 99) * 1e3)

    def longest_ms(self, span: tuple[float, float]) -> float:
        """Return the longest latency of the calls that touch ``span``."""
        return float(np.array(self.latencies_s)[self._touch(span)].max() * 1e3)

    def within(self, start: float, end: float) -> float:
        """Return the number of calls between two times, with the shares of those that are there in part."""
        began, took_s = np.array(self.began), np.array(self.latencies_s)
        inside_s = np.minimum(began + took_s, end) - np.maximum(began, start)
        return float((inside_s.clip(min=0.0) / took_s).sum())

    def _touch(self, span: tuple[float, float]) -> NDArray[np.bool_]:
        began = np.array(self.began)
        touching: NDArray[np.bool_] = (began < span[1]) & (began + np.array(self.latencies_s) > span[0])
        return touching


@contextlib.contextmanager
def calling(callers: list[Callable[[], bytes]], *, right: Callable[[bytes], bool]) -> Iterator[Calls]:
    """Every caller calls in a thread of its own, without pause, inside the context."""
    calls, stop = Calls(), threading.Event()

    def call(caller: Callable[[], bytes]) -> None:
        while not stop.is_set():
            started = time.perf_counter()
            try:
                content = caller()
            except (OSError, RuntimeError, grpc.RpcError) as error:
                calls.failures.append(str(error))
                continue
            calls.began.append(started)
            calls.latencies_s.append(time.perf_counter() - started)
            if not right(content):
                calls.failures.append(f"wrong response: {content[:200]!r}")

    threads = [threading.Thread(target=call, args=(caller,)) for caller in callers]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def rate(callers: list[Callable[[], bytes]], length_s: float) -> float:
    """Return the calls a second of all callers together; a call that fails ends the benchmark.

    The time begins once the callers have had responses. Of a call that is under way when the time begins or
    ends, the share in the time counts.
    """
    with calling(callers, right=bool) as calls:
        while len(calls.latencies_s) < len(callers) and not calls.failures:
            time.sleep(_LOOK_S)
        started = time.perf_counter()
        time.sleep(length_s)
        ended = time.perf_counter()
    if calls.failures:
        sys.exit(f"{len(calls.failures)} requests failed, the first: {calls.failures[0]}")
    return calls.within(started, ended) / (ended - started)


def wrk(port: int, length_s: float) -> dict[str, Any]:
    """Load half_plus_two from 16 connections; wrk's own summary. A request that fails ends the benchmark."""
    command = [common.program("wrk"), "-t1", f"-c{_CONNECTIONS}", f"-d{length_s:g}s"]
    command += [f"--timeout={_TIMEOUT_S:g}s", "-s"]
    command += [str(common.HERE / "locustfiles" / "predict.lua"), f"http://{common.HOST}:{port}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    summary: dict[str, Any] = json.loads(output[output.index("JSON") + 4 :])
    if summary["failed"]:
        sys.exit(f"requests failed: {summary}")
    return summary


def states(port: int, model: str) -> dict[str, str]:
    """Return the state of each version of a model."""
    connection = http.client.HTTPConnection(common.HOST, port, timeout=_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request("GET", f"/v1/models/{model}")
        found = json.loads(connection.getresponse().read())["model_version_status"]
    return {each["version"]: each["state"] for each in found}


class Bare:
    """A model in a process of its own on one core, called without a server."""

    def __init__(self, core: int, version: Path, body: Path) -> None:
        with common.pinned(core):
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BARE, str(version), str(body)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def __enter__(self) -> Self:
        # Loading would take the core from what else is measured there.
        assert self._process.stdout
        if not self._process.stdout.readline():
            sys.exit("the bare model did not start")
        return self

    def __exit__(self, *_: object) -> None:
        with common.ending(self._process):
            pass

    def rate(self, length_s: float) -> float:
        """Return the calls a second."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{length_s}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


_BARE = """
import sys, time
from pathlib import Path
from pytest_tfserving.model_server import json_tensor
from pytest_tfserving.model_server.servable import Servable
servable = Servable.load(Path(sys.argv[1]), intra_op=1, inter_op=1)
request = json_tensor.decode(Path(sys.argv[2]).read_bytes(), servable)
servable.run(request.signature_name, request.inputs)
print("ready", flush=True)
for line in sys.stdin:
    servable.run(request.signature_name, request.inputs)
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < float(line):
        servable.run(request.signature_name, request.inputs)
        calls += 1
    print(calls / (time.perf_counter() - start), flush=True)
"""
