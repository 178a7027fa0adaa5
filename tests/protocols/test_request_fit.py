"""Requests that fit their signature, and those that do not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.protocols.payload import Payload
from pytest_tfserving.protocols.request_fit import fits

if TYPE_CHECKING:
    from google.protobuf.message import Message

FLOAT, INT64 = 1, 9


def signatures() -> dict[str, Message]:
    """A signature with an input of two columns, and one of whole numbers in any shape."""
    definition = message("tensorflow.SignatureDef")()
    definition.inputs["x"].dtype = FLOAT
    for size in (-1, 2):
        definition.inputs["x"].tensor_shape.dim.add().size = size
    definition.inputs["ids"].dtype = INT64
    definition.inputs["ids"].tensor_shape.unknown_rank = True
    return {"serving_default": definition}


@pytest.mark.parametrize(
    ("inputs", "fit"),
    [
        ({"x": [[1.0, 2.0]], "ids": [1]}, True),
        ({"x": [[1, 2], [3, 4]], "ids": [[[1]]]}, True),
        ({"x": [[1.0, 2.0, 3.0]], "ids": [1]}, False),
        ({"x": [1.0, 2.0], "ids": [1]}, False),
    ],
)
def test_shapes_are_compared(inputs: object, fit: bool) -> None:  # noqa: FBT001 - a parameter
    assert fits(Payload.from_body(json.dumps({"inputs": inputs}).encode()), signatures()) is fit


@pytest.mark.parametrize(
    ("request_body", "cause"),
    [
        ({"inputs": {"x": [["a", "b"]], "ids": [1]}}, "values for 'x' do not make a tensor of type float32"),
        (
            {"inputs": {"x": [[1.0, 2.0]], "ids": ["a"]}},
            "values for 'ids' do not make a tensor of type int64",
        ),
        (
            {"inputs": {"x": [[1.0, 2.0]], "ids": [2**64]}},
            "values for 'ids' do not make a tensor of type int64",
        ),
        ({"inputs": {"z": [1]}}, "names the input 'z'; the signature has ids, x"),
        (
            {"inputs": {"x": [[1.0, 2.0]]}, "signature_name": "s"},
            "no signature 's' [(]it has serving_default",
        ),
    ],
)
def test_an_input_of_another_name_or_type_is_named(request_body: object, cause: str) -> None:
    with pytest.raises(ConfigurationError, match=cause):
        fits(Payload.from_body(json.dumps(request_body).encode()), signatures())
