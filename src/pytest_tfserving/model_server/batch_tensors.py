"""Concatenation of the tensors of several requests, and the split of the outputs among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.model_server.status import Code, ServingError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_MOST_PADDED_AXES = 6


def rows_of(feeds: Mapping[str, NDArray[np.generic]]) -> int:
    """Return how many rows a request has.

    Raises:
        ServingError: when its tensors differ in their number of rows.
    """
    if not feeds:
        raise invalid("Batching Run() must have at least one input tensor")
    if not all(array.ndim for array in feeds.values()):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in feeds.values()}
    if len(sizes) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def joined(
    name: str, arrays: Sequence[NDArray[np.generic]], *, pad: bool, filling: int
) -> NDArray[np.generic]:
    """Join the rows of all ``arrays``, then ``filling`` copies of the first row of the last array.

    Raises:
        ServingError: when the rows differ in shape and may not be padded.
    """
    if any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
        arrays = _padded(name, arrays, pad=pad)
    if len(arrays) == 1 and not filling:
        return arrays[0]
    return np.concatenate([*arrays, *([arrays[-1][:1]] * filling)])


def _padded(name: str, arrays: Sequence[NDArray[np.generic]], *, pad: bool) -> list[NDArray[np.generic]]:
    if not pad:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"Tensors with name '{name}' from different tasks have different shapes and padding is turned "
            "off. Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have "
            "equal dimensions starting with the first dim.",
        )
    axes = {array.ndim for array in arrays}
    if len(axes) > 1 or max(axes) > _MOST_PADDED_AXES:
        raise invalid(f"Only tensors of the same rank, from 1 to {_MOST_PADDED_AXES}, can be padded: {name}")
    shape = [max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True)]
    return [_padded_to(array, shape) for array in arrays]


def _padded_to(array: NDArray[np.generic], shape: Sequence[int]) -> NDArray[np.generic]:
    missing = [(0, 0), *((0, most - size) for most, size in zip(shape, array.shape[1:], strict=True))]
    if array.size:
        return np.pad(array, missing, constant_values=array.flat[0])
    nothing = b"" if array.dtype == object else array.dtype.type(0)
    return np.full((len(array), *shape), nothing, array.dtype)


def split(
    outputs: Mapping[str, NDArray[np.generic]], sizes: Sequence[int], filling: int
) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Yield, for each joined request, the rows of the outputs that belong to the request.

    Raises:
        ServingError: when the outputs do not have as many rows as the inputs.
    """
    for array in outputs.values():
        if not array.ndim:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(array) != sum(sizes) + filling:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of "
                "the input tensors",
            )
    start = 0
    for rows in sizes:
        yield {name: array[start : start + rows] for name, array in outputs.items()}
        start += rows
