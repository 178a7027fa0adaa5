"""The REST API over real sockets: paths, bodies, errors, layouts."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

X = "half_plus_two"


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [1.0, 2.0, 5.0]}, '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'),
        ({"instances": [[1.0], [2]]}, '{\n    "predictions": [[2.5], [3.0]\n    ]\n}'),
        ({"instances": [{"x": 1.0}]}, '{\n    "predictions": [2.5\n    ]\n}'),
        ({"inputs": [1.0, 2.0]}, '{\n    "outputs": [\n        2.5,\n        3.0\n    ]\n}'),
        ({"inputs": {"x": [1.0], "z": 1}}, '{\n    "outputs": [\n        2.5\n    ]\n}'),
        ({"inputs": 3}, '{\n    "outputs": 3.5\n}'),
        ({"signature_name": "", "instances": [0]}, '{\n    "predictions": [2.0\n    ]\n}'),
        ({"instances": [1], "other": 3}, '{\n    "predictions": [2.5\n    ]\n}'),
        (b'{"instances": [1]} trailing', '{\n    "predictions": [2.5\n    ]\n}'),
        (b'{"instances": [1], "instances": [2]}', '{\n    "predictions": [2.5\n    ]\n}'),
        (
            b'{"instances": [NaN, Inf, -Infinity]}',
            '{\n    "predictions": [NaN, Infinity, -Infinity\n    ]\n}',
        ),
        (b'{"instances": [9.9e38, 10e307]}', '{\n    "predictions": [Infinity, Infinity\n    ]\n}'),
        (b'\xef\xbb\xbf{"instances": [1]}', '{\n    "predictions": [2.5\n    ]\n}'),
        (b'\xef\xbb\xbf \r\n{"instances": [Inf]}', '{\n    "predictions": [Infinity\n    ]\n}'),
        (b'{"instances": [-NaN, NaN.5e1, 1E+2]}', '{\n    "predictions": [NaN, 4.5, 52.0\n    ]\n}'),
        (b'{"a": "\xff", "instances": [1]}', '{\n    "predictions": [2.5\n    ]\n}'),
        ({"instances": [17999996.0]}, '{\n    "predictions": [9e+06\n    ]\n}'),
        ({"instances": [-3.6]}, '{\n    "predictions": [0.2000000'),
    ],
)
def test_predict(half: Server, body: object, answer: str) -> None:
    response = half.predict(body)

    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    assert response.text.startswith(answer)


def test_several_inputs_and_outputs(many: Server) -> None:
    row = many.predict({"instances": [{"a": 1.5, "b": 2}, {"b": 3, "a": 4}]}).json()
    column = many.predict({"inputs": {"a": [1.5], "b": [2]}}).json()

    assert row == {"predictions": [{"total": 3.5, "twice": 4}, {"total": 7.0, "twice": 6}]}
    assert column == {"outputs": {"total": [3.5], "twice": [4]}}


def test_strings_and_bytes(many: Server) -> None:
    encoded = base64.b64encode(b"\x00\xff").decode()
    body = {"signature_name": "text", "instances": ["grüß", {"b64": encoded}]}

    first, second = many.predict(body).json()["predictions"]

    assert first == {"plain": "grüß", "raw_bytes": {"b64": base64.b64encode("grüß".encode()).decode()}}
    assert second["raw_bytes"] == {"b64": encoded}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b" \n ", "JSON Parse error: The document is empty. at offset: 3"),
        (b"\xef\xbb\xbf", "JSON Parse error: The document is empty. at offset: 3"),
        (b"\0{}", "JSON Parse error: The document is empty. at offset: 0"),
        (b"nonsense", "JSON Parse error: Invalid value. at offset: 1"),
        (b"tru", "JSON Parse error: Invalid value. at offset: 3"),
        (b'{"instances": [nan]}', "JSON Parse error: Invalid value. at offset: 16"),
        (b'{"instances": [Infinit]}', "JSON Parse error: Invalid value. at offset: 22"),
        (b'{"instances": [1., 2.]}', "JSON Parse error: Miss fraction part in number. at offset: 17"),
        (b'{"instances": [1e]}', "JSON Parse error: Miss exponent in number. at offset: 17"),
        (b'{"instances": [-]}', "JSON Parse error: Invalid value. at offset: 16"),
        (
            b'{"instances": [1.0 2.0]}',
            "JSON Parse error: Missing a comma or ']' after an array element. at offset: 19",
        ),
        (b'{"instances": [1,]}', "JSON Parse error: Invalid value. at offset: 17"),
        (b'{"a": 1,}', "JSON Parse error: Missing a name for object member. at offset: 8"),
        (b'{"a": "x\ty"}', "JSON Parse error: Invalid escape character in string. at offset: 8"),
        (b'{"a": "x\0y"}', "JSON Parse error: Missing a closing quotation mark in string. at offset: 8"),
        (b'{"a": "\\ud800"}', "JSON Parse error: The surrogate pair in string is invalid. at offset: 7"),
        (
            b'{"instances": [1e400]}',
            "JSON Parse error: Number too big to be stored in double. at offset: 15",
        ),
        (
            b'{"instances": [1, -2e+309]}',
            "JSON Parse error: Number too big to be stored in double. at offset: 18",
        ),
        (
            b'{"a": [' + b"9" * 400 + b"]}",
            "JSON Parse error: Number too big to be stored in double. at offset: 7",
        ),
        (b" \xc3\xa4", "JSON Parse error: Invalid value. at offset: 1"),
        (b'{"\xc3\xa4": x}', "JSON Parse error: Invalid value. at offset: 7"),
        (b'{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at offset: 5"),
        (b"{1: 2}", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b'{"a": 1 "b"}', "JSON Parse error: Missing a comma or '}' after an object member. at offset: 8"),
        (
            b'{"a": [1, "{" 2',
            "JSON Parse error: Missing a comma or ']' after an array element. at offset: 14",
        ),
        (b'{"a": "x', "JSON Parse error: Missing a closing quotation mark in string. at offset: 8"),
        (b'{"a": "\\q"}', "JSON Parse error: Invalid escape character in string. at offset: 7"),
        (
            b'{"a": "\\u12g4"}',
            "JSON Parse error: Incorrect hex digit after \\u escape in string. at offset: 7",
        ),
        (b"[]", "JSON Value: [] Is not object"),
        (b"[" * 100_000, "JSON Parse error: "),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, "expecting only one of 'inputs' or 'instances' keys to exist "),
        ({"instances": 3}, "JSON Value: 3 Expecting 'instances' to be an list/array"),
        ({"instances": []}, "JSON Value: [] No values in 'instances' array"),
        (
            {"signature_name": 3},
            'JSON Value: {\n    "signature_name": 3\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        ({"instances": [1, {"x": 1}]}, "Expecting value/list but got object at item 1 of input list"),
        ({"instances": [{"x": 1}, 1]}, "Expecting object but got list at item 1 of input list"),
        (
            {"instances": [{"x": 1}, {"x": "a"}]},
            "Failed to process element: 1 key: x of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "a" Type: String is not of expected type: float',
        ),
        ({"signature_name": "q", "instances": [1]}, 'Serving signature name: "q" not found in signature def'),
        (
            {"instances": ["x"]},
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        ({"instances": [True]}, "JSON Value: true Type: Boolean is not of expected type: float"),
        ({"instances": [None]}, "JSON Value: null Type: Null is not of expected type: float"),
        ({"instances": [[1, 2], [1, 2, 3]]}, "Expecting tensor size: 2 but got: 3"),
        ({"instances": [[1, 2], [[1], [2]]]}, "Expecting shape [2] but got: [2,1]"),
        (
            {"instances": [[[1, 2], [3]]]},
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        (
            {"instances": [{"z": 1}]},
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: z",
        ),
        ({"inputs": {"z": [1]}}, "Missing named input: x in 'inputs' object."),
        ({"instances": ["x" * 1000]}, '"' + "x" * 255 + " Type: String"),
        (
            {"inputs": {"x": {"b64": ["ä\n", {}, 1.5e30, 1e-7, 100000.0, 2**70]}}},
            'JSON Value: {\n    "b64": [\n        "ä\\n",\n        {},\n        1.5e30,\n        1e-7,\n'
            "        100000.0,\n        1.1805916207174113e21\n    ]\n} Type: Object",
        ),
    ],
)
def test_a_clients_mistake_is_400_with_its_text(half: Server, body: object, message: str) -> None:
    response = half.predict(body)

    assert response.status_code == 400
    assert message in response.json()["error"]
    assert response.text.startswith('{\n    "error": "')
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"instances": [{"a": 1.5}]}, 400, 'JSON object: {\n    "a": 1.5\n} keys must be equal to: a,b'),
        ({"instances": [1]}, 400, "instances is a plain list, but expecting list of objects"),
        ({"inputs": [1]}, 400, "inputs is a plain value/list, but expecting an object"),
        (
            {"inputs": {"a": [1], "b": [1.0]}},
            400,
            "JSON Value: 1.0 Type: Number is not of expected type: int32",
        ),
        ({"inputs": {"a": [1], "b": [2**40]}}, 400, "is not of expected type: int32"),
        ({"inputs": {"a": [1, 2], "b": [1, 2, 3]}}, 400, "ncompatible shapes"),
        ({"signature_name": "text", "instances": [{"b64": "!!"}]}, 400, "Unable to base64 decode"),
        ({"signature_name": "text", "instances": [{"b65": "aa"}]}, 400, "does not have named input: b65"),
        ({"signature_name": "text", "instances": [3]}, 400, "is not of expected type: string"),
        ({"signature_name": "scalar", "instances": [1.0]}, 400, "Tensor name: y has no shape information "),
    ],
)
def test_mistakes_with_several_inputs(many: Server, body: object, status: int, message: str) -> None:
    response = many.predict(body)

    assert status == response.status_code
    assert message in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (
            "/v1/models/other:predict",
            b'{"instances": [1]}',
            404,
            "Servable not found for request: Latest(other)",
        ),
        ("/v1/models/other:predict", b"{", 400, "JSON Parse error: Missing a name for object member."),
        (
            f"/v1/models/{X}/versions/99:predict",
            b"{}",
            404,
            f"Servable not found for request: Specific({X}, 99)",
        ),
        (f"/v1/models/{X}/labels/foo:predict", b"{}", 400, "Unrecognized servable version label: foo"),
        (f"/v1/models/{X}:PREDICT", b"{}", 400, f"Malformed request: POST /v1/models/{X}:PREDICT"),
        (f"/v1/models/{X}:predict?x=1", b"{}", 400, f"Malformed request: POST /v1/models/{X}:predict?x=1"),
        (f"/v1/models/{X}/versions/1/labels/a:predict", b"{}", 400, "Malformed request: POST"),
        (f"/v1/models/{X}", b"{}", 400, f"Malformed request: POST /v1/models/{X}"),
        (f"/v1/models/{X}:classify", b"{}", 400, "key 'examples' is expected and was not found"),
    ],
)
def test_paths_that_ask_for_what_is_not_there(
    half: Server, path: str, body: bytes, status: int, message: str
) -> None:
    response = half.session.post(f"{half.address}{path}", data=body, timeout=60)

    assert status == response.status_code
    assert message in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/models", 400, "Missing model name in request."),
        ("/v1/models/other", 404, "Could not find any versions of model other"),
        (f"/v1/models/{X}/versions/99", 404, f"Could not find version 99 of model {X}"),
        ("/v1/models/other/metadata", 404, "Servable not found for request: Latest(other)"),
        (f"/v1/models/{X}/nothing", 400, f"Malformed request: GET /v1/models/{X}/nothing"),
        ("/v1/nothing", 400, "Malformed request: GET /v1/nothing"),
    ],
)
def test_gets_of_what_is_not_there(half: Server, path: str, status: int, message: str) -> None:
    response = half.get(path)

    assert (status, message) == (response.status_code, response.json()["error"])


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_malformed(half: Server, method: str) -> None:
    response = half.session.request(method, half.model, timeout=60)

    assert response.status_code == 400
    assert response.json()["error"] == f"Malformed request: {method} /v1/models/{X}"


def test_head_has_no_body_and_the_connection_goes_on(half: Server) -> None:
    for _ in range(2):
        response = half.session.head(half.model, timeout=60)

        assert (response.status_code, response.content) == (400, b"")
        assert int(response.headers["Content-Length"]) > 0
        assert half.predict({"instances": [1]}).json() == {"predictions": [2.5]}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/V1/MODELS/half_plus_two:predict", 200),
        ("/v1/models/half%5fplus%5Ftwo:predict", 200),
        ("/v1/models/half_plus_two/VERSIONS/001:predict", 200),
        ("/v1/models/half_plus_two/versions/1:predict", 200),
        ("/v1/models/Half_Plus_Two:predict", 404),
        ("/v1/models/half_plus_two/labels/a%62c:predict", 400),
    ],
)
def test_spellings_of_a_path(half: Server, path: str, status: int) -> None:
    response = half.session.post(f"{half.address}{path}", data=b'{"instances": [1]}', timeout=60)

    assert response.status_code == status
    if "labels" in path:
        assert response.json()["error"] == "Unrecognized servable version label: abc"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_no_content_type_is_looked_at_and_no_answer_is_compressed(half: Server, content_type: str) -> None:
    headers = {"Content-Type": content_type, "Accept-Encoding": "gzip, deflate"}
    response = half.predict({"instances": [1.0] * 1000}, headers=headers)

    assert response.status_code == 200
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("path", ["/", "/metrics", "/v2/models/x", "/v1"])
def test_other_paths_are_a_404_page(half: Server, path: str) -> None:
    response = half.get(path)

    assert (response.status_code, response.headers["Content-Type"]) == (404, "text/html")


def test_a_version_no_number_holds_has_an_empty_body(half: Server) -> None:
    response = half.get(f"/v1/models/{X}/versions/99999999999999999999")

    assert (response.status_code, response.text) == (400, "")


def test_options(half: Server) -> None:
    good = half.session.options(half.model, headers={"Origin": "https://a.example"}, timeout=60)
    bad = half.session.options(half.model, timeout=60)

    assert (good.status_code, good.text, bad.status_code, bad.text) == (200, "", 400, "")


def test_status(half: Server) -> None:
    for path in (f"/v1/models/{X}", f"/v1/models/{X}/versions/1", f"/v1/models/{X}/labels/any"):
        response = half.get(path)
        assert response.text.startswith('{\n "model_version_status": [\n  {\n   "version": "1",')
        assert response.json()["model_version_status"] == [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]


def test_metadata(half: Server) -> None:
    document = half.get(f"/v1/models/{X}/metadata").json()

    assert document["model_spec"] == {"name": X, "signature_name": "", "version": "1"}
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
        "unknown_rank": False,
    }
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["defaults"] == {}


def test_numbers_that_are_none(many: Server) -> None:
    response = many.predict({"signature_name": "odd", "instances": [1.0, -1.0, 0.0]})

    assert response.text == '{\n    "predictions": [Infinity, -Infinity, NaN\n    ]\n}'


def test_a_gzip_body(half: Server) -> None:
    headers = {"Content-Encoding": "gzip"}

    good = half.predict(gzip.compress(b'{"instances": [1]}'), headers=headers)
    bad = half.predict(b'{"instances": [1]}', headers=headers)

    assert good.json() == {"predictions": [2.5]}
    assert (bad.status_code, bad.json()["error"]) == (400, "JSON Parse error: The document is empty")


def test_a_large_regular_body_takes_the_same_values(half: Server) -> None:
    numbers = [[number / 8] for number in range(5000)]

    assert half.predict({"instances": numbers}).json()["predictions"] == [[n / 2 + 2] for (n,) in numbers]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0]] * 2000 + [[1.0]], "Failed to process element: 2000 of 'instances' list. Error: *"),
        ([[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]] * 1000, "Failed to process element: 1 of 'instances' list."),
        ([[1.0]] * 2000 + [["x"]], "Failed to process element: 2000 of 'instances' list."),
    ],
)
def test_a_large_ragged_body_is_refused(half: Server, rows: list[Any], message: str) -> None:
    response = half.predict({"instances": rows})

    assert response.status_code == 400
    assert response.json()["error"].startswith(message.rstrip("*"))


def test_a_deadline(models: Path) -> None:
    body = {"signature_name": "slow", "inputs": [1 << 50]}
    with Server("many", models / "many", "--rest_api_timeout_in_ms=300") as server:
        response = server.predict(body)

    assert (response.status_code, response.json()["error"]) == (504, "Timed out waiting for notification")


def test_requests_on_one_connection_are_answered_in_order(half: Server) -> None:
    body = b'{"instances": [%d]}'
    head = b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    sent = b"".join(head % len(body % number) + body % number for number in range(5))
    last = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    answer = half.raw(sent + last).decode()

    values = [part.partition("\n")[0] for part in answer.split('"predictions": [')[1:]]
    assert [float(value) for value in values] == [2.0, 2.5, 3.0, 3.5, 4.0]
    assert answer.rstrip().endswith("}")


class Connection:
    """A connection over which requests are sent byte by byte as a test wants."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *parts: bytes) -> None:
        """Send parts so that they arrive one after the other."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            self._socket.sendall(part)

    def answer(self) -> tuple[int, str]:
        """Status and body of the next answer."""
        status = int(self._file.readline().split()[1])
        headers = http.client.parse_headers(self._file)
        return status, self._file.read(int(headers["Content-Length"])).decode()


def post(body: bytes, *headers: str) -> bytes:
    """A predict request."""
    lines = ["POST /v1/models/half_plus_two:predict HTTP/1.1", "Host: x", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def predicted(x: int) -> tuple[int, str]:
    """The answer to a request for one number."""
    return 200, f'{{\n    "predictions": [{x / 2 + 2}\n    ]\n}}'


def test_heads_that_come_again_have_bodies_of_their_own(half: Server) -> None:
    with Connection(half) as first, Connection(half) as second:
        for x in range(10, 99):
            for connection in (first, second):
                connection.send(post(b'{"instances": [%d]}' % x))
                assert connection.answer() == predicted(x)
            first.send(post(b'{"inputs": x }'))
            assert first.answer()[0] == 400


def test_a_head_that_came_before_may_come_in_parts_and_with_others(half: Server) -> None:
    two = [post(b'{"instances": [%d]}' % x) for x in (10, 20)]
    with Connection(half) as connection:
        for _ in range(3):
            connection.send(two[0])
            assert connection.answer() == predicted(10)
            connection.send(two[0][:60], two[0][60:-3], two[0][-3:])
            assert connection.answer() == predicted(10)
            connection.send(two[0] + two[1], two[1][:-1], two[1][-1:] + two[0] + two[1][:40], two[1][40:])
            assert [connection.answer() for _ in range(5)] == [predicted(x) for x in (10, 20, 20, 10, 20)]
            connection.send(two[0][:-1] + b"\n", b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (connection.answer()[0], connection.answer()[0]) == (400, 400)


def test_a_body_that_looks_like_the_end_of_a_head(half: Server) -> None:
    for body in (b"\r\n\r\n{}", b'{"instances": [10]}\r\n\r\n', b"\r\n\r\n"):
        with Connection(half) as connection:
            for _ in range(3):
                connection.send(post(body))
                status, text = connection.answer()
                assert (status, text) == predicted(10) if b"10" in body else status == 400


def test_a_gzip_body_whose_head_came_before(half: Server) -> None:
    with Connection(half) as connection:
        for x in (10, 20, 30):
            connection.send(post(gzip.compress(b'{"instances": [%d]}' % x), "Content-Encoding: gzip"))
            assert connection.answer() == predicted(x)


def test_a_client_that_asks_whether_to_go_on_is_told_so_each_time(half: Server) -> None:
    request = post(b'{"instances": [10]}', "Expect: 100-continue")
    head, _, body = request.partition(b"\r\n\r\n")
    with Connection(half) as connection:
        for _ in range(3):
            connection.send(head + b"\r\n\r\n")
            assert connection._file.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert connection._file.readline() == b"\r\n"
            connection.send(body)
            assert connection.answer() == predicted(10)


def test_a_request_that_ends_the_connection_after_others(half: Server) -> None:
    with Connection(half) as connection:
        keeps, ends = post(b'{"instances": [10]}'), post(b'{"instances": [20]}', "Connection: close")
        connection.send(keeps)
        assert connection.answer() == predicted(10)
        connection.send(keeps + ends + keeps)
        assert (connection.answer(), connection.answer()) == (predicted(10), predicted(20))
        assert connection._file.read() == b""


def test_a_chunked_body(half: Server) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"instances"'
        yield b": [1]}"

    response = half.session.post(f"{half.model}:predict", data=chunks(), timeout=60)

    assert response.json() == {"predictions": [2.5]}


JDK = (
    "Connection: Upgrade, HTTP2-Settings",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    "Upgrade: h2c",
    "User-Agent: Java-http-client/17.0.18",
)


@pytest.mark.parametrize(
    "offer",
    [
        JDK,
        ("Upgrade: websocket", "Connection: keep-alive, Upgrade"),
        ("UPGRADE:TLS/1.2", "connection: upgrade"),
    ],
    ids=["h2c", "websocket", "TLS"],
)
def test_offers_of_another_protocol_are_ignored(half: Server, offer: tuple[str, ...]) -> None:
    request = post(b'{"instances": [10]}', *offer)
    get = "\r\n".join(["GET /v1/models/half_plus_two HTTP/1.1", "Host: x", *offer, "", ""]).encode()
    with Connection(half) as connection:
        for _ in range(2):
            connection.send(request)
            assert connection.answer() == predicted(10)
            connection.send(get)
            assert connection.answer()[0] == 200
        connection.send(request[:90], request[90:] + get + request)
        assert [connection.answer()[0] for _ in range(3)] == [200] * 3


def test_a_body_may_look_like_an_offer(half: Server) -> None:
    body = gzip.compress(b'{"instances": [10]}', compresslevel=0) + b"\r\nUpgrade: h2c\r\n\r\n"
    with Connection(half) as connection:
        for _ in range(2):
            connection.send(post(body, "X: y"))
            assert connection.answer()[0] == 400
            connection.send(post(b'{"instances": [10]}\nUpgrade: h2c\r\n\r\n'))
            assert connection.answer() == predicted(10)


def test_lines_may_end_with_lf_alone(half: Server) -> None:
    request = post(b'{"instances": [10]}').replace(b"\r\n", b"\n")
    with Connection(half) as connection:
        connection.send(request, request[:50], request[50:])
        assert [connection.answer(), connection.answer()] == [predicted(10), predicted(10)]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("choice", ["", "close", "keep-alive"])
def test_the_connection_lasts_as_the_client_chooses(half: Server, version: str, choice: str) -> None:
    body = b'{"instances": [10]}'
    lines = [f"POST /v1/models/half_plus_two:predict HTTP/{version}", f"Content-Length: {len(body)}"]
    request = "\r\n".join([*lines, *([f"Connection: {choice}"] if choice else []), "", ""]).encode() + body
    stays = choice == "keep-alive" or (version == "1.1" and not choice)
    with Connection(half) as connection:
        for _ in range(2 if stays else 1):
            connection.send(request)
            assert connection.answer() == predicted(10)
        assert stays or connection._file.read() == b""


@pytest.mark.parametrize("data", [b"\x00\x01\x02", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_is_refused(half: Server, data: bytes) -> None:
    assert half.raw(data).startswith((b"HTTP/1.1 400", b""))
    assert half.predict({"instances": [1]}).status_code == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON, st.sampled_from(["instances", "inputs"]))
def test_no_json_is_a_server_error(half: Server, value: object, key: str) -> None:
    response = half.predict(json.dumps({key: value}).encode())

    assert response.status_code in (200, 400)
    assert half.process.poll() is None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_are_a_server_error(half: Server, body: bytes) -> None:
    assert half.predict(body).status_code in (200, 400)
