"""Load over gRPC: what is sent, how answers are judged, what becomes of it when servers misbehave."""

from __future__ import annotations

import socket
import subprocess
import threading
from concurrent import futures
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import gevent
import grpc
import numpy as np
import psutil
import pytest

from harness import PATIENCE_S, until
from pytest_tfserving.deployment.deployment import Endpoint
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto, to_array
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.grpc_connection import PREDICT, Channels, GrpcChannel, GrpcConnection
from pytest_tfserving.protocols.grpc_messages import answer_document, predict_request
from pytest_tfserving.protocols.http2 import frame, header_block
from pytest_tfserving.protocols.payload import Payload
from pytest_tfserving.protocols.transport import ExchangeError
from pytest_tfserving.targets.url import parse_url
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness import Project
    from pytest_tfserving.text.json_value import JsonValue

HALF = """
defaults: {model: half_plus_two, profile: tiny, protocol: grpc}
profiles:
  tiny: {users: 3, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.02, request_timeout_s: 5,
    max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["max<60s", "errors<90%"]}
"""
LARGE = 5 * 2**20


# --- the whole way ---


def test_an_experiment_is_loaded_over_grpc(project: Project) -> None:
    project.write(HALF)

    run, (result,) = project.results(server=False)

    run.assert_outcomes(passed=1)
    assert result["experiment"] == "1cpu-1gb-1n-interop1-grpc"
    assert result["endpoints"][0].startswith("grpc://127.0.0.1:")
    assert (result["verdict"], result["errors"]) == ("PASS", {})
    assert result["total_requests"] > 20
    assert result["configuration"]["protocol"] == "grpc"
    # The model in process says what is right, for both protocols.
    assert result["baseline"]["rps"]


@pytest.fixture(scope="module")
def half(half_plus_two: Path) -> Iterator[Server]:
    with Server("half_plus_two", half_plus_two) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "profile", "more"),
    [
        ("half_plus_two", "users: 3", []),
        ("half_plus_two/versions/1", "users: 3", ["--tfserving-load-processes=2"]),
        ("half_plus_two", "users: 3", ["--tfserving-rate=60"]),
        ("half_plus_two", "grpc_channels: 1, users: 3", []),
    ],
    ids=["users", "version and processes", "rate", "shared channel"],
)
def test_an_address_of_grpc_is_judged(
    project: Project, half: Server, path: str, profile: str, more: list[str]
) -> None:
    project.write(HALF.replace("users: 3", profile))
    url = f"grpc://127.0.0.1:{half.grpc_port}/{path}"

    run, (result,) = project.results("--tfserving-target=url", f"--tfserving-url={url}", *more, server=False)

    run.assert_outcomes(passed=1)
    assert result["endpoints"] == [f"grpc://127.0.0.1:{half.grpc_port}"]
    assert (result["verdict"], result["errors"]) == ("PASS", {})
    assert result["profile"]["grpc_channels"] == (1 if "channels" in profile else 0)


def test_an_address_of_the_other_protocol_is_refused(project: Project, half: Server) -> None:
    project.write(HALF)

    run = project.run("--tfserving-target=url", f"--tfserving-url={half.model}", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        [
            f"ERROR: --tfserving-url: {half.model} is an address of rest, and experiment "
            "'1cpu-1gb-1n-interop1-grpc' is loaded over grpc; write it as *"
        ]
    )


def test_a_payload_that_does_not_fit_the_signature_is_said(project: Project) -> None:
    project.write(HALF.replace("defaults: {", "defaults: {payload: request.json, "))
    (project.pytester.path / "request.json").write_text('{"instances": [{"y": 1.0}]}')

    run = project.run(server=False)

    run.stdout.fnmatch_lines(["*the payload names the input 'y'; the signature has x.*"])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_a_server_that_dies_fails_the_run(project: Project, half_plus_two: Path) -> None:
    project.write(HALF, "def test_gate(load):\n    load(run_time_s=60).check()\n")
    with Server("half_plus_two", half_plus_two) as server:
        url = f"grpc://127.0.0.1:{server.grpc_port}/half_plus_two"
        before = _asked(server)

        def kill_when_loaded() -> None:
            until(lambda: _asked(server) > before + 200, "load")
            server.process.kill()

        killer = threading.Thread(target=kill_when_loaded)
        killer.start()

        run, (result,) = project.results("--tfserving-target=url", f"--tfserving-url={url}", server=False)

        killer.join()
    run.assert_outcomes(failed=1)
    assert result["verdict"] == "FAIL"
    assert any("connection" in cause for cause in result["errors"]), result["errors"]


def _asked(server: Server) -> int:
    """How often the server has read something."""
    count: int = psutil.Process(server.process.pid).io_counters().read_count
    return count


# --- one connection ---


@contextmanager
def serving(
    behave: Callable[[bytes, grpc.ServicerContext], bytes], **options: object
) -> Iterator[tuple[str, int, grpc.Server]]:
    """A server of the official library that answers Predict by ``behave``."""
    server = grpc.server(
        futures.ThreadPoolExecutor(32),
        options=[("grpc.max_receive_message_length", -1), *((f"grpc.{k}", v) for k, v in options.items())],
    )
    service, method = PREDICT.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(behave)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield "127.0.0.1", port, server
    finally:
        server.stop(0).wait()


def connection(port: int, body: bytes = b"request", deadline_s: float = 20.0) -> GrpcConnection:
    return GrpcConnection(GrpcChannel("127.0.0.1", port, sent(body), tls=None, deadline_s=deadline_s))


def sent(body: bytes) -> list[bytes]:
    """The only message of a channel."""
    return [SERVING_PROTOCOLS["grpc"].framed(body)]


@pytest.mark.parametrize("size", [0, 1, 16_384, 100_000, LARGE])
def test_messages_of_every_size_go_and_come(size: int) -> None:
    body = np.random.default_rng(size).bytes(size)
    with serving(lambda request, _: request[::-1]) as (_, port, _):
        ours = connection(port, body)

        answers = [ours.exchange() for _ in range(20 if size < LARGE else 3)]
        ours.close()

    assert all(status == 0 and answer == body[::-1] for status, answer in answers)


def test_more_is_received_than_a_window_holds() -> None:
    with serving(lambda *_: bytes(60 * 2**20)) as (_, port, _):
        ours = connection(port)

        sizes = [len(ours.exchange()[1]) for _ in range(20)]
        ours.close()

    assert sizes == [60 * 2**20] * 20


@pytest.mark.parametrize("most", [1000, 3])
def test_many_calls_share_a_connection(most: int) -> None:
    peers: set[str] = set()

    def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
        peers.add(context.peer())
        return request

    with serving(behave, max_concurrent_streams=most) as (host, port, _):
        channels = Channels([Endpoint(host, port)], sent(bytes(50_000)), 1, 20.0)
        users = [channels(number) for number in range(40)]

        calls = [gevent.spawn(user.exchange) for user in users]
        answers = [call.get() for call in calls]
        users[0].close()

    assert answers == [(0, bytes(50_000))] * 40
    assert len(peers) == 1


def test_users_are_spread_over_replicas_and_channels() -> None:
    peers: dict[int, set[str]] = {0: set(), 1: set()}

    def behaviour(index: int) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
            peers[index].add(context.peer())
            return request

        return behave

    with serving(behaviour(0)) as (host, first, _), serving(behaviour(1)) as (_, second, _):
        endpoints = [Endpoint(host, port) for port in (first, second)]
        channels = Channels(endpoints, sent(b"x"), 2, 20.0)
        users = [channels(number) for number in range(12)]
        for user in users:
            user.exchange()
        for user in users:
            user.close()

    assert [len(each) for each in peers.values()] == [2, 2]


def test_a_status_is_told_with_its_text() -> None:
    def behave(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "Sërvable not found %")
        raise AssertionError

    with serving(behave) as (_, port, _):
        ours = connection(port)

        assert ours.exchange() == (5, "Sërvable not found %".encode())
        assert ours.exchange() == (5, "Sërvable not found %".encode())
        ours.close()


def test_the_server_is_told_the_deadline() -> None:
    left: list[float] = []

    def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
        left.append(context.time_remaining())
        return request

    with serving(behave) as (_, port, _):
        ours = connection(port, deadline_s=7.5)
        ours.exchange()
        ours.close()

    assert 0 < left[0] <= 7.5


def test_a_call_that_is_given_up_is_cancelled_and_the_connection_goes_on() -> None:
    begun, cancelled = threading.Event(), threading.Event()

    def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
        if not begun.is_set():
            context.add_callback(cancelled.set)
            begun.set()
            cancelled.wait(60)
        return request

    with serving(behave) as (_, port, _):
        ours = connection(port)
        call = gevent.spawn(ours.exchange)
        gevent.get_hub().threadpool.apply(begun.wait, (60,))

        ours.abort()

        with pytest.raises(ExchangeError, match="given up"):
            call.get()
        assert ours.exchange() == (0, b"request")
        assert gevent.get_hub().threadpool.apply(cancelled.wait, (60,))
        ours.close()


def test_a_server_that_comes_back_is_connected_to_anew() -> None:
    with serving(lambda request, _: request) as (_, port, server):
        ours = connection(port)
        assert ours.exchange()[0] == 0
        server.stop(0).wait()

        def refused() -> bool:
            try:
                ours.exchange()
            except ExchangeError as error:
                return "connect" in str(error)
            return False

        until(refused, "the end of the server")
    with serving(lambda request, _: request) as (_, port, _):
        ours = connection(port)
        assert ours.exchange()[0] == 0
        ours.close()


SETTINGS, REQUEST = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", b"request"
HEADERS, RST_STREAM, GOAWAY, ENDS = 1, 3, 7, 0x1 | 0x4


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "not an HTTP/2 server"),
        (b"", "connection closed after no response"),
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00", "connection closed after no response"),
        (
            SETTINGS + b"\x00\x00\x02\x01\x04\x00\x00\x00\x01\xff\xff",
            "not an HTTP/2 response",
        ),
        (
            SETTINGS + b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88",
            "not a gRPC response: no gRPC status",
        ),
        (
            SETTINGS + b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x02",
            "stream reset by the server, HTTP/2 error 2",
        ),
    ],
    ids=["HTTP/1", "nothing", "half a frame", "bad headers", "no status", "reset"],
)
def test_what_is_no_answer_is_a_cause(said: bytes, cause: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1 << 16)
                peer.sendall(said[:9])  # settings, where it is HTTP/2: only then does a request come
                if said.startswith(SETTINGS):
                    while REQUEST not in peer.recv(1 << 16):
                        pass
                peer.sendall(said[9:])
                with suppress(OSError):  # who hears nonsense hangs up
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(1 << 16):
                        pass

        server = threading.Thread(target=answer)
        server.start()
        ours = connection(listener.getsockname()[1])

        with pytest.raises(ExchangeError, match=cause):
            ours.exchange()
        ours.close()
        server.join()


ANSWER = header_block([(":status", "200"), ("grpc-status", "5")])


def refuse(stream: int) -> bytes:
    return frame(RST_STREAM, 0, stream, b"\x00\x00\x00\x07")


def go_away(_: int) -> bytes:
    return frame(GOAWAY, 0, 0, bytes(8))


def end(stream: int) -> bytes:
    return frame(HEADERS, ENDS, stream, ANSWER)


@pytest.mark.parametrize(
    ("connections", "outcome"),
    [
        ([[refuse, end]], (5, b"")),
        ([[refuse] * 4 + [end]], (5, b"")),
        ([[refuse] * 5], "stream reset by the server, HTTP/2 error 7"),
        ([[go_away], [end]], (5, b"")),
        ([[go_away], [refuse, go_away], [end]], (5, b"")),
        ([[go_away]] * 5, "the server is going away"),
    ],
    ids=["once", "four times", "always", "going away", "both", "always going away"],
)
def test_a_call_that_is_refused_is_sent_again(
    connections: list[list[Callable[[int], bytes]]], outcome: tuple[int, bytes] | str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for answers in connections:
                peer, _ = listener.accept()
                with peer:
                    peer.sendall(SETTINGS)
                    for number, behave in enumerate(answers):
                        while REQUEST not in (said := peer.recv(1 << 16)):
                            assert said
                        peer.sendall(behave(2 * number + 1))

        server = threading.Thread(target=answer)
        server.start()
        ours = connection(listener.getsockname()[1])

        try:
            ended: tuple[int, bytes] | str = ours.exchange()
        except ExchangeError as error:
            ended = str(error)
        ours.close()
        server.join(PATIENCE_S)

    assert ended == outcome
    assert not server.is_alive()


def test_no_call_fails_where_connections_grow_too_old() -> None:
    peers: set[str] = set()

    def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
        peers.add(context.peer())
        return request

    with serving(behave, max_connection_age_ms=100) as (host, port, _):
        channels = Channels([Endpoint(host, port)], sent(b"x"), 1, 20.0)
        users = [channels(number) for number in range(4)]

        def ask(user: GrpcConnection) -> set[tuple[int, bytes]]:
            answers = set()
            while len(peers) < 4:
                answers.add(user.exchange())
            return answers

        calls = [gevent.spawn(ask, user) for user in users]
        answers = [call.get() for call in calls]
        users[0].close()

    assert answers == [{(0, b"x")}] * 4


def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service, method = PREDICT.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    endpoint = Endpoint("127.0.0.1", port, tls=True, protocol="grpc")

    with pytest.raises(ExchangeError, match=r"cannot connect: .*certificate"):
        Channels([endpoint], sent(b"secret"), 0, 20.0)(0).exchange()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    connection = Channels([endpoint], sent(b"secret"), 0, 20.0)(0)
    assert connection.exchange() == (0, b"secret")

    connection.close()
    server.stop(0).wait()


# --- messages ---


def signature(**inputs: int) -> dict[str, Any]:
    proto = message("tensorflow.SignatureDef")()
    for name, dtype in inputs.items():
        proto.inputs[name].dtype = dtype
    return {"serving_default": proto}


FLOAT, STRING, INT64 = 1, 7, 9


@pytest.mark.parametrize(
    ("body", "inputs", "arrays"),
    [
        ('{"instances": [[1.0], [2.0]]}', {"x": FLOAT}, {"x": [[1.0], [2.0]]}),
        ('{"instances": [1, 2]}', {"x": INT64}, {"x": [1, 2]}),
        ('{"instances": [{"x": [1]}, {"x": [2]}]}', {"x": FLOAT}, {"x": [[1.0], [2.0]]}),
        ('{"instances": [{"x": 1, "y": "a"}]}', {"x": FLOAT, "y": STRING}, {"x": [1.0], "y": [b"a"]}),
        ('{"inputs": [[1.0]]}', {"x": FLOAT}, {"x": [[1.0]]}),
        ('{"inputs": {"x": [1], "y": [2]}}', {"x": FLOAT, "y": INT64}, {"x": [1.0], "y": [2]}),
        ('{"instances": [{"b64": "AAE="}]}', {"x": STRING}, {"x": [b"\x00\x01"]}),
        ('{"inputs": "one"}', {"x": STRING}, {"x": b"one"}),
    ],
)
def test_a_request_says_what_the_json_says(body: str, inputs: dict[str, int], arrays: dict[str, Any]) -> None:
    payload = Payload.from_body(body.encode())

    content = predict_request(payload, "/v1/models/m/versions/3", signature(**inputs))

    request = message("tensorflow.serving.PredictRequest").FromString(content)
    assert (request.model_spec.name, request.model_spec.version.value) == ("m", 3)
    assert {name: to_array(proto).tolist() for name, proto in request.inputs.items()} == arrays


@pytest.mark.parametrize(
    ("body", "inputs", "said"),
    [
        ('{"instances": [1], "signature_name": "other"}', {"x": FLOAT}, "no signature 'other'"),
        ('{"instances": [1]}', {"x": FLOAT, "y": FLOAT}, "the signature has the inputs x, y"),
        (
            '{"instances": [{"x": 1}, {"y": 2}]}',
            {"x": FLOAT, "y": FLOAT},
            "an instance of the payload has no",
        ),
        ('{"instances": [[1], [1, 2]]}', {"x": FLOAT}, "do not make a tensor of type float32"),
        ('{"instances": ["a"]}', {"x": FLOAT}, "do not make a tensor of type float32"),
        ('{"instances": [{"x": {"y": 1}}]}', {"x": STRING}, "do not make a tensor of type string"),
        ('{"instances": {"x": 1}}', {"x": FLOAT}, "'instances' of the payload is a list, not {'x': 1}"),
    ],
)
def test_a_payload_that_does_not_fit(body: str, inputs: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        predict_request(Payload.from_body(body.encode()), "/v1/models/m", signature(**inputs))


@pytest.mark.parametrize(
    ("outputs", "key", "document"),
    [
        ({"y": [[1.0], [2.0]]}, "predictions", [[1.0], [2.0]]),
        ({"y": [1.0]}, "outputs", [1.0]),
        (
            {"y": [1.0, 2.0], "z": [[3.0], [4.0]]},
            "predictions",
            [{"y": 1.0, "z": [3.0]}, {"y": 2.0, "z": [4.0]}],
        ),
        ({"y": [1.0], "z": [2.0, 3.0]}, "outputs", {"y": [1.0], "z": [2.0, 3.0]}),
    ],
)
def test_an_answer_is_looked_at_as_the_json_would_be(
    outputs: dict[str, Any], key: str, document: JsonValue
) -> None:
    answer = message("tensorflow.serving.PredictResponse")()
    for name, values in outputs.items():
        fill_proto(answer.outputs[name], np.asarray(values, np.float32), as_content=False)

    assert answer_document(answer.SerializeToString(), key) == document


def test_addresses_of_grpc() -> None:
    endpoint, path, model = parse_url("grpcs://example.com/resnet/labels/stable")

    assert (str(endpoint), path, model) == (
        "grpcs://example.com:443",
        "/v1/models/resnet/labels/stable",
        "resnet",
    )
    assert str(parse_url("grpc://[::1]/m")[0]) == "grpc://[::1]:8500"
    for text in ("grpc://host:8500", "grpc://host:8500/v1/models/m", "grpc:///m"):
        with pytest.raises(ConfigurationError, match="is not the address of a model"):
            parse_url(text)
