"""Files that people or other processes wrote: UTF-8 text or JSON, limited in size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.text.json_value import JsonValue

_KB = 1 << 10
_DEEPEST = 64


class MissingFileError(ConfigurationError):
    """A file that does not exist."""


def text_of(path: Path, kind: str, most_bytes: int) -> str:
    """Return the text in a file of this ``kind``, as "price file".

    Raises:
        MissingFileError: when the file does not exist.
        ConfigurationError: when the file cannot be read, has more than ``most_bytes``, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError as error:
        raise MissingFileError(f"the {kind} {path} cannot be read: {error.strerror}.") from None
    except OSError as error:
        raise ConfigurationError(f"the {kind} {path} cannot be read: {error.strerror}.") from None
    if len(content) > most_bytes:
        raise ConfigurationError(
            f"the {kind} {path} has more than {_size(most_bytes)}, the most that is read of one."
        )
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the {kind} {path} is not UTF-8 text.") from None


def json_of(
    path: Path,
    kind: str,
    most_bytes: int,
    parse_int: Callable[[str], float] | None = None,
    parse_constant: Callable[[str], float] | None = None,
) -> JsonValue:
    """Return the value in a JSON file of this ``kind``; the last two arguments are those of `json.loads`.

    Raises:
        MissingFileError: when the file does not exist.
        ConfigurationError: when the file cannot be read, has more than ``most_bytes``, or is not whole JSON.
    """
    text = text_of(path, kind, most_bytes)
    try:
        found: JsonValue = json.loads(text, parse_int=parse_int, parse_constant=parse_constant)
        is_deep = _is_deep(found)
    except ValueError as error:
        raise ConfigurationError(f"the {kind} {path} is not whole JSON: {one_line(str(error))}.") from None
    except RecursionError:
        is_deep = True
    if is_deep:
        raise ConfigurationError(f"the {kind} {path} is nested too deeply.")
    return found


def _is_deep(content: JsonValue) -> bool:
    """Return whether values are nested too deeply for recursive functions."""
    level = [content]
    for _ in range(_DEEPEST):
        level = [part for each in level for part in _parts(each)]
    return bool(level)


def _parts(value: JsonValue) -> list[JsonValue]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [part for part in parts if isinstance(part, dict | list)]


def _size(most_bytes: int) -> str:
    kilobytes = most_bytes // _KB
    return f"{kilobytes} KB" if kilobytes < _KB else f"{kilobytes // _KB} MB"
