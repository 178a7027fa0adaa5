"""Whether an answer is right: its status, its layout, and its values where they are known."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pytest_tfserving.errors import LoadError

# The status of a success.
SUCCESSFUL = {"rest": int(HTTPStatus.OK), "grpc": 0}
# The names of gRPC's codes, by number (grpc/doc/statuscodes.md).
_GRPC_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_MESSAGE_LENGTH = 120
# Different instruction sets and thread counts sum in different orders; a wrong model is off by far more.
_RELATIVE_TOLERANCE = 1e-2
_ABSOLUTE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """What a right answer has under ``key``: the layout of `layout_of`, and the values if they are known.

    ``key`` is ``predictions`` in the row format and ``outputs`` in the columnar one, for gRPC too: there it
    says how the answer's tensors are looked at.
    """

    key: str
    layout: Any
    values: Any = None
    protocol: str = "rest"


def layout_of(value: Any) -> Any:
    """The shape of nested JSON: ``[2, 3]`` for two rows of three, a dict of layouts for an object.

    Raises:
        LoadError: for rows of different layouts.
    """
    if isinstance(value, dict):
        return {name: layout_of(part) for name, part in value.items()}
    if not isinstance(value, list):
        return []
    parts = [layout_of(part) for part in value]
    if any(part != parts[0] for part in parts):
        raise LoadError("the answer's rows have different shapes")
    inner = parts[0] if parts else []
    return [len(value), inner] if isinstance(inner, dict) else [len(value), *inner]


def answer_value(status: int, body: bytes, key: str, protocol: str = "rest") -> Any:
    """What the answer has under ``key``.

    Raises:
        LoadError: when it has nothing there; the text is a cause to count errors by.
    """
    if status != SUCCESSFUL[protocol]:
        raise LoadError(_failure(status, body, protocol))
    if protocol == "grpc":
        from pytest_tfserving.load.grpc_messages import answer_document

        return answer_document(body, key)
    try:
        document = json.loads(body)
    except ValueError:
        raise LoadError("the answer is not JSON") from None
    try:
        return document[key]
    except (KeyError, TypeError):
        raise LoadError(_lacking(document, key)) from None


def _lacking(document: Any, key: str) -> str:
    """Return what an answer without its ``key`` says."""
    if isinstance(document, dict) and document.get("error"):
        return f"HTTP {HTTPStatus.OK:d} with an error inside{_shortened(str(document['error']))}"
    return f"the answer has no {key!r}"


def wrong(status: int, body: bytes, expected: ExpectedAnswer) -> str:
    """Why the answer is wrong, as a cause to count errors by; empty when it is right."""
    try:
        value = answer_value(status, body, expected.key, expected.protocol)
        layout = layout_of(value)
    except LoadError as error:
        return str(error)
    if layout != expected.layout:
        return f"the answer's shape is {layout}, not {expected.layout}"
    if expected.values is not None and not _close(value, expected.values):
        return "the answer's values are not those of the same model in process"
    return ""


def _close(value: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return all(_close(value[name], part) for name, part in expected.items())
    if isinstance(expected, list):
        return all(map(_close, value, expected))
    if isinstance(expected, int | float) and isinstance(value, int | float):
        return math.isclose(value, expected, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE)
    return bool(value == expected)


def _failure(status: int, body: bytes, protocol: str) -> str:
    if protocol == "grpc":
        name = _GRPC_CODES[status] if status < len(_GRPC_CODES) else f"status {status}"
        return name + _shortened(body.decode(errors="replace"))
    try:
        text = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        text = ""
    return f"HTTP {status}{_shortened(str(text))}"


def _shortened(text: str) -> str:
    return f": {' '.join(text.split())[:_MESSAGE_LENGTH]}" if text else ""
