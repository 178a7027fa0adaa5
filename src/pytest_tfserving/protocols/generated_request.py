"""Requests generated from a model's signature: values made up so that types and shapes fit.

A signature leaves much open: sizes of axes, the content of strings, the range of whole numbers. A `Guess` has
one assumption for each, with its origin, and derives the next guesses from the model's error. Nothing here
calls a model.
"""

from __future__ import annotations

import base64
import itertools
import math
import random
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensorflow_c import BFLOAT16, STRING, numpy_dtype
from pytest_tfserving.protocols.payload import SIDE, picture_jpeg
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_tfserving.model_server.servable import TensorSpec
    from pytest_tfserving.text.json_value import JsonValue

_SEED = 1
_DIGITS = 3
_COLOURS = (1, 3, 4)
_PICTURE_AXES = 4
_USUAL_SIZE = 8
_USUAL_BELOW = 10
_BYTE = 256
# Sizes of models that people build: powers of two, and those of well-known data sets.
_SIZES = (1, 2, 3, 4, 5, 6, 10, 12, 16, 20, 28, 32, 50, 64, 100, 128, 224, 256, 299, 384, 512)
_MOST_IN_ERROR = 4096
_MOST_VALUES = 4_000_000
_MOST_OF_FEATURE = 100_000
_LONGEST_ERROR = 120
_TEXT, _JPEG, _EXAMPLE, _NUMBER = "text", "jpeg", "example", "number"
_CONTENTS = {
    _TEXT: "a short text",
    _JPEG: f"a JPEG picture of {SIDE} x {SIDE} pixels",
    _EXAMPLE: "a serialized tf.Example",
    _NUMBER: "a number as text",
}
_SHORT_TEXT = "a short text, made up to measure this model"
# What TensorFlow's errors say when a string has other content.
_SIGNS = {
    _JPEG: re.compile(r"image file format|Expected image|JPEG|PNG|GIF|BMP|decode.*image", re.IGNORECASE),
    _EXAMPLE: re.compile(r"Could not parse example|Feature: .* is required|serialized Example"),
    _NUMBER: re.compile(r"StringToNumber"),
}
_FEATURE = re.compile(r"Feature: (?P<name>.+?) \(data type: (?P<type>string|float|int64)\) is required")
_FEATURE_SIZE = re.compile(r"Key: (?P<name>.+?)[.,] .*output shape: \[(?P<shape>[\d,]{0,40})\]")
_FEATURE_TYPE = re.compile(r"Key: (?P<name>.+?)[.,] .*Expected type: (?P<type>string|float|int64)")
_BELOW = re.compile(r"is not in \[0, ([1-9]\d{0,8})\)")
_RAGGED = re.compile(r"(?P<of>.*?)_?(?P<kind>row_splits|row_lengths|value_rowids|row_starts)$")
_MASK = re.compile(r"mask", re.IGNORECASE)
_SEGMENT = re.compile(r"segment|type_ids", re.IGNORECASE)
# By the type's name in errors: the field of a tf.Example, and a value.
_FEATURE_VALUES = {
    "string": ("bytes_list", _SHORT_TEXT.encode()),
    "float": ("float_list", 0.5),
    "int64": ("int64_list", 1),
}


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of a tf.Example: name, type (``string``, ``float`` or ``int64``) and number of values."""

    name: str
    type: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Guess:
    """Assumptions about what a signature leaves open.

    Attributes:
        size: the size of open axes behind the first one; 0 for the usual size of the input.
        rank: the number of axes of inputs without a shape.
        content: the content of strings.
        below: whole numbers are below this.
        features: the features of a tf.Example.
        origins: the model's error that led to an assumption, by the assumption's name.
    """

    size: int = 0
    rank: int = 1
    content: str = _TEXT
    below: int = _USUAL_BELOW
    features: tuple[Feature, ...] = ()
    origins: tuple[tuple[str, str], ...] = ()

    @property
    def assumptions(self) -> tuple[object, ...]:
        """The assumptions without their origins."""
        return self.size, self.rank, self.content, self.below, self.features

    def after(self, error: str, specs: Mapping[str, TensorSpec]) -> Iterator[Guess]:
        """Yield the guesses that a model's error on a request of this guess suggests."""
        if match := _BELOW.search(error):
            yield replace(self._because("below", error), below=int(match[1]))
        yield from self._other_features(error)
        for content, sign in _SIGNS.items():
            if sign.search(error):
                yield replace(self._because("content", error), content=content)
        if not _has_open_sizes(specs):
            return
        numbers = dict.fromkeys(int(text) for text in re.findall(r"(?<![\w.-])\d{1,4}(?![\w.])", error))
        sizes = [number for number in numbers if 1 <= number <= _MOST_IN_ERROR]
        for size in sorted(sizes, key=lambda number: number == 1):
            yield replace(self._because("size", error), size=size)

    def _other_features(self, error: str) -> Iterator[Guess]:
        known = {feature.name: feature for feature in self.features}
        if match := _FEATURE.search(error):
            known[match["name"]] = Feature(match["name"], match["type"])
        elif (match := _FEATURE_TYPE.search(error)) and match["name"] in known:
            known[match["name"]] = replace(known[match["name"]], type=match["type"])
        elif (match := _FEATURE_SIZE.search(error)) and match["name"] in known:
            count = min(math.prod(int(size) for size in match["shape"].split(",") if size), _MOST_OF_FEATURE)
            known[match["name"]] = replace(known[match["name"]], count=count)
        else:
            return
        because = self._because("content", error)
        yield replace(because, content=_EXAMPLE, features=tuple(known.values()))

    def _because(self, name: str, error: str) -> Guess:
        """Return the same guess with an error of the model as the origin of an assumption."""
        origins = dict(self.origins) | {name: f"the model's error: {error_text(error)}"}
        return replace(self, origins=tuple(origins.items()))

    def origin(self, name: str, otherwise: str) -> str:
        """Return the origin of an assumption, or ``otherwise`` if no error led to it."""
        return dict(self.origins).get(name, otherwise)


def error_text(error: str) -> str:
    """Return the first sentence of a model's error, without the place in its graph."""
    return one_line(error.partition("[[{{")[0], _LONGEST_ERROR).rstrip(" .")


def other_guesses(specs: Mapping[str, TensorSpec]) -> Iterator[Guess]:
    """Yield guesses for a model whose errors do not help, the likely ones first."""
    # Without features a tf.Example is an empty string, which other models take, too.
    texts = [content for content in _CONTENTS if content != _EXAMPLE]
    contents = texts if any(spec.dtype == STRING for spec in specs.values()) else [_TEXT]
    ranks = [1, 2, 0, 4, 3] if any(spec.shape is None for spec in specs.values()) else [1]
    sizes = [0, *_SIZES] if _has_open_sizes(specs) else [0]
    tried = "tried after other values failed"
    for size, rank, content in itertools.product(sizes, ranks, contents):
        origins = (("size", tried), ("rank", tried), ("content", tried))
        yield Guess(size, rank, content, origins=origins)


def _has_open_sizes(specs: Mapping[str, TensorSpec]) -> bool:
    """Return whether an axis behind the first one is open, or may be there."""
    return any(spec.shape is None or -1 in spec.shape[1:] for spec in specs.values())


@dataclass(frozen=True, slots=True)
class GeneratedInput:
    """A value for an input, as in JSON's columnar format, and a sentence for each thing that was made up."""

    value: JsonValue
    notes: tuple[str, ...]


def generated_inputs(specs: Mapping[str, TensorSpec], guess: Guess) -> dict[str, GeneratedInput]:
    """Return a value for every input of a signature; the same guess always gives the same values.

    Raises:
        ConfigurationError: if an input would have millions of values.
    """
    chance = random.Random(_SEED)  # noqa: S311 - no secret
    ragged = {alias: match for alias in specs if (match := _RAGGED.match(alias))}
    split = [match["of"] for match in ragged.values()]
    made = {}
    for alias, spec in specs.items():
        if alias in ragged:
            made[alias] = _partition(ragged[alias]["kind"], _size(spec, guess))
            continue
        is_split = any(alias.startswith(prefix) for prefix in split)
        shape, notes = _shape(spec, guess, is_split=is_split)
        if math.prod(shape) > _MOST_VALUES:
            raise ConfigurationError(f"the input {alias!r} would have {math.prod(shape)} values")
        value, content = _content(alias, spec, guess, chance)
        made[alias] = GeneratedInput(_nested(shape, value), (*notes, content))
    return made


def _shape(spec: TensorSpec, guess: Guess, *, is_split: bool) -> tuple[tuple[int, ...], list[str]]:
    """Return a shape without open axes, and what was assumed."""
    notes = []
    if spec.shape is None:
        origin = guess.origin("rank", "the signature has no shape")
        notes.append(f"{guess.rank} {'axis' if guess.rank == 1 else 'axes'} ({origin})")
    axes = (-1,) * guess.rank if spec.shape is None else spec.shape
    shape = list(axes)
    for axis in (axis for axis, size in enumerate(axes) if size < 0):
        if axis == 0 and not is_split:
            shape[axis] = 1
            notes.append("1 row (the first axis is open)")
        elif axis == _PICTURE_AXES - 1 and len(axes) == _PICTURE_AXES:
            shape[axis] = 3
            notes.append("3 colours (the last of four axes is open)")
        else:
            shape[axis] = _size(spec, guess)
            what = "values for ragged rows" if axis == 0 else f"as the size of axis {axis}"
            notes.append(f"{shape[axis]} {what} ({guess.origin('size', 'a usual size, the axis is open')})")
    return tuple(shape), notes


def _size(spec: TensorSpec, guess: Guess) -> int:
    axes = spec.shape if spec.shape is not None else (-1,) * guess.rank
    is_picture = len(axes) == _PICTURE_AXES and axes[-1] in (-1, *_COLOURS)
    return guess.size or (SIDE if is_picture else _USUAL_SIZE)


def _partition(kind: str, values: int) -> GeneratedInput:
    """Return a row partition of a ragged tensor: two rows that share the values."""
    first = values // 3
    made: dict[str, list[JsonValue]] = {
        "row_lengths": [first, values - first],
        "value_rowids": [int(position >= first) for position in range(values)],
        "row_starts": [0, first],
    }
    note = f"two ragged rows, of {first} and {values - first} values (by the input's name)"
    return GeneratedInput(made.get(kind, [0, first, values]), (note,))


def _content(
    alias: str, spec: TensorSpec, guess: Guess, chance: random.Random
) -> tuple[Callable[[int], JsonValue], str]:
    """Return a function that gives the value at a position, and its description."""
    dtype = numpy_dtype(spec.dtype)
    kind = dtype.kind if dtype is not None and spec.dtype != BFLOAT16 else "f"
    if spec.dtype == STRING:
        made = _string(guess)
        origin = guess.origin("content", "made up, the type is string")
        names = ", ".join(feature.name for feature in guess.features)
        what = f"{_CONTENTS[guess.content]}{names and f' with the features {names}'}"
        return lambda _: made, f"{what} ({origin})"
    if kind == "b":
        return lambda position: position % 2 == 0, "true and false in turn (made up)"
    if kind in "iu":
        return _whole_number(alias, spec, guess)
    if kind == "c":
        return lambda _: 0.0, "0 (made up)"
    return lambda _: round(chance.random(), _DIGITS), "numbers from 0 to 1 (made up, always the same)"


def _whole_number(alias: str, spec: TensorSpec, guess: Guess) -> tuple[Callable[[int], JsonValue], str]:
    if _MASK.search(alias):
        return lambda _: 1, "1 everywhere (by the input's name, a mask)"
    if _SEGMENT.search(alias):
        return lambda _: 0, "0 everywhere (by the input's name, a segment)"
    is_picture = numpy_dtype(spec.dtype) == "uint8" and "below" not in dict(guess.origins)
    below = _BYTE if is_picture else guess.below
    # A prime apart, so that neighbours differ and every value occurs.
    step = 7 if below % 7 else 1
    origin = guess.origin("below", "made up")
    return lambda position: (position + 1) * step % below, f"whole numbers from 0 to {below - 1} ({origin})"


def _string(guess: Guess) -> JsonValue:
    if guess.content == _TEXT:
        return _SHORT_TEXT
    if guess.content == _NUMBER:
        return "1.5"
    content = picture_jpeg() if guess.content == _JPEG else _example(guess.features)
    return {"b64": base64.b64encode(content).decode()}


def _nested(shape: tuple[int, ...], value: Callable[[int], JsonValue]) -> JsonValue:
    """Return nested lists of ``shape``; ``value`` gives the element at each position."""
    flat = [value(position) for position in range(math.prod(shape))]
    for size in reversed(shape[1:]):
        flat = [flat[at : at + size] for at in range(0, len(flat), size)] if size else []
    return flat if shape else flat[0]


def _example(features: tuple[Feature, ...]) -> bytes:
    """Return a serialized ``tf.Example`` with made-up values for ``features``."""
    example = message("tensorflow.Example")()
    for feature in features:
        kind, value = _FEATURE_VALUES[feature.type]
        getattr(example.features.feature[feature.name], kind).value.extend([value] * feature.count)
    serialized: bytes = example.SerializeToString()
    return serialized
