"""Requests generated from a model's signature, by distributions of rows, sizes and values."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.protocols.fitting_request import in_rows, inspected
from pytest_tfserving.protocols.payload import Payload
from pytest_tfserving.protocols.payload_set import PayloadSet, SetEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_tfserving.experiments.payload_choice import Distribution, GeneratedKind, GeneratedPayload
    from pytest_tfserving.protocols.fitting_request import FoundRequest
    from pytest_tfserving.text.json_value import JsonValue

    Array = NDArray[np.generic]

_OPEN = "any"
_DIGITS = 4
# More values would make a body of tens of megabytes.
_MOST_VALUES = 4_000_000


def generated_set(generated: GeneratedPayload, version_path: Path) -> PayloadSet:
    """Return requests for a model that was found to take a request like them.

    Args:
        generated: what is generated.
        version_path: the folder of the model's version.

    Raises:
        ConfigurationError: if no request is found for the model, or an input is not the signature's.
    """
    found = inspected(version_path).usable(generated.signature)
    return PayloadSet(_entries(generated, found), "the generated payload")


def _entries(generated: GeneratedPayload, found: FoundRequest) -> Iterator[SetEntry]:
    """Yield the requests of all kinds; the weight of a kind is shared by its requests."""
    inputs = found.document["inputs"]
    assert isinstance(inputs, dict)
    axes = {each.name: each.shape.split(" x ") for each in found.inputs}
    for name, kind in generated.kinds.items():
        _check_names(kind, list(inputs))
        chance = random.Random(f"{generated.seed} {name}")  # noqa: S311 - no secret
        for _ in range(generated.count):
            rows = kind.rows.draw_size(chance)
            size = kind.sizes.draw_size(chance) if kind.sizes else 0
            made = {
                alias: _values(
                    _array(value),
                    _shape(_array(value), axes[alias], rows, size),
                    kind.values.get(alias),
                    chance,
                )
                for alias, value in inputs.items()
            }
            yield SetEntry(_payload(found, made), name, kind.weight / generated.count)


def _check_names(kind: GeneratedKind, inputs: list[str]) -> None:
    if unknown := next((alias for alias in kind.values if alias not in inputs), ""):
        raise ConfigurationError(
            f"'values' of the payload has no input {unknown!r}; {nearest(unknown, inputs)}."
        )


def _array(value: JsonValue) -> Array:
    """Return an input's value as an array; bytes stay objects of JSON."""
    array = np.asarray(value)
    if array.dtype.kind in "OU":
        array = np.asarray(value, object)
    return array


def _shape(array: Array, axes: list[str], rows: int, size: int) -> tuple[int, ...]:
    """Return the shape of an input: ``rows`` in an open first axis, ``size`` in other open ones."""
    wanted = [rows, *[size] * (array.ndim - 1)]
    is_open = [each == _OPEN for each in axes] if len(axes) == array.ndim else [False] * array.ndim
    shape = tuple(
        want if free and want else own for own, want, free in zip(array.shape, wanted, is_open, strict=False)
    )
    if np.prod(shape, dtype=float) > _MOST_VALUES:
        raise ConfigurationError(f"a generated request would have {np.prod(shape, dtype=float):.0f} values.")
    return shape


def _values(
    array: Array, shape: tuple[int, ...], values: Distribution | None, chance: random.Random
) -> Array:
    """Return values of a shape: drawn from a distribution, or else from the values of a request that fits."""
    flat = array.reshape(-1).tolist()
    count = int(np.prod(shape))
    if values is None:
        drawn: list[object] = chance.choices(flat, k=count) if flat else []
    elif array.dtype.kind == "f":
        drawn = [round(values.draw(chance), _DIGITS) for _ in range(count)]
    else:
        drawn = [round(values.draw(chance)) for _ in range(count)]
    made = np.empty(count, object)
    made[:] = drawn
    return made.reshape(shape)


def _payload(found: FoundRequest, made: dict[str, Array]) -> Payload:
    """Return a request in the row format if the model takes that, else in the columnar format."""
    inputs: dict[str, JsonValue] = {alias: array.tolist() for alias, array in made.items()}
    rows = in_rows(found.signature_name, inputs, made) if found.rows else None
    document = rows or {"signature_name": found.signature_name, "inputs": inputs}
    return Payload.from_body(json.dumps(document).encode())
