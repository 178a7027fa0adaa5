"""Checks of responses: their status, their layout, and their values where these are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pytest_tfserving.errors import LoadError
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.reading import MESSAGE_LENGTH, MOST_BYTES, unreadable
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.text.json_value import JsonObject, JsonValue

# Later responses may be this many times as large as the first ones, and at least 1 MB for an error page.
_MOST_TIMES = 16
_LEAST_ROOM_BYTES = 1 << 20
# CPUs with other instruction sets or thread counts sum in another order; a wrong model is off by far more.
_RELATIVE_TOLERANCE = 1e-2
_ABSOLUTE_TOLERANCE = 1e-5
_NESTED = (list, dict)
# A model server never returns null.
NULL = "null"
OTHER_VALUES = "the response's values are not those of"
# The cause of a response of a candidate that is not the baseline server's.
OTHER_THAN_BASELINE = f"{OTHER_VALUES} the baseline server"
_KINDS = {int: "numbers", float: "numbers", str: "texts", bool: "true or false", type(None): NULL}

# The shape of nested JSON, as `layout_of` returns it.
Layout: TypeAlias = "list[int | dict[str, Layout]] | dict[str, Layout]"


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """Form of the answer to a request, as far as the request says it.

    Attributes:
        key: the JSON key of the output, see `ExpectedAnswer`.
        rows: the number of rows under ``key``; None if it is not known.
    """

    key: str = "predictions"
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """Content of a right response.

    Attributes:
        key: the JSON key of the output: ``predictions`` in the row format, ``outputs`` in the columnar one.
            Over gRPC it says which of the two formats the tensors are converted into.
        layout: the shape under ``key``, as `layout_of` returns it.
        values: the values under ``key``; None where they are not known, so that they are not compared.
        protocol: ``rest`` or ``grpc``.
        kinds: the kinds of values allowed, as `kinds_of` returns them; None allows all.
        most_bytes: a larger response is an error, and is not read to its end.
        values_of: the origin of ``values``, in words.
        with_example: whether the cause of a response with other values shows the values.
    """

    key: str
    layout: Layout
    values: JsonValue = None
    protocol: str = "rest"
    kinds: Sequence[str] | None = None
    most_bytes: int = MOST_BYTES
    values_of: str = "the same model in process"
    with_example: bool = False


def layout_of(value: JsonValue) -> Layout:
    """Return the shape of nested JSON: ``[2, 3]`` for two rows of three, a dict of layouts for an object.

    Raises:
        LoadError: if rows have different layouts.
    """
    if isinstance(value, dict) and not _is_bytes(value):
        return {name: layout_of(part) for name, part in value.items()}
    if not isinstance(value, list):
        return []
    if set(map(type, value)).isdisjoint(_NESTED):
        return [len(value)]
    parts = [layout_of(part) for part in value]
    if any(part != parts[0] for part in parts):
        raise LoadError("the response's rows have different shapes")
    inner = parts[0]
    return [len(value), inner] if isinstance(inner, dict) else [len(value), *inner]


def kinds_of(value: JsonValue) -> set[str]:
    """Return the kinds of values in nested JSON: numbers, texts (also bytes), true or false, null."""
    if isinstance(value, dict):
        return {_KINDS[str]} if _is_bytes(value) else set().union(*map(kinds_of, value.values()))
    if not isinstance(value, list):
        return {_kind(type(value))}
    types = set(map(type, value))
    if types.isdisjoint(_NESTED):
        return set(map(_kind, types))
    return set().union(*map(kinds_of, value))


def room_for(first_bytes: int) -> int:
    """Return the size limit in bytes for a response, given that the first response had ``first_bytes``."""
    return min(max(_MOST_TIMES * first_bytes, _LEAST_ROOM_BYTES), MOST_BYTES)


def answer_value(status: int, body: bytes, key: str, protocol: str = "rest") -> tuple[JsonValue, Layout]:
    """Return the value of a response under ``key``, and the layout of this value.

    Args:
        status: the HTTP or gRPC status.
        body: the response's body; over gRPC the serialized message, or the text of the error.
        key: ``predictions`` or ``outputs``.
        protocol: ``rest`` or ``grpc``.

    Raises:
        LoadError: if the response has no value there, for any reason. Errors are counted by its text.
    """
    try:
        value = _value(status, body, key, protocol)
        return value, layout_of(value)
    except Exception as error:  # noqa: BLE001 - a server can send anything
        raise LoadError(unreadable(error)) from None


def expectation(form: AnswerForm, status: int, body: bytes, protocol: str) -> ExpectedAnswer:
    """Return the expectation that the first response to a request gives for the later ones.

    TensorFlow Serving does not check answers against the shape in the signature, so this function does not.

    Raises:
        LoadError: if the response has no value, or not one for each row of the request.
    """
    value, layout = answer_value(status, body, form.key, protocol)
    rows = layout[0] if isinstance(layout, list) and layout else "no"
    if form.rows not in (None, rows):
        raise LoadError(f"{rows} rows came back for {form.rows}")
    kinds = sorted(kinds_of(value))
    if NULL in kinds:
        raise LoadError(f"the response has {NULL} in it")
    return ExpectedAnswer(form.key, layout, protocol=protocol, kinds=kinds, most_bytes=room_for(len(body)))


def wrong(status: int, body: bytes, expected: ExpectedAnswer) -> str:
    """Return why the response is wrong, as a text to count errors by; empty if the response is right."""
    try:
        value, layout = answer_value(status, body, expected.key, expected.protocol)
        if layout != expected.layout:
            return f"the response's shape is {_shown(layout)}, not {_shown(expected.layout)}"
        if expected.values is not None and not is_close(value, expected.values):
            example = f", as {_shown(value)} for {_shown(expected.values)}" if expected.with_example else ""
            return f"{OTHER_VALUES} {expected.values_of}{example}"
        if expected.kinds is not None and (strange := kinds_of(value).difference(expected.kinds)):
            return f"the response has {' and '.join(sorted(strange))} in it, where the first ones had none"
    except Exception as error:  # noqa: BLE001 - as above
        return unreadable(error)
    return ""


def _value(status: int, body: bytes, key: str, protocol: str) -> JsonValue:
    serving = SERVING_PROTOCOLS[protocol]
    if status != serving.success:
        raise LoadError(serving.failure(status, body))
    return serving.value(body, key)


def _is_bytes(value: JsonObject) -> bool:
    """Return whether a JSON object stands for bytes, which count as one value."""
    return len(value) == 1 and isinstance(value.get("b64"), str)


def _kind(kind: type) -> str:
    """Return the kind of values of a Python type; a type that JSON lacks is a number of a tensor."""
    return _KINDS.get(kind, _KINDS[float])


def _shown(value: object) -> str:
    return one_line(str(value), MESSAGE_LENGTH)


def is_close(value: JsonValue, expected: JsonValue) -> bool:
    """Return whether two values of one layout are the same but for rounding."""
    if isinstance(expected, dict):
        return isinstance(value, dict) and all(is_close(value[name], part) for name, part in expected.items())
    if isinstance(expected, list):
        return isinstance(value, list) and all(map(is_close, value, expected))
    if isinstance(expected, int | float) and isinstance(value, int | float):
        near = math.isclose(value, expected, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE)
        return near or (math.isnan(value) and math.isnan(expected))
    return bool(value == expected)
