"""Requests of clients that mean harm: without an end, small ones that grow, and names that forge lines.

Each kind is a function from a source of chance, as in `_malformed`.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from _malformed import Grpc, Rest

from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

_MODEL = "/v1/models/kinds"
_HEAD = f"POST {_MODEL}:predict HTTP/1.1\r\nHost: x\r\n".encode()
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_ODD = ("\r\n2026-01-01 00:00:00 error: forged", "\x1b[2J", "\0", "\u202e", "\u2028", "\x85", "a" * 2000)


@dataclass(frozen=True, slots=True)
class Endless:
    """A request that has to be refused before ``count`` parts are sent; ``count`` is never reached."""

    first: bytes
    part: bytes
    count: int = 5_000


def without_end(chance: random.Random) -> Endless:
    """Return a head, or a line between chunks, without an end."""
    firsts = (
        b"GET /",
        _HEAD,
        _HEAD + b"A: ",
        _CHUNKED + b"1 ;",
        _CHUNKED + b"1",
        _CHUNKED + b"0\r\nA: b\r\n",
    )
    parts = (b"a" * 20_000, b"A: b\r\n" * 3_000, b"1 ;b\r\nc\r\n" * 3_000)
    return Endless(chance.choice(firsts), chance.choice(parts))


def body_without_end(chance: random.Random) -> Endless:
    """Return chunks without an end."""
    part = chance.randbytes(2**20)
    return Endless(_CHUNKED, b"%x\r\n%b\r\n" % (len(part), part), 150)


def growing(chance: random.Random) -> Rest:
    """Return a few bytes of gzip that are many numbers, texts, brackets or spaces."""
    return _compressed(chance, chance.choice((2**10, 2**17)))


def growing_too_much(chance: random.Random) -> Rest:
    """Return such bytes that are more than the server takes."""
    return _compressed(chance, 101 * 2**20)


def _compressed(chance: random.Random, size: int) -> Rest:
    part = chance.choice((b"1,", b'"a",', b" ", b"[", b'{"b64": "YQ"},', b"\xff"))
    return Rest(_packed(part, size), headers={"Content-Encoding": "gzip"})


@cache
def _packed(part: bytes, size: int) -> bytes:
    return gzip.compress(b'{"instances": [' + part * (size // len(part)) + b"1]}", 1)


def only_space(chance: random.Random) -> Rest:
    """Return a body of spaces, or one with a comma or a bracket too few or too many."""
    body = json.dumps({"instances": [1.0, 2.0, 3.0] * chance.choice((1, 1000))}).encode()
    changes = (
        (b",", b" "),
        (b",", b",,"),
        (b"]", b""),
        (b"]", b"]]"),
        (b"[", b"[["),
        (b"[", b"[,"),
        (b":", b""),
    )
    spaces = chance.choice((b" ", b"\n\t", b"\r")) * chance.choice((1, 300_000))
    return Rest(chance.choice((spaces, body.replace(*chance.choice(changes), 1))))


def odd_names(chance: random.Random) -> Grpc:
    """Return names with control characters; a configuration with them that is refused."""
    name = f"kinds{chance.choice(_ODD)}"
    if chance.randrange(2):
        request = message("tensorflow.serving.PredictRequest")()
        request.model_spec.name = chance.choice((name, "kinds"))
        request.model_spec.signature_name = chance.choice((name, ""))
        request.inputs[name].dtype = 1
        request.output_filter.append(name)
        return Grpc("Predict", request.SerializeToString())
    configuration = message("tensorflow.serving.ReloadConfigRequest")()
    for _ in range(2):
        configuration.config.model_config_list.config.add(
            name=name, base_path=chance.choice(("/nowhere", f"nowhere{name}")), model_platform="tensorflow"
        )
    return Grpc("HandleReloadConfigRequest", configuration.SerializeToString())


def more_than_the_shape(chance: random.Random) -> Grpc:
    """Return a good tensor with values to spare, or without its shape."""
    request: Any = message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "kinds"
    values = chance.choice(
        (np.ones(3, np.float32), np.arange(4), np.array([True]), np.array([b"a", b""], object))
    )
    kind = "string" if values.dtype == object else values.dtype.name
    request.model_spec.signature_name = f"echo_{kind}"
    tensor = request.inputs["value"]
    fill_proto(tensor, values, as_content=False)
    if chance.randrange(2):
        tensor.tensor_shape.dim[0].size = chance.randrange(len(values) + 1)
    else:
        tensor.ClearField("tensor_shape")
    return Grpc("Predict", request.SerializeToString())


# Kinds that take the server 100 MB each.
LARGE: Sequence[Callable[[random.Random], Rest | Endless]] = (body_without_end, growing_too_much)
# How many of a hundred and ten requests are of each of the other kinds.
KINDS: Mapping[Callable[[random.Random], Rest | Grpc | Endless], int] = {
    without_end: 2,
    growing: 2,
    only_space: 2,
    odd_names: 2,
    more_than_the_shape: 2,
}
