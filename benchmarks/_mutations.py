"""What others send, damaged: answers over REST and gRPC, results, experiments. All come from a seed."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from _malformed import mutated

from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from google.protobuf.message import Message

    from pytest_tfserving.text.json_value import JsonObject, JsonValue

_ROWS = 3
_VALUES = (2.5, 3.0, 4.5)
_STATUSES = (0, 99, 100, 101, 204, 304, 418, 503, 999)
_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**63, 10**400, 1e308, -1e-320, "", "x", "\ud800\x1b[31m\x00", [], {}),
    *([[]], [None], {"x": 1}, [[[[1]]]], ["a", 1], "9" * 400, "`@octocat` |<b>", float("inf"), float("nan")),
)
_ODD_YAML = (
    *("~", "true", "-1", "0", "1.5", ".nan", ".inf", "1e999", "9" * 400, "0x" + "f" * 5000, "''", "'x'"),
    *("[]", "{}", "[[1]]", "{a: 1}", "? [a]\n: b", "!!python/object:os.system x", "!!int ''", "!x y"),
    *(
        "!!timestamp x",
        "2001-99-99",
        "!!binary '@'",
        "!!set {a, b}",
        "&a [*a]",
        "*nowhere",
        "|\n  text\n  text",
    ),
    *(
        '"\\uD800"',
        '"\\e[31m"',
        '"\\0"',
        "<<: x",
        "[" * 2_000,
        "{a: " * 500,
        "@octocat",
        "`x`",
        "%TAG",
        "1:2:3",
    ),
    *("---", "..."),
)
_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


# --- answers ---


def mutated_body(chance: random.Random, right: bytes) -> bytes:
    """Return a right body with bytes changed, or with another value in it."""
    if chance.randrange(3):
        return mutated(chance, right)
    document = json.loads(right)
    values: list[Any] = document["predictions"]
    match chance.randrange(4):
        case 0:
            values[chance.randrange(len(values))] = chance.choice(_ODD_VALUES)
        case 1:
            values.insert(chance.randrange(len(values)), 1.0)
        case 2:
            values.pop()
        case _:
            document = {chance.choice(("outputs", "error", "", "predictions ")): values}
    return json.dumps(document).encode()


def is_right_body(body: bytes) -> bool:
    """Return whether a body has as many numbers as there were instances."""
    try:
        values = json.loads(body)["predictions"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    numbers = isinstance(values, list) and all(type(each) in (int, float) for each in values)
    return numbers and len(values) == _ROWS


def mutated_answer(chance: random.Random, right: bytes) -> bytes:
    """Return a whole answer over HTTP with bytes changed anywhere, or with another head."""
    heads = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(right)}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: {chance.choice((-1, 0, 5, 10**20, len(right) + 1))}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        f"HTTP/1.{chance.randrange(10)} {chance.choice(_STATUSES)} x\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n" * chance.randrange(5),
        "",
    )
    weights = (4, 1, 1, 1, 1, 1)
    head = chance.choices(heads, weights)[0].encode()
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(right), right) if b"chunked" in head else right
    return mutated(chance, head + body)


def right_message() -> Message:
    """Return the message of a right answer over gRPC."""
    found = message("tensorflow.serving.PredictResponse")()
    fill_proto(found.outputs["y"], np.array(_VALUES, np.float32), as_content=False)
    return found


def mutated_message(chance: random.Random) -> bytes:
    """Return a right message with bytes changed, or with a tensor that contradicts itself."""
    found = right_message()
    if chance.randrange(2):
        return mutated(chance, found.SerializeToString())
    tensor = found.outputs["y"]
    match chance.randrange(5):
        case 0:
            tensor.dtype = chance.randrange(30)
        case 1:
            tensor.tensor_shape.dim[0].size = chance.choice((-1, 0, 2, 4, 2**24, 2**40, 2**62))
        case 2:
            for _ in range(chance.randrange(1, 300)):
                tensor.tensor_shape.dim.add(size=chance.choice((0, 1, 2, 2**20)))
        case 3:
            tensor.tensor_content = chance.randbytes(chance.randrange(20))
        case _:
            fill_proto(found.outputs["z"], np.ones(chance.randrange(5), np.float32), as_content=False)
    content: bytes = found.SerializeToString()
    return content


def is_right_message(content: bytes) -> bool:
    """Return whether a message has one tensor of three numbers, as the official library would read it."""
    from google.protobuf.message import DecodeError

    try:
        outputs = list(message("tensorflow.serving.PredictResponse").FromString(content).outputs.values())
    except DecodeError:
        return False
    if len(outputs) != 1 or outputs[0].tensor_shape.unknown_rank:
        return False
    (tensor,) = outputs
    sizes = [axis.size for axis in tensor.tensor_shape.dim]
    return sizes == [_ROWS] and _holds_numbers(tensor)


def _holds_numbers(tensor: Message) -> bool:
    """Return whether a tensor has three numbers, and no more bytes than those take."""
    from pytest_tfserving.model_server.tensor_proto import to_array

    try:
        array = to_array(tensor)
    except ValueError:
        return False
    return bool(array.dtype.kind in "iufcV" and array.size == _ROWS)


# --- results ---


def mutated_json(chance: random.Random, document: dict[str, Any]) -> bytes:
    """Return a document with parts replaced, taken away or made deep, or with bytes changed."""
    text = json.dumps(document)
    if not chance.randrange(4):
        return mutated(chance, text.encode())
    if not chance.randrange(20):
        return text[: chance.randrange(len(text))].encode()
    changed = json.loads(text)
    for _ in range(chance.randint(1, 3)):
        _change(chance, changed)
    # Deeper than a parser goes.
    deep = "[" * 50_000 + "]" * 50_000
    marked = json.dumps(changed)
    return marked.replace('"DEEP"', deep).encode()


def _change(chance: random.Random, document: JsonObject) -> None:
    """Change one part, wherever it is."""
    at: Any = document
    while True:
        keys: Any = list(at) if isinstance(at, dict) else range(len(at))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and chance.randrange(4):
            at = at[key]
            continue
        break
    match chance.randrange(10):
        case 0:
            del at[key]
        case 1 if isinstance(at, dict):
            at["surprise"] = at[key]
        case 2:
            at[key] = [at[key]]
        case 3:
            at[key] = _nested(chance.choice((10, 63, 70, 300)))
        case 4:
            at[key] = "DEEP"
        case 5:
            at[key] = chance.choice(_ODD_VALUES)
        case _:
            at[key] = _like(chance, at[key])


def _like(chance: random.Random, value: JsonValue) -> JsonValue:
    """Return another value of the same type, which a schema lets pass more often."""
    match value:
        case bool():
            return not value
        case int():
            return chance.choice((0, -1, 1, 2**53, 10**17, 10**400))
        case float():
            return chance.choice((0.0, -1.5, 1e-320, 1e308, math.inf, math.nan, 3.0))
        case str():
            return chance.choice(
                (*(each for each in _ODD_VALUES if isinstance(each, str)), value * 1000, "PASS")
            )
        case list():
            return value * chance.choice((0, 2, 100))
    return {}


def _nested(depth: int) -> JsonValue:
    value: JsonValue = 1
    for _ in range(depth):
        value = [value]
    return value


# --- experiments ---


def mutated_yaml(chance: random.Random, text: str) -> bytes:
    """Return a file of experiments with values replaced, lines moved, bytes changed, or a bomb of aliases."""
    lines = text.splitlines()
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        _YAML_CHANGES[chance.randrange(len(_YAML_CHANGES))](chance, lines)
    content = "\n".join(lines).encode(errors="surrogatepass")
    return mutated(chance, content) if not chance.randrange(4) else content


def _value(chance: random.Random, lines: list[str]) -> None:
    at = chance.randrange(len(lines))
    name, colon, _ = lines[at].partition(":")
    lines[at] = f"{name}{colon or ':'} {chance.choice(_ODD_YAML)}"


def _inner_value(chance: random.Random, lines: list[str]) -> None:
    """Replace a value in the middle of a line, as those of a flow mapping."""
    at = chance.randrange(len(lines))
    parts = lines[at].split(", ")
    which = chance.randrange(len(parts))
    name, colon, _ = parts[which].rpartition(": ")
    parts[which] = f"{name}{colon}{chance.choice(_ODD_YAML)}"
    lines[at] = ", ".join(parts)


def _moved(chance: random.Random, lines: list[str]) -> None:
    at = chance.randrange(len(lines))
    lines[at] = " " * chance.randrange(5) + lines[at].strip()


def _gone(chance: random.Random, lines: list[str]) -> None:
    if len(lines) > 1:
        del lines[chance.randrange(len(lines))]


def _twice(chance: random.Random, lines: list[str]) -> None:
    at = chance.randrange(len(lines))
    lines.insert(at, lines[at])


def _bomb(chance: random.Random, lines: list[str]) -> None:
    lines[0:0] = _BOMB.splitlines()
    lines.append(chance.choice(("experiments: *i", "profiles: *i", "defaults: {slo: *i}", "nodes: {a: *i}")))


def _many(chance: random.Random, lines: list[str]) -> None:
    numbers = ", ".join(map(str, range(1, chance.choice((3, 400)))))
    lines.append(f"- {{shape: [1cpu-1gb-1n, 2cpu-2gb-1n], inter_op: [{numbers}], batching: [true, false]}}")


_YAML_CHANGES: tuple[Callable[[random.Random, list[str]], None], ...] = (
    *(_value, _value, _inner_value, _inner_value, _inner_value, _moved, _gone, _twice, _bomb, _many),
)


def is_one_sentence(text: str, most: int = 2_000) -> bool:
    """Return whether an error is one line that a person reads, and no traceback."""
    return (
        0 < len(text) <= most and "\n" not in text.strip() and "Traceback" not in text and text.isprintable()
    )
