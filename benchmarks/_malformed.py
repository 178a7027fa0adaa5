"""Requests that a client got wrong, made from a seed: each kind is a function from a source of chance."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.model_server import varint
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.message import Message

    from pytest_tfserving.text.json_value import JsonObject, JsonValue

_MODEL = "/v1/models/kinds"
_SIGNATURES = (
    *("", "two", "text", "sum", "matrix", "rows", "scalar", "uneven", "no_inputs", "regress", "classify"),
    *("echo_int8", "echo_int64", "echo_uint64", "echo_bool", "echo_string", "echo_half", "nothing"),
)
_GRPC = {
    "Predict": "PredictRequest",
    "Classify": "ClassificationRequest",
    "Regress": "RegressionRequest",
    "MultiInference": "MultiInferenceRequest",
    "GetModelMetadata": "GetModelMetadataRequest",
    "GetModelStatus": "GetModelStatusRequest",
}
_VALID: Sequence[dict[str, Any]] = (
    {"instances": [[1.0], [2.0]]},
    {"signature_name": "two", "instances": [{"pair": [1.5, 2], "count": 3}]},
    {"signature_name": "two", "inputs": {"pair": [[1.5, 2], [3, 4]], "count": [3, 4]}},
    {"signature_name": "text", "instances": ["a", {"b64": "YWJj"}]},
    {"signature_name": "sum", "instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]},
)
_EXAMPLES = {"signature_name": "classify", "context": {"word": "w"}, "examples": [{"x": 1.5, "name": ["n"]}]}
_TOKENS = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud800", b"\x00", b"\xff", b"\xc3"),
    *(b"NaN", b"-Infinity", b"1e999", b"-", b"0x1", b"true", b"null", b'{"b64":"', b"9" * 400, b"\n"),
)


@dataclass(frozen=True, slots=True)
class Rest:
    """A request over HTTP with a proper head."""

    body: bytes
    target: str = f"{_MODEL}:predict"
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes for a connection of their own; ``grpc`` is whether they go to that port."""

    content: bytes
    grpc: bool = False


@dataclass(frozen=True, slots=True)
class Grpc:
    """The bytes of a request over gRPC."""

    method: str
    content: bytes


def _json(chance: random.Random, depth: int = 4) -> JsonValue:
    kind = chance.randrange(8 if depth else 5)
    if kind < 5:
        return _scalar(chance)
    if kind == 5:
        return {_text(chance): _json(chance, depth - 1) for _ in range(chance.randrange(4))}
    if kind == 6:
        return {"b64": _json(chance, depth - 1)}
    return [_json(chance, depth - 1) for _ in range(chance.randrange(5))]


def _scalar(chance: random.Random) -> JsonValue:
    return chance.choice(
        (
            *(None, True, False, 0, -1, 1.5, chance.random(), chance.randint(-(2**70), 2**70)),
            *(chance.randint(0, 300), _text(chance), float("nan"), float("inf"), 1e308, -1e-320, "", "YQ=="),
        )
    )


def _text(chance: random.Random) -> str:
    return "".join(
        chr(chance.choice((chance.randrange(0xD800), 65, 0x1F600))) for _ in range(chance.randrange(6))
    )


def mutated(chance: random.Random, content: bytes) -> bytes:
    """Change, remove or double some bytes, or put tokens between them."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0 if place < len(changed):
                changed[place] = chance.randrange(256)
            case 1:
                del changed[place : place + chance.randint(1, 8)]
            case 2:
                changed[place:place] = changed[place : place + chance.randint(1, 16)]
            case 3:
                changed[place:place] = chance.choice(_TOKENS)
            case _:
                changed[place:place] = chance.randbytes(chance.randint(1, 8))
    return bytes(changed)


def _valid(chance: random.Random) -> bytes:
    return json.dumps(chance.choice(_VALID)).encode()


# --- REST ---


def any_json(chance: random.Random) -> Rest:
    """Return a document of the right form with arbitrary content."""
    key = chance.choice(("instances", "inputs"))
    body = {"signature_name": chance.choice(_SIGNATURES), key: _json(chance)}
    return Rest(json.dumps(body).encode())


def any_examples(chance: random.Random) -> Rest:
    """Return a document of the right form for classify and regress, with arbitrary content."""
    verb = chance.choice(("classify", "regress"))
    body: JsonObject = {
        "signature_name": verb,
        "examples": [_json(chance) for _ in range(chance.randint(1, 3))],
    }
    if chance.randrange(2):
        body["context"] = _json(chance)
    return Rest(json.dumps(body).encode(), f"{_MODEL}:{verb}")


def changed_json(chance: random.Random) -> Rest:
    """Return a good request with some bytes changed."""
    if chance.randrange(4):
        return Rest(mutated(chance, _valid(chance)))
    return Rest(mutated(chance, json.dumps(_EXAMPLES).encode()), f"{_MODEL}:classify")


def truncated_json(chance: random.Random) -> Rest:
    """Return the beginning of a good request."""
    content = _valid(chance)
    return Rest(content[: chance.randrange(len(content))])


def random_bytes(chance: random.Random) -> Rest:
    """No JSON at all."""
    return Rest(chance.randbytes(chance.randrange(300)), f"{_MODEL}:{chance.choice(('predict', 'regress'))}")


def wrong_type(chance: random.Random) -> Rest:
    """Return a request with a value of another type than the input's."""
    value: Any = chance.choice(
        (None, True, "1", {}, {"b64": "YQ"}, [], [[]], 1.5, -1, 2**64, [1, [2]], [[1], 2])
    )
    key = chance.choice(("instances", "inputs"))
    return Rest(json.dumps({"signature_name": chance.choice(_SIGNATURES), key: [value, 1]}).encode())


def bad_base64(chance: random.Random) -> Rest:
    """Texts that are not quite base64."""
    text = mutated(chance, base64.b64encode(chance.randbytes(chance.randrange(30)))).decode("latin-1")
    signature = chance.choice(("text", "echo_string", "", "regress"))
    return Rest(json.dumps({"signature_name": signature, "instances": [{"b64": text}]}).encode())


def huge_number(chance: random.Random) -> Rest:
    """Numbers that no type holds."""
    digits = "9" * chance.choice((20, 40, 310, 5000))
    number = chance.choice(
        (digits, f"-{digits}", f"1e{digits}", f"-1e-{digits}", f"0.{digits}", f"{digits}.5e-7")
    )
    signature = chance.choice(("", "echo_int8", "echo_int64", "echo_uint64", "echo_bool", "sum"))
    return Rest(f'{{"signature_name": "{signature}", "inputs": [{number}]}}'.encode())


def odd_json(chance: random.Random) -> Rest:
    """Documents that JSON parsers read differently: marks, foreign bytes, words, large exponents."""
    mark = chance.choice((b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xbf", b"\x00"))
    words = (
        b"NaN",
        b"NInf",
        b"-Inf",
        b"Infe5",
        b"nan",
        b"1.",
        b"1e",
        b"1e308",
        b"99e307",
        b"1.0e309",
        b"tru",
    )
    texts = (b'"\xff"', b'"caf\xe9"', b'"\xed\xa0\x80"', b'"\\udc80"', b'"\t"', b'"\x00"', b'{"b64": "\xff"}')
    values = b", ".join(chance.choices((*words, *texts, b"1", b"2.5"), k=chance.choice((1, 2, 3, 2000))))
    signature = chance.choice((b"", b"text", b"sum", b"echo_int64", b"caf\xe9"))
    key = chance.choice((b"instances", b"inputs", b"examples"))
    verb = "classify" if key == b"examples" else "predict"
    document = b'{"signature_name": "%b", "%b": [%b]}' % (signature, key, values)
    return Rest(mark + document, f"{_MODEL}:{verb}")


def deep_nesting(chance: random.Random) -> Rest:
    """Return nested lists or objects."""
    depth = chance.choice((10, 63, 64, 65, 300, 1000, 5000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"x":', b"}"), (b'{"b64":', b"}")))
    inside = chance.choice((b"1", b'"a"', b"", b"[]"))
    ending = closing * chance.choice((depth, depth, depth - 1, 0))
    return Rest(b'{"instances": ' + opening * depth + inside + ending + b"}")


def ragged(chance: random.Random) -> Rest:
    """Rows of different lengths, many of them."""
    rows: list[Any] = [[1.5] * 3 for _ in range(chance.choice((2, 50, 500)))]
    for _ in range(chance.randint(1, 3)):
        rows[chance.randrange(len(rows))] = chance.choice(([1.0], [1, 2, 3, 4], [], 1, [[1]], ["x"], None))
    return Rest(json.dumps({"signature_name": "sum", "instances": rows}).encode())


def bad_gzip(chance: random.Random) -> Rest:
    """Return a damaged compressed body, or a body that is not compressed."""
    content = gzip.compress(_valid(chance) * chance.choice((1, 1000)))
    content = chance.choice((mutated(chance, content), content[: chance.randrange(len(content))], b"{}"))
    return Rest(content, headers={"Content-Encoding": chance.choice(("gzip", "gzip, gzip", "x-gzip"))})


def odd_path(chance: random.Random) -> Rest:
    """Paths and methods that ask for nothing."""
    part = chance.choice(
        (
            *(
                "",
                "/versions/1",
                "/versions/99",
                "/versions/-1",
                "/versions/" + "9" * chance.randrange(1, 60),
            ),
            *("/labels/none", "/labels/", "/metadata", "/versions/1/labels/a", "/..", "/../../etc/passwd"),
            *(
                "%2e%2e",
                "%00",
                "%",
                "%zz",
                "?x=1",
                "#y",
                ":predict",
                ":PREDICT",
                "//",
                "/versions/1:classify",
            ),
        )
    )
    names = (_MODEL, "/v1/models/other", "/v1/models", "/v1", "/V1/MODELS/kinds", "/v2/models/kinds")
    method = chance.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"))
    return Rest(chance.choice((b"", b"{}", _valid(chance))), chance.choice(names) + part, method)


def odd_head(chance: random.Random) -> Raw:
    """Return bytes that are not HTTP, or that stop in the middle."""
    body = _valid(chance)
    head = f"POST {_MODEL}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    match chance.randrange(6):
        case 0:
            return Raw(chance.randbytes(chance.randrange(1, 200)))
        case 1:
            return Raw(mutated(chance, head) + body)
        case 4:
            offer = chance.choice((b"h2c", b"websocket", b"", b"\x00", b"a" * 70_000))
            return Raw(head.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: %b\r\nHost" % offer) + body)
        case 5:
            length = chance.choice((2**31, 2**63, 2**64, 10**30, -1))
            return Raw(head.replace(b"%d" % len(body), b"%d" % length) + body)
        case 2:
            return Raw((head + body)[: chance.randrange(len(head + body))])
        case _:
            chunked = head.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
            return Raw(chunked + mutated(chance, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)))


# --- gRPC ---


def grpc_bytes(chance: random.Random) -> Grpc:
    """No message at all."""
    return Grpc(chance.choice(list(_GRPC)), chance.randbytes(chance.randrange(120)))


def _request(chance: random.Random, method: str) -> Message:
    request = message(f"tensorflow.serving.{_GRPC[method]}")()
    signature = chance.choice(_SIGNATURES)
    if method == "MultiInference":
        task = request.tasks.add(
            method_name=f"tensorflow/serving/{chance.choice(('classify', 'regress', 'x'))}"
        )
        task.model_spec.name, task.model_spec.signature_name = "kinds", signature
    else:
        request.model_spec.name, request.model_spec.signature_name = "kinds", signature
    if method in ("Classify", "Regress", "MultiInference"):
        examples = [chance.randbytes(chance.randrange(40)) for _ in range(chance.randrange(3))]
        request.input.example_list.examples.extend(examples)
    return request


def grpc_message(chance: random.Random) -> Grpc:
    """Return a message of the right kind with an error in it."""
    method = chance.choice(list(_GRPC))
    request = _request(chance, method)
    if method == "GetModelMetadata":
        request.metadata_field.append(chance.choice(("signature_def", "other", "")))
    if method == "Predict":
        fill_proto(
            request.inputs[chance.choice("xz")], np.ones(chance.randrange(4), np.float32), as_content=False
        )
        request.output_filter.extend(chance.choices(("y", "z", ""), k=chance.randrange(3)))
    content = request.SerializeToString()
    return Grpc(method, mutated(chance, content) if chance.randrange(2) else content)


def grpc_tensor(chance: random.Random) -> Grpc:
    """Return a tensor whose parts contradict each other."""
    request = _request(chance, "Predict")
    tensor = request.inputs[chance.choice(("x", "value", "text", "pair", "count"))]
    tensor.dtype = chance.randrange(30)
    for _ in range(chance.randrange(4)):
        tensor.tensor_shape.dim.add(size=chance.choice((-1, 0, 1, 2, 3, 2**16, 2**40, 2**62)))
    content = chance.randbytes(chance.choice((0, 3, 4, 8, 16, 40)))
    for name in chance.sample(("float_val", "int_val", "int64_val", "string_val", "half_val", "bool_val"), 2):
        getattr(tensor, name).append(content)
    if chance.randrange(3) == 0:
        tensor.tensor_content = content
    return Grpc("Predict", request.SerializeToString())


def grpc_texts(chance: random.Random) -> Grpc:
    """Return texts in ``tensor_content``, or numbers that are not packed, some of them damaged."""
    request = _request(chance, "Predict")
    tensor = request.inputs[chance.choice(("x", "value", "text", "pair", "count"))]
    texts = [chance.randbytes(chance.choice((0, 1, 5, 200))) for _ in range(chance.randrange(4))]
    tensor.dtype = chance.choice((7, 7, 1, 3, 10))
    if chance.randrange(4):
        tensor.tensor_shape.dim.add(size=max(len(texts) + chance.randrange(-1, 2), 0))
    lengths = varint.encode(np.array([len(text) for text in texts], np.int64))
    content = chance.choice((b"", lengths)) + b"".join(texts)
    tensor.tensor_content = mutated(chance, content) if content and chance.randrange(2) else content
    for _ in range(chance.randrange(3)):
        tensor.MergeFromString(
            chance.choice((b"\x2d\0\0\x80\x3f", b"\x38\x07", b"\x58\x01", b"\x68\xff\x01"))
        )
    return Grpc("Predict", request.SerializeToString())


def odd_http2(chance: random.Random) -> Raw:
    """Return bytes that are not HTTP/2, or that stop in the middle."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    match chance.randrange(3):
        case 0:
            return Raw(chance.randbytes(chance.randrange(1, 200)), grpc=True)
        case 1:
            return Raw(mutated(chance, preface), grpc=True)
        case _:
            return Raw(preface + chance.randbytes(chance.randrange(1, 200)), grpc=True)


# How many of a hundred requests are of each kind.
KINDS: Mapping[Callable[[random.Random], Rest | Raw | Grpc], int] = {
    any_json: 9,
    any_examples: 6,
    changed_json: 8,
    truncated_json: 5,
    random_bytes: 5,
    wrong_type: 6,
    bad_base64: 5,
    huge_number: 5,
    odd_json: 6,
    deep_nesting: 3,
    ragged: 4,
    bad_gzip: 3,
    odd_path: 5,
    odd_head: 3,
    grpc_bytes: 6,
    grpc_message: 8,
    grpc_tensor: 7,
    grpc_texts: 5,
    odd_http2: 1,
}
