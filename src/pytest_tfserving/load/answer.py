"""Whether an answer is right: its status, its layout, and its values where they are known."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import LoadError
from pytest_tfserving.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

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
# A first answer is read up to this size, as JSON several times as much memory.
MOST_BYTES = 1 << 28
# Later answers may be so many times as large as the first ones, and errors have a page to say why.
_MOST_TIMES = 16
_LEAST_ROOM_BYTES = 1 << 20
_MESSAGE_LENGTH = 120
# Different instruction sets and thread counts sum in different orders; a wrong model is off by far more.
_RELATIVE_TOLERANCE = 1e-2
_ABSOLUTE_TOLERANCE = 1e-5
_NESTED = (list, dict)
# No server of models answers with it.
NULL = "null"
_KINDS = {int: "numbers", float: "numbers", str: "texts", bool: "true or false", type(None): NULL}


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """What a right answer has under ``key``: the layout of `layout_of`, and the values if they are known.

    ``key`` is ``predictions`` in the row format and ``outputs`` in the columnar one, for gRPC too: there it
    says how the answer's tensors are looked at. ``kinds`` are those of `kinds_of` that values may have, any
    where it is None. An answer of more than ``most_bytes`` is not read to its end.
    """

    key: str
    layout: Any
    values: Any = None
    protocol: str = "rest"
    kinds: Sequence[str] | None = None
    most_bytes: int = MOST_BYTES


def layout_of(value: Any) -> Any:
    """The shape of nested JSON: ``[2, 3]`` for two rows of three, a dict of layouts for an object.

    Raises:
        LoadError: for rows of different layouts.
    """
    if isinstance(value, dict) and not _is_bytes(value):
        return {name: layout_of(part) for name, part in value.items()}
    if not isinstance(value, list):
        return []
    if set(map(type, value)).isdisjoint(_NESTED):
        return [len(value)]
    parts = [layout_of(part) for part in value]
    if any(part != parts[0] for part in parts):
        raise LoadError("the answer's rows have different shapes")
    inner = parts[0]
    return [len(value), inner] if isinstance(inner, dict) else [len(value), *inner]


def kinds_of(value: Any) -> set[str]:
    """Return what nested JSON is made of: numbers, texts (bytes are such, too), true or false, null."""
    if isinstance(value, dict):
        return {_KINDS[str]} if _is_bytes(value) else set().union(*map(kinds_of, value.values()))
    if not isinstance(value, list):
        return {_kind(type(value))}
    types = set(map(type, value))
    if types.isdisjoint(_NESTED):
        return set(map(_kind, types))
    return set().union(*map(kinds_of, value))


def room_for(first_bytes: int) -> int:
    """Return how large an answer may be where the first one has ``first_bytes``."""
    return min(max(_MOST_TIMES * first_bytes, _LEAST_ROOM_BYTES), MOST_BYTES)


def answer_value(status: int, body: bytes, key: str, protocol: str = "rest") -> tuple[Any, Any]:
    """Return what the answer has under ``key``, and its layout.

    Raises:
        LoadError: when it has nothing there, whatever it is; the text is a cause to count errors by.
    """
    try:
        value = _value(status, body, key, protocol)
        return value, layout_of(value)
    except Exception as error:  # noqa: BLE001 - a server can send anything
        raise LoadError(unreadable(error)) from None


def wrong(status: int, body: bytes, expected: ExpectedAnswer) -> str:
    """Why the answer is wrong, as a cause to count errors by; empty when it is right."""
    try:
        value, layout = answer_value(status, body, expected.key, expected.protocol)
        if layout != expected.layout:
            return f"the answer's shape is {_shown(layout)}, not {_shown(expected.layout)}"
        if expected.values is not None and not _close(value, expected.values):
            return "the answer's values are not those of the same model in process"
        if expected.kinds is not None and (strange := kinds_of(value).difference(expected.kinds)):
            return f"the answer has {' and '.join(sorted(strange))} in it, where the first ones had none"
    except Exception as error:  # noqa: BLE001 - as above
        return unreadable(error)
    return ""


def unreadable(error: Exception) -> str:
    """Return why an answer cannot be read or judged, as a cause to count errors by."""
    if isinstance(error, LoadError):
        return str(error)
    if isinstance(error, RecursionError):
        return "the answer is nested too deeply"
    if isinstance(error, MemoryError):
        return "the answer takes more memory than there is"
    return f"the answer cannot be read ({type(error).__name__})"


def _value(status: int, body: bytes, key: str, protocol: str) -> Any:
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
        return f"HTTP {HTTPStatus.OK:d} with an error inside{_told(_text(document['error']))}"
    return f"the answer has no {key!r}"


def _is_bytes(value: dict[str, Any]) -> bool:
    """Return whether an object is how JSON has bytes, which are one value."""
    return len(value) == 1 and isinstance(value.get("b64"), str)


def _kind(kind: type) -> str:
    """Return what values of a type of Python's are; those that JSON has not are numbers of a tensor."""
    return _KINDS.get(kind, _KINDS[float])


def _shown(layout: Any) -> str:
    return one_line(str(layout), _MESSAGE_LENGTH)


def _close(value: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(value, dict) and all(_close(value[name], part) for name, part in expected.items())
    if isinstance(expected, list):
        return all(map(_close, value, expected))
    if isinstance(expected, int | float) and isinstance(value, int | float):
        near = math.isclose(value, expected, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE)
        return near or (math.isnan(value) and math.isnan(expected))
    return bool(value == expected)


def _failure(status: int, body: bytes, protocol: str) -> str:
    if protocol == "grpc":
        name = _GRPC_CODES[status] if status < len(_GRPC_CODES) else f"status {status}"
        return name + _told(body.decode(errors="replace"))
    try:
        text = _text(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = ""
    return f"HTTP {status}{_told(text)}"


def _text(error: Any) -> str:
    return error if isinstance(error, str) else json.dumps(error)


def _told(text: str) -> str:
    shown = one_line(text, _MESSAGE_LENGTH)
    return f": {shown}" if shown else ""
