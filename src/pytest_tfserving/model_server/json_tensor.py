"""Conversion of JSON to tensors and back, as in TF Serving's REST API.

Large bodies of numbers take a fast path, without a Python object for each number. Every other body takes the
exact path, which also words the errors.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from array import array as packed
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, cast

import numpy as np

from pytest_tfserving.model_server.inference import DEFAULT_SIGNATURE
from pytest_tfserving.model_server.json_parser import free, parse
from pytest_tfserving.model_server.json_text import ROUND_TRIPS, decimal, decimals, encoded, quoted, show
from pytest_tfserving.model_server.status import Code, ServingError, invalid
from pytest_tfserving.model_server.tensorflow_c import STRING, dtype_name, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import simdjson
    from numpy.typing import NDArray

    from pytest_tfserving.model_server.inference import Classes
    from pytest_tfserving.model_server.servable import Signature, TensorSpec
    from pytest_tfserving.text.json_value import JsonObject, JsonValue

# An element of a tensor, read from JSON; and one to be written as JSON, or an array of them.
_Scalar: TypeAlias = "bytes | int | float"
# Scalars of one kind, which `typing.cast` would name at the cost of a call.
_Scalars: TypeAlias = "list[Any]"
_Value: TypeAlias = "NDArray[np.generic] | np.generic | bytes | str"

_FAST_FROM_BYTES = 4096
_MOST_AXES = 64
_BASE64 = re.compile(rb"([A-Za-z0-9+/]*)([=.]*)")
_ASCII_SPACE = b" \t\n\v\f\r"
# How much of an array is parsed at once, in bytes.
_PIECE_BYTES = 2**19
# How many values are looked at, or bytes are decoded, at once: others wait for the interpreter lock so long.
_PART = 2**15
# How many numbers are formatted at once.
_BLOCK = 1024
_KEYS = re.compile(rb'"(instances|inputs)"')
# The key of an array, and all before the array.
_BEGUN = re.compile(_KEYS.pattern + rb"[ \t\r\n]*:[ \t\r\n]*(?=\[)")
_COMMA = ord(",")
# By kind of element: the type that the parser returns, and its letter.
_WIDE: dict[str, tuple[Literal["d", "i", "u"], np.dtype[np.generic]]] = {
    "f": ("d", np.dtype(np.float64)),
    "i": ("i", np.dtype(np.int64)),
    "u": ("u", np.dtype(np.uint64)),
}
# All that numbers consist of, and spaces; the letters are those of NaN and Infinity.
_NOT_STRUCTURE = b"0123456789.+-eENaInfity \t\r\n"
_DTYPE_NAMES = {
    1: "float",
    2: "double",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "half",
    22: "uint32",
    23: "uint64",
}
# The DataTypes that JSON can carry.
DTYPES = {number: dtype for number in (1, 2, 3, 4, 5, 6, 7, 9, 10, 22, 23) if (dtype := numpy_dtype(number))}
_WRITABLE = frozenset(DTYPES.values())
_RANGES = {
    number: range(-(2 ** (8 * dtype.itemsize - 1)), 2 ** (8 * dtype.itemsize - 1))
    if dtype.kind == "i"
    else range(2 ** (8 * dtype.itemsize))
    for number, dtype in DTYPES.items()
    if dtype.kind in "iu"
}
_ARRAY_CODES: dict[int, Literal["f", "d"]] = {1: "f", 2: "d"}
# The Python types that numbers may have, by kind of element; bool is not among them.
_NUMBER_TYPES = {"f": frozenset({float, int}), "i": frozenset({int}), "u": frozenset({int})}


class Signed(Protocol):
    """A servable with signatures, for which requests can be decoded."""

    @property
    def signatures(self) -> Mapping[str, Signature]: ...  # noqa: D102 - the class says it


class DecodedRequest(NamedTuple):
    """A predict request as tensors; ``row_format`` says whether the request had ``instances``."""

    signature_name: str
    inputs: Mapping[str, NDArray[np.generic]]
    row_format: bool


def decode(body: bytes, servable: Signed, *, soon: bool = False) -> DecodedRequest:
    """Read a predict request for ``servable``.

    Raises:
        ServingError: with TF Serving's code and text.
        LongError: if a small request is needed ``soon``, and may take long to read.
    """
    if len(body) < _FAST_FROM_BYTES:
        return decode_document(parse(body, soon=soon), servable)
    if fast := _decode_numbers(body, servable):
        return fast
    document = parse(body)
    try:
        return decode_document(document, servable)
    finally:
        free(document)


def decode_document(document: JsonValue, servable: Signed) -> DecodedRequest:
    """Read a predict request from a parsed document.

    Raises:
        ServingError: with TF Serving's code and text.
    """
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {show(document)} Is not object")
    name = signature_name_of(document)
    inputs = input_specs(servable, name)
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {show(document)} Not formatted correctly expecting only one of 'inputs' or "
            "'instances' keys to exist "
        )
    if "instances" in document:
        return DecodedRequest(name, _decode_rows(document["instances"], inputs), row_format=True)
    if "inputs" in document:
        return DecodedRequest(name, _decode_columns(document["inputs"], inputs), row_format=False)
    raise invalid("Missing 'inputs' or 'instances' key")


def signature_name_of(document: JsonObject) -> str:
    """Return the signature that a request names, or the default one.

    Raises:
        ServingError: when the name is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {show(document)} not formatted correctly. 'signature_name' key must be a string "
            "value."
        )
    return name or DEFAULT_SIGNATURE


def input_specs(servable: Signed, name: str) -> Mapping[str, TensorSpec]:
    """Return the inputs of a signature.

    Raises:
        ServingError: when there is no such signature, or it has no inputs.
    """
    if name not in servable.signatures:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    inputs = servable.signatures[name].inputs
    if not inputs:
        raise invalid(f"Failed to get input map for signature: {name}")
    return inputs


# --- rows and columns ---


def _decode_rows(instances: JsonValue, specs: Mapping[str, TensorSpec]) -> dict[str, NDArray[np.generic]]:
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {show(instances)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {show(instances)} No values in 'instances' array")
    objects = isinstance(instances[0], dict) and not is_base64(instances[0])
    if not objects and len(specs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as "
            "per tensorinfo_map"
        )
    only = next(iter(specs))
    if not objects and (array := _regular(instances, specs[only].dtype)) is not None:
        return {only: array}
    columns: dict[str, _InputColumn] = {alias: _InputColumn(spec) for alias, spec in specs.items()}
    for index, instance in enumerate(instances):
        if (isinstance(instance, dict) and not is_base64(instance)) is not objects:
            expected, got = ("object", "list") if objects else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {got} at item {index} of input list")
        if isinstance(instance, dict) and objects:
            _add_row(index, instance, columns)
            continue
        try:
            columns[only].add(instance)
        except ServingError as error:
            raise _bad_element(index, f"Error: {error.code.name}: {error.message}") from None
    return {alias: column.array(len(instances)) for alias, column in columns.items()}


def _add_row(index: int, instance: JsonObject, columns: Mapping[str, _InputColumn]) -> None:
    for alias, value in instance.items():
        try:
            if alias not in columns:
                raise invalid(f"JSON object: does not have named input: {alias}")
            columns[alias].add(value)
        except ServingError as error:
            problem = f"Error: {error.code.name}: {error.message}"
            raise _bad_element(index, problem, f" key: {alias}") from None
    if len(instance) != len(columns):
        raise _bad_element(index, f"JSON object: {show(instance)} keys must be equal to: {','.join(columns)}")


def _bad_element(index: int, problem: str, key: str = "") -> ServingError:
    return invalid(f"Failed to process element: {index}{key} of 'instances' list. {problem}")


class _InputColumn:
    """The values of one input, row after row; all rows have the shape of the first row."""

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._shape: tuple[int, ...] | None = None
        self._flat: list[_Scalar] = []

    def add(self, value: JsonValue) -> None:
        """Add the value of the next row."""
        shape = _shape_of(value, _MOST_AXES - 1)
        start = len(self._flat)
        _fill(value, shape, 0, self._spec.dtype, self._flat)
        if self._shape is None:
            self._shape = shape
        elif math.prod(shape) != math.prod(self._shape):
            raise invalid(
                f"Expecting tensor size: {math.prod(self._shape)} but got: {len(self._flat) - start}"
            )
        elif shape != self._shape:
            raise invalid(f"Expecting shape {_brackets(self._shape)} but got: {_brackets(shape)}")

    def array(self, rows: int) -> NDArray[np.generic]:
        """Return all rows as one array."""
        assert self._shape is not None
        array = _array(self._flat, (rows, *self._shape), self._spec.dtype)
        free(cast("list[JsonValue]", self._flat))
        return array


def _decode_columns(inputs: JsonValue, specs: Mapping[str, TensorSpec]) -> dict[str, NDArray[np.generic]]:
    if isinstance(inputs, dict) and not is_base64(inputs):
        values = inputs
    elif len(specs) == 1:
        values = {next(iter(specs)): inputs}
    else:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    arrays = {}
    for alias, spec in specs.items():
        if alias not in values:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
        array = _regular(values[alias], spec.dtype)
        arrays[alias] = _irregular(values[alias], spec.dtype) if array is None else array
    return arrays


def _irregular(value: JsonValue, dtype: int) -> NDArray[np.generic]:
    shape = _shape_of(value)
    flat: list[_Scalar] = []
    _fill(value, shape, 0, dtype, flat)
    return _array(flat, shape, dtype)


# --- values ---


def _regular(value: JsonValue, dtype: int) -> NDArray[np.generic] | None:
    """Convert a list, or nested lists of equal lengths, of numbers that fit a type; None for other values."""
    wanted = DTYPES.get(dtype)
    if type(value) is not list or wanted is None or wanted.kind not in _NUMBER_TYPES:
        return None
    shape = [len(value)]
    while value and type(value[0]) is list and len(shape) < _MOST_AXES:
        size = len(value[0])
        if any(type(part) is not list or len(part) != size for part in value):
            return None
        shape.append(size)
        flat: list[JsonValue] = []
        for part in cast("list[list[JsonValue]]", value):
            flat.extend(part)
        value = flat
    if not value or not _are_numbers(value, wanted.kind):
        return None
    if wanted.kind != "f" and not _are_in_range(value, dtype):
        return None
    return _array(value, tuple(shape), dtype)


def _are_numbers(values: list[JsonValue], kind: str) -> bool:
    """Return whether all values are numbers of a kind; many values are checked in parts."""
    allowed = _NUMBER_TYPES[kind]
    if len(values) <= _PART:
        return allowed.issuperset(map(type, values))
    starts = range(0, len(values), _PART)
    return all(allowed.issuperset(map(type, values[start : start + _PART])) for start in starts)


def _shape_of(value: JsonValue, most_axes: int = _MOST_AXES) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > most_axes:
            raise invalid(f"JSON Value: nested deeper than the {_MOST_AXES} levels a tensor may have here")
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _fill(value: JsonValue, shape: tuple[int, ...], level: int, dtype: int, flat: list[_Scalar]) -> None:
    """Append the scalars of ``value`` to ``flat``, checking that it has ``shape``."""
    if level == len(shape):
        if isinstance(value, list):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {level}")
        flat.append(_scalar(value, dtype))
        return
    if not isinstance(value, list):
        raise invalid(
            f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
            f"level: {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for part in value:
        _fill(part, shape, level + 1, dtype, flat)


def _scalar(value: JsonValue, dtype: int) -> _Scalar:
    if dtype not in DTYPES:
        name = _DTYPE_NAMES.get(dtype, str(dtype))
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {show(value)} to type: {name}")
    kind = DTYPES[dtype].kind
    if kind == "f" and (type(value) is float or type(value) is int):  # a bool is an int for isinstance
        return value
    if kind == "O" and isinstance(value, str | dict):
        return to_bytes(value)
    if kind == "b" and isinstance(value, bool):
        return value
    if kind in "iu" and type(value) is int and value in _RANGES[dtype]:
        return value
    raise _wrong_type(value, dtype)


def _are_in_range(values: _Scalars, dtype: int) -> bool:
    return min(values) in _RANGES[dtype] and max(values) in _RANGES[dtype]


def to_float32(value: float) -> float:
    """Return the nearest float32; a number that is too large becomes infinity, as in TF Serving."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def to_bytes(value: JsonValue) -> bytes:
    """Return the bytes that a JSON string, or an object with base64, stands for.

    Raises:
        ServingError: for any other value, and for invalid base64.
    """
    if isinstance(value, str):
        return encoded(value)
    text = _base64_text(value)
    if text is None:
        raise invalid(f"JSON Value: {show(value)} not formatted correctly for base64 data")
    content = encoded(text)
    # The strict mode takes too much padding.
    if len(content) % 4 == 0 and not content.endswith(b"==="):
        with suppress(binascii.Error):
            return _strictly_decoded(content)
    return _loosely_decoded(content)


def _strictly_decoded(text: bytes) -> bytes:
    """Decode base64 with padding only at its end, a long text in parts.

    Raises:
        binascii.Error: for any other text.
    """
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    if any(part.endswith(b"=") for part in parts[:-1]):
        raise binascii.Error("padding in the middle")
    return b"".join([binascii.a2b_base64(part, strict_mode=True) for part in parts])


def _loosely_decoded(text: bytes) -> bytes:
    """Decode base64 as Abseil does: with spaces anywhere, without padding, or with dots for it."""
    found = _BASE64.fullmatch(text.translate(None, _ASCII_SPACE))
    missing = -len(found[1]) % 4 if found else 3
    if not found or missing == 3 or len(found[2]) not in (0, missing):  # noqa: PLR2004 - one letter holds no byte
        raise invalid("Unable to base64 decode")
    return binascii.a2b_base64(found[1] + b"=" * missing)


def is_base64(value: JsonValue) -> bool:
    """Return whether a JSON value is an object that stands for bytes."""
    return _base64_text(value) is not None


def _base64_text(value: JsonValue) -> str | None:
    text = value.get("b64") if isinstance(value, dict) and len(value) == 1 else None
    return text if isinstance(text, str) else None


def _array(flat: _Scalars, shape: tuple[int, ...], dtype: int) -> NDArray[np.generic]:
    if not flat:
        return np.empty(shape, numpy_dtype(dtype) or object)
    if code := _ARRAY_CODES.get(dtype):  # a number that is too large becomes infinity, as in TF Serving
        content = packed(code, flat[:_PART])
        for start in range(_PART, len(flat), _PART):
            content.extend(flat[start : start + _PART])
        return np.ndarray(shape, DTYPES[dtype], content)
    if dtype == STRING:
        texts = np.empty(len(flat), object)
        for start in range(0, len(flat), _PART):
            texts[start : start + _PART] = flat[start : start + _PART]
        return texts.reshape(shape)
    return np.array(flat, DTYPES[dtype]).reshape(shape)


def _wrong_type(value: JsonValue, dtype: int) -> ServingError:
    kind = {str: "String", bool: "Boolean", dict: "Object", list: "Array", type(None): "Null"}
    return invalid(
        f"JSON Value: {show(value)} Type: {kind.get(type(value), 'Number')} is not of expected type: "
        f"{_DTYPE_NAMES[dtype]}"
    )


def _brackets(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


# --- many numbers ---


def _decode_numbers(body: bytes, servable: Signed) -> DecodedRequest | None:
    """Decode a request whose only input is a regular array of numbers; None for any other, and on errors."""
    begun = _BEGUN.search(body, 0, _FAST_FROM_BYTES)
    start, end = begun.end() if begun else 0, body.rfind(b"]") + 1
    # The rest of the document, with a number in the array's place. A regular array has no keys.
    rest = body[:start] + b"0" + body[end:]
    if not begun or end <= start or len(_KEYS.findall(rest)) != 1:
        return None
    key = begun[1].decode()
    try:
        document = parse(rest)
        if not isinstance(document, dict) or document.get(key) != 0:
            return None
        name = signature_name_of(document)
        ((alias, spec),) = input_specs(servable, name).items()
        shape = _regular_shape(body, start, end)
        numbers = _numbers(body[start:end], math.prod(shape), DTYPES[spec.dtype]) if shape else None
    except (ImportError, RuntimeError, ValueError, TypeError, KeyError, ServingError):
        return None
    return (
        None if numbers is None else DecodedRequest(name, {alias: numbers.reshape(shape)}, key == "instances")
    )


def _numbers(text: bytes, count: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic] | None:
    """Return the numbers of a nested array; None if their count differs, or one does not fit ``dtype``."""
    if dtype.kind not in _WIDE:
        return None
    found, filled = np.empty(count, dtype), 0
    for piece in _pieces(text):
        numbers = _parsed_numbers(piece, dtype.kind)
        narrow = found[filled : filled + len(numbers)]
        if len(narrow) != len(numbers):
            return None
        with np.errstate(over="ignore"):
            narrow[...] = numbers
        if dtype.kind != "f" and not (numbers == narrow).all():
            return None
        filled += len(numbers)
    return found if filled == count else None


def _pieces(text: bytes) -> Iterator[bytes]:
    """Yield a large array in pieces, flat ones: a parser needs many times the memory of its text."""
    if len(text) <= 4 * _PIECE_BYTES:
        yield text
        return
    at = 0
    while at < len(text):
        comma = text.find(b",", at + _PIECE_BYTES)
        end = comma if comma >= 0 else len(text)
        piece = text[at:end]
        yield b"[%b]" % (_flattened(piece) if b"[" in piece or b"]" in piece else piece)
        at = end + 1


def _flattened(text: bytes) -> bytes:
    """Return a text with spaces in place of its brackets."""
    signs = np.frombuffer(text, np.uint8)
    is_bracket = ((signs == ord("[")) | (signs == ord("]"))).view(np.uint8)
    flattened: NDArray[np.uint8] = (signs & (is_bracket - np.uint8(1))) | is_bracket * np.uint8(ord(" "))
    return flattened.tobytes()


def _parsed_numbers(text: bytes, kind: str) -> NDArray[np.generic]:
    """Return the numbers of a nested array.

    Raises:
        ValueError: when the array has anything else.
    """
    import simdjson

    code, wide = _WIDE[kind]
    try:
        array = cast("simdjson.Array", simdjson.Parser().parse(text))
        return np.frombuffer(array.as_buffer(of_type=code), wide)
    except ValueError:
        if kind != "f" or (b"N" not in text and b"I" not in text):
            raise
    # NaN and Infinity are no JSON for simdjson.
    document = parse(b'{"": [%b]}' % _flattened(text))
    values = document[""] if isinstance(document, dict) else None
    if not isinstance(values, list) or not _NUMBER_TYPES["f"].issuperset(map(type, values)):
        raise ValueError("not only numbers")
    return np.array(values, wide)


def _regular_shape(body: bytes, start: int, end: int) -> tuple[int, ...] | None:
    """Return the shape of the nested array of numbers at a place; None if its rows differ.

    The brackets and commas of a regular array follow from its shape, so they are compared as bytes. Of a flat
    array the commas are only counted, which takes less time.
    """
    if body.find(b'"', start, end) >= 0:  # a text, which may hold any sign
        return None
    if _is_flat(body, start, end):
        return (1 + _commas(body, start, end),)
    structure = b"".join(
        [
            body[at : min(at + _PIECE_BYTES, end)].translate(None, _NOT_STRUCTURE)
            for at in range(start, end, _PIECE_BYTES)
        ]
    )
    axes = len(structure) - len(structure.lstrip(b"["))
    if not 0 < axes < _MOST_AXES:
        return None
    shape: list[int] = []
    part = b""
    for outer in reversed(range(axes)):
        # The parts of this axis begin behind the brackets of the outer ones; a sign is behind each of them.
        signs = structure[outer + 1 + len(part) :: len(part) + 1]
        shape.insert(0, signs.find(b"]") + 1)
        if not shape[0] or shape[0] * len(part) > len(structure):
            return None
        part = b"[%b%b]" % ((part + b",") * (shape[0] - 1), part)
    return tuple(shape) if part == structure else None


def _is_flat(body: bytes, start: int, end: int) -> bool:
    """Return whether an array has no other brackets than its own."""
    return body.find(b"[", start + 1, end) < 0 and body.find(b"]", start, end) == end - 1


def _commas(body: bytes, start: int, end: int) -> int:
    signs = np.frombuffer(body, np.uint8)
    return sum(
        int(np.count_nonzero(signs[at : min(at + _PIECE_BYTES, end)] == _COMMA))
        for at in range(start, end, _PIECE_BYTES)
    )


# --- answers ---


def encode(outputs: Mapping[str, NDArray[np.generic]], row_format: bool) -> bytes:  # noqa: FBT001 - of DecodedRequest
    """Return the body of a predict answer.

    Raises:
        ServingError: for values that JSON cannot carry.
    """
    for array in outputs.values():
        _check_writable(array)
    if not row_format:
        if len(outputs) == 1:
            ((alias, array),) = outputs.items()
            value = _pretty(array, alias, 1)
        else:
            value = _pretty_object(outputs, 1)
        return encoded(f'{{\n    "outputs": {value}\n}}')
    rows = _common_rows(outputs)
    if not rows:
        return b'{\n    "predictions": []\n}'
    if len(outputs) == 1:
        ((alias, array),) = outputs.items()
        if array.ndim == 1 and array.dtype in ROUND_TRIPS:
            parts = _joined(array)
        else:
            parts = ", ".join(_plain(array[row], alias, 2) for row in range(rows))
        return encoded(f'{{\n    "predictions": [{parts}\n    ]\n}}')
    objects = [
        _pretty_members({alias: _plain(array[row], alias, 3) for alias, array in outputs.items()}, 2)
        for row in range(rows)
    ]
    joined = ",\n        ".join(objects)
    return encoded(f'{{\n    "predictions": [\n        {joined}\n    ]\n}}')


def encode_classes(classes: Classes) -> bytes:
    """Return the body of a classify answer."""
    rows = [
        "[" + ", ".join(f"[{_text(label, '')}, {decimal(score)}]" for label, score in classes.of(row)) + "]"
        for row in range(classes.shape[0])
    ]
    return encoded(f'{{\n    "results": [{", ".join(rows)}\n    ]\n}}')


def encode_regressions(values: NDArray[np.generic]) -> bytes:
    """Return the body of a regress answer."""
    return encoded(f'{{\n    "results": {_plain(values, "")}\n}}')


def _joined(vector: NDArray[np.generic], separator: str = ", ") -> str:
    """Format a vector of floats, in blocks: a text for each of many numbers fills the memory."""
    if len(vector) <= _BLOCK:
        return separator.join(decimals(vector))
    starts = range(0, len(vector), _BLOCK)
    return separator.join([separator.join(decimals(vector[start : start + _BLOCK])) for start in starts])


def _common_rows(outputs: Mapping[str, NDArray[np.generic]]) -> int:
    rows: int | None = None
    for alias, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {alias} has no shape information ")
        if rows is not None and len(array) != rows:
            raise invalid(f"Tensor name: {alias} has inconsistent batch size: {len(array)} expecting: {rows}")
        rows = len(array)
    return rows or 0


def _check_writable(array: NDArray[np.generic]) -> None:
    if array.dtype not in _WRITABLE:
        name = dtype_name(array.dtype).removeprefix("DT_").lower()
        raise invalid(f"Failed to write JSON value for tensor type: {name}")


def _plain(value: _Value, alias: str, level: int = 0) -> str:
    """Format a value on one line, except for objects with base64 in it."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype in ROUND_TRIPS:
        return f"[{_joined(value)}]"
    if isinstance(value, np.ndarray) and value.ndim:
        return "[" + ", ".join(_plain(part, alias, level + 1) for part in value) + "]"
    return _text(value, alias, level)


def _pretty(value: _Value, alias: str, level: int) -> str:
    """Format a value with one element a line."""
    if not (isinstance(value, np.ndarray) and value.ndim):
        return _text(value, alias, level)
    if not len(value):
        return "[]"
    pad = "    " * (level + 1)
    if value.ndim == 1 and value.dtype in ROUND_TRIPS:
        parts = _joined(value, f",\n{pad}")
    else:
        parts = f",\n{pad}".join(_pretty(part, alias, level + 1) for part in value)
    return f"[\n{pad}{parts}\n{'    ' * level}]"


def _pretty_object(outputs: Mapping[str, NDArray[np.generic]], level: int) -> str:
    return _pretty_members(
        {alias: _pretty(value, alias, level + 1) for alias, value in outputs.items()}, level
    )


def _pretty_members(members: Mapping[str, str], level: int) -> str:
    pad = "    " * (level + 1)
    parts = f",\n{pad}".join(f"{quoted(alias)}: {text}" for alias, text in members.items())
    return f"{{\n{pad}{parts}\n{'    ' * level}}}"


def _text(value: _Value, alias: str, level: int = 0) -> str:
    if isinstance(value, np.ndarray):
        value = value[()]
    if isinstance(value, bytes):
        if alias.endswith("_bytes"):
            return _pretty_members({"b64": f'"{base64.b64encode(value).decode()}"'}, level)
        return quoted(value.decode(errors="surrogateescape"))
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, np.bool_ | bool):
        return "true" if value else "false"
    if isinstance(value, np.float32 | np.float64):
        return decimal(value)
    return str(value.item())
