"""JSON texts of numbers, strings and values, as TF Serving and RapidJSON write them."""

from __future__ import annotations

import codecs
import json
import math
import re
import struct
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pytest_tfserving.text.json_value import JsonValue

# Errors quote so much of a value.
_SHOWN_BYTES = 256
_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|.)")
# The integers that RapidJSON keeps; it makes doubles of all others.
INTEGERS = range(-(2**63), 2**64)
_FLOAT32 = struct.Struct("<f")
# RapidJSON takes a number up to this one for a float32.
_FLOAT32_MAX = 3.4028234e38
# The longest integer part that RapidJSON writes without an exponent, and the most zeros behind the point.
_LONGEST_INTEGER = 21
_MOST_ZEROS = 6
# From so many numbers on, a look at all of them at once takes less time than a look at each.
_MANY = 64


def encoded(text: str) -> bytes:
    """Return the bytes of a text, in which surrogates stand for bytes that are not UTF-8."""
    return text.encode(errors="surrogateescape")


# --- strings ---


def quoted(text: str) -> str:
    """Format a JSON string as TF Serving does: letters as they are, control characters in upper case."""
    written = json.dumps(text, ensure_ascii=False)
    if "\\u" not in written:
        return written
    return _ESCAPE.sub(lambda escape: escape[0][:2] + escape[0][2:].upper(), written)


# --- numbers ---


def decimal(value: np.float32 | np.float64) -> str:
    """Format a float32 or float64 as TF Serving does: six digits if they suffice, else all that count."""
    return _decimal(float(value), *ROUND_TRIPS[value.dtype])


def decimals(array: NDArray[np.generic]) -> list[str]:
    """Format each element of a vector as `decimal` does, without a numpy object for each."""
    digits, narrowed = ROUND_TRIPS[array.dtype]
    numbers = array.tolist()
    if len(numbers) < _MANY or 2 * np.count_nonzero(long := _are_long(array)) < len(numbers):
        return [_decimal(number, digits, narrowed) for number in numbers]
    texts = (f"%{digits} " * len(numbers) % tuple(numbers)).split()
    for index in np.flatnonzero(~long).tolist():
        texts[index] = _decimal(numbers[index], digits, narrowed)
    return texts


def _are_long(array: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return which numbers are no integers and differ from all numbers of six digits; False if in doubt."""
    least, doubt = _CERTAIN[array.dtype]
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
        size = np.abs(wide)
        step = 10.0 ** (np.floor(np.log10(size)) - 5)
        away = np.abs(np.rint(wide / step) * step - wide)
        found: NDArray[np.bool_] = (away > doubt * size) & (np.rint(wide) != wide)
        return found & (size > least) & (size < 1 / least)


def _decimal(number: float, digits: str, narrowed: Callable[[float], float]) -> str:
    text = f"{number:g}"
    read = float(text)
    if read != number and narrowed(read) != number:
        text = format(number, digits)
    return text if "." in text or "e" in text else _NOT_FINITE.get(text) or text + ".0"


def _narrowed(number: float) -> float:
    """Return the float32 nearest to a number that differs from a float32 only after six digits."""
    narrow: float = _FLOAT32.unpack(_FLOAT32.pack(number))[0]
    return narrow


# What Python writes and what JSON has, of numbers that are not finite.
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
# By element type: the format that tells every value from its neighbours, and the rounding to the type.
ROUND_TRIPS: dict[np.dtype[np.generic], tuple[str, Callable[[float], float]]] = {
    np.dtype(np.float32): (".9g", _narrowed),
    np.dtype(np.float64): (".17g", float),
}
# By element type: the sizes, from this one to its inverse, for which `_are_long` is certain, and the distance
# from a number of six digits, as a share of the size, that leaves no doubt.
_CERTAIN: dict[np.dtype[np.generic], tuple[float, float]] = {
    np.dtype(np.float32): (1e-37, 1e-7),
    np.dtype(np.float64): (1e-290, 1e-12),
}


# --- values in errors ---


def show(value: JsonValue) -> str:
    """Return the beginning of a JSON value, as errors quote it."""
    if isinstance(value, int) and value not in INTEGERS:
        value = float(value)
    if isinstance(value, float):
        is_narrow = abs(value) <= _FLOAT32_MAX
        return decimal(np.float32(value) if is_narrow else np.float64(value))
    parts, size = [], 0
    with suppress(_StoppedError):
        for part in _pretty(value, 0):
            parts.append(part)
            size += len(part)
            if size > _SHOWN_BYTES:
                break
    shown = encoded("".join(parts))[:_SHOWN_BYTES]
    # A character that is cut is left out.
    return codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(shown)


def _pretty(value: JsonValue, level: int) -> Iterator[str]:
    """Yield the parts of a value as RapidJSON's pretty writer writes them."""
    if isinstance(value, dict | list) and value:
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        yield opening
        members = value.items() if isinstance(value, dict) else (("", element) for element in value)
        for index, (name, member) in enumerate(members):
            yield f"{',' if index else ''}\n{'    ' * (level + 1)}"
            if isinstance(value, dict):
                yield f"{quoted(name)}: "
            yield from _pretty(member, level + 1)
        yield f"\n{'    ' * level}{closing}"
    else:
        yield _scalar(value)


class _StoppedError(Exception):
    """A number that RapidJSON's writer cannot write: it writes nothing more."""


def _scalar(value: JsonValue) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, int) and value in INTEGERS:
        return str(value)
    return _double(float(value))


def _double(number: float) -> str:
    """Format a double as RapidJSON does: the shortest digits, and an exponent for long ones."""
    if not math.isfinite(number):
        raise _StoppedError
    if not number:
        return str(number)
    sign, digit_tuple, power = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(power, int)
    digits, minus = "".join(map(str, digit_tuple)), "-" if sign else ""
    point = len(digits) + power
    if len(digits) <= point <= _LONGEST_INTEGER:
        return f"{minus}{digits}{'0' * power}.0"
    if 0 < point <= _LONGEST_INTEGER:
        return f"{minus}{digits[:point]}.{digits[point:]}"
    if -_MOST_ZEROS < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{minus}{mantissa}e{point - 1}"
