"""Conversion of JSON to tf.Examples, for classification and regression requests over REST."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.model_server import json_tensor
from pytest_tfserving.model_server.json_parser import parse
from pytest_tfserving.model_server.json_text import INTEGERS, show
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.status import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from pytest_tfserving.text.json_value import JsonObject, JsonValue

_INT64 = range(-(2**63), 2**63)
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64", None: "UNKNOWN"}
_SURROGATES = re.compile("[\ud800-\udfff]")
_JSON_TYPES = {dict: "Object", list: "Array", type(None): "Null", str: "String", bool: "Boolean"}


@dataclass(frozen=True, slots=True)
class ExampleRequest:
    """A classify or regress request; each of ``examples`` is a serialized tf.Example."""

    signature_name: str
    examples: Sequence[bytes]


def decode(body: bytes) -> ExampleRequest:
    """Read a classify or regress request.

    Raises:
        ServingError: with TF Serving's code and text.
    """
    document = parse(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {show(document)} Is not object")
    name = json_tensor.signature_name_of(document)
    context = _serialized(document["context"]) if "context" in document else b""
    return ExampleRequest(name, [context + _serialized(each) for each in _examples(document)])


def _examples(document: JsonObject) -> Sequence[JsonValue]:
    shown = f"JSON Value: {show(document)}"
    if "examples" not in document:
        raise invalid(f"{shown} When method is classify, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid(f"{shown} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"{shown} 'examples' value is an empty array")
    return examples


def _serialized(value: JsonValue) -> bytes:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_json_type(value)}")
    example = message("tensorflow.Example")()
    for name, content in value.items():
        feature = message("tensorflow.Feature")()
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)
        # Messages hold no name that is not UTF-8, and no model asks for one.
        if _is_utf8(name):
            example.features.feature[name].CopyFrom(feature)
    serialized: bytes = example.SerializeToString()
    return serialized


def _is_utf8(name: str) -> bool:
    """Return whether a name has no surrogate, which stands for a byte that is not UTF-8."""
    return name.isascii() or _SURROGATES.search(name) is None


def _add(feature: Message, name: str, value: JsonValue) -> None:
    kind, element = _element(name, value)
    if feature.WhichOneof("kind") not in (None, kind):
        expected = _KINDS[feature.WhichOneof("kind")]
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {expected}")
    getattr(feature, kind).value.append(element)


def _element(name: str, value: JsonValue) -> tuple[str, int | float | bytes]:
    """Return the kind of list that a JSON value belongs to, and the element that stands for the value."""
    if isinstance(value, int) and value not in INTEGERS:
        value = float(value)
    if isinstance(value, int):
        if int(value) not in _INT64:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64_list", int(value)
    if isinstance(value, float):
        return "float_list", json_tensor.to_float32(value)
    if isinstance(value, str) or json_tensor.is_base64(value):
        return "bytes_list", json_tensor.to_bytes(value)
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {_json_type(value)}")


def _json_type(value: JsonValue) -> str:
    return _JSON_TYPES.get(type(value), "Number")
