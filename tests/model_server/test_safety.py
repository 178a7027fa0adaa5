"""Whatever clients send, they are told of their mistake, and others are served."""

from __future__ import annotations

import gzip
import json
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grpc_client import Client, add_examples, tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server_process import Server

SHORT = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.fixed_dictionaries({"b64": inner})
    ),
    max_leaves=20,
)
SIGNATURES = ("", "two", "text", "sum", "echo_int8", "echo_uint64", "echo_bool", "echo_half", "regress")
CLIENT_CODES = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "UNIMPLEMENTED"}


def nested(depth: int, inside: str = "1") -> bytes:
    return b"[" * depth + inside.encode() + b"]" * depth


@SHORT
@given(JSON, st.sampled_from(["instances", "inputs"]), st.sampled_from(SIGNATURES))
def test_no_predict_request_is_a_server_error(kinds: Server, value: object, key: str, signature: str) -> None:
    response = kinds.predict({"signature_name": signature, key: value})

    assert response.status_code in (200, 400, 501), response.text


@SHORT
@given(st.lists(JSON, min_size=1, max_size=3), st.sampled_from(["classify", "regress"]), JSON)
def test_no_examples_are_a_server_error(kinds: Server, examples: object, verb: str, context: object) -> None:
    for body in ({"examples": examples}, {"examples": examples, "context": context}):
        response = kinds.post({"signature_name": verb, **body}, f":{verb}")

        assert response.status_code in (200, 400), response.text


@SHORT
@given(st.binary(max_size=100), st.sampled_from(["Predict", "Classify", "Regress", "MultiInference"]))
def test_no_bytes_over_grpc_are_a_server_error(client: Client, content: bytes, method: str) -> None:
    assert client.failure(method, content)[0] in CLIENT_CODES


@SHORT
@given(
    st.integers(0, 30),
    st.lists(st.integers(-2, 2**62), max_size=3),
    st.sampled_from(["tensor_content", "float_val", "int_val", "string_val", "half_val", "bool_val"]),
    st.binary(max_size=40),
)
def test_no_tensor_is_a_server_error(
    client: Client, dtype: int, shape: list[int], field: str, content: bytes
) -> None:
    request = client.request("Predict", "kinds")
    request.inputs["x"].CopyFrom(tensor(np.zeros(0, np.float32)))
    request.inputs["x"].dtype = dtype
    del request.inputs["x"].tensor_shape.dim[:]
    for size in shape:
        request.inputs["x"].tensor_shape.dim.add(size=size)
    if field == "tensor_content":
        request.inputs["x"].tensor_content = content
    else:
        getattr(request.inputs["x"], field).append(content)

    try:
        client.call("Predict", request)
    except Exception as error:  # noqa: BLE001 - what it is, is asserted
        failed: Any = error
        assert failed.code().name in CLIENT_CODES, failed.details()


@SHORT
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_no_example_over_grpc_is_a_server_error(client: Client, examples: list[bytes]) -> None:
    request = add_examples(client.request("Regress", "kinds", "regress"), examples)

    try:
        client.call("Regress", request)
    except Exception as error:  # noqa: BLE001 - what it is, is asserted
        failed: Any = error
        assert failed.code().name in CLIENT_CODES, failed.details()


@pytest.fixture(scope="module")
def client(kinds: Server) -> Iterator[Client]:
    with Client(f"127.0.0.1:{kinds.grpc_port}") as made:
        yield made


@pytest.mark.parametrize("inside", ["1", ""])
@pytest.mark.parametrize("key", ["instances", "inputs"])
@pytest.mark.parametrize("depth", [2, 62, 63, 64, 65, 255, 900, 990, 5000, 100_000])
def test_deep_nesting(kinds: Server, key: str, depth: int, inside: str) -> None:
    body = b'{"signature_name": "echo_float32", "%s": [%s]}' % (key.encode(), nested(depth, inside))

    response = kinds.predict(body)

    assert response.status_code == (200 if depth < 64 else 400), response.text
    assert kinds.predict({"instances": [1]}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": ' + nested(900, '{"b64": "%"}') + b"}",
        b'{"instances": ' + nested(5000, '"x"') + b"}",
        b'{"signature_name": ' + nested(900) + b', "instances": [1]}',
        b'{"a": ' * 900 + b"1" + b"}" * 900,
        b'{"instances": [' + b"9" * 10_000 + b"]}",
        b'{"signature_name": "echo_int64", "instances": [' + b"9" * 4000 + b"]}",
        b'{"signature_name": "echo_float64", "instances": [-' + b"9" * 4000 + b"]}",
        b'{"instances": [1e' + b"9" * 4000 + b"]}",
        b'{"instances": ["\\ud800"]}',
        b'{"signature_name": "\\udfff", "instances": [1]}',
        b'{"instances": [{"\\ud800": 1}]}',
        b'{"instances": [' + b"\xff" * 100 + b"]}",
        b'{"instances": ["' + b"x" * 1_000_000,
        b"\x00" * 1000,
    ],
    ids=range(14),
)
def test_odd_bodies(kinds: Server, body: bytes) -> None:
    response = kinds.predict(body)

    assert response.status_code in (200, 400), response.text
    assert "Traceback" not in response.text


def test_a_body_that_swells(kinds: Server) -> None:
    response = kinds.predict(gzip.compress(bytes(101 * 2**20)), headers={"Content-Encoding": "gzip"})

    assert response.json()["error"] == "JSON Parse error: The document is empty"


def test_a_body_above_the_limit(kinds: Server) -> None:
    response = kinds.predict(b" " * (100 * 2**20 + 1))

    assert response.status_code == 413
    assert response.json() == {"error": "Request body is larger than 104857600 bytes"}


def test_a_body_of_single_bytes(kinds: Server) -> None:
    body = b'{"instances": [1.0]}' + b" " * 50_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    head = b"POST /v1/models/kinds:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert kinds.raw(head + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: b\r\n" % number for number in range(20_000)) + b"\r\n",
        b"POST /v1/models/kinds:predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/models/kinds:predict HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /" + b"9" * 60_000 + b"%zz HTTP/1.1\r\n\r\n",
        b"GET /" + b"a%20" * 15_000 + b"% HTTP/1.1\r\n\r\n",
        b"GET /" + b"a#" * 30_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=range(8),
)
def test_heads_that_are_none(kinds: Server, head: bytes) -> None:
    try:
        answer = kinds.raw(head)
    except OSError:
        answer = b""

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404")) or not answer
    assert kinds.predict({"instances": [1]}).status_code == 200


@pytest.mark.parametrize("path", ["..%2f..%2fetc", "%00", "%ff", "a%2fb", "\N{GREEK SMALL LETTER ALPHA}"])
def test_names_that_are_no_models(kinds: Server, path: str) -> None:
    for each in (f"/v1/models/{path}", f"/v1/models/{path}/metadata"):
        response = kinds.get(each)

        assert response.status_code == 404
        assert "error" in response.json()


def test_slow_clients_keep_nobody_waiting(kinds: Server) -> None:
    head = b"POST /v1/models/kinds:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    slow = [socket.create_connection(("127.0.0.1", kinds.port)) for _ in range(200)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall(head[: 1 + number % len(head)])
        answers = [kinds.predict({"instances": [1]}).status_code for _ in range(20)]
    finally:
        for connection in slow:
            connection.close()

    assert answers == [200] * 20


def test_memory_stays_flat(kinds: Server) -> None:
    """The bodies have 70 MB between two looks, more than a tenth of what the server holds."""
    process = psutil.Process(kinds.process.pid)
    texts = json.dumps({"instances": ["x" * 1000] * 350}).encode()
    bodies = [texts, nested(300), b'{"instances": [' + b"1, " * 120_000]

    def ask() -> int:
        for body in bodies * 100:
            assert kinds.predict(body).status_code == 400
        return process.memory_info().rss

    ask()
    before = ask()

    assert ask() < before * 1.1
