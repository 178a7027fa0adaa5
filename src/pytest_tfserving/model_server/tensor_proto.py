"""Conversion of TensorProtos to arrays and back, without an object for each number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.model_server import varint
from pytest_tfserving.model_server.tensorflow_c import BFLOAT16, STRING, dtype_number, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message
    from numpy.typing import NDArray

_MOST_BYTES = 2**31
# How often a value that a request holds once may repeat: a few bytes must not fill the memory.
_MOST_REPEATED = 2**24
_MOST_TEXTS_REPEATED = 2**16
_HALF = 19
# The field that holds the numbers of a DataType if tensor_content is empty.
_FIELDS = {
    1: "float_val",
    2: "double_val",
    3: "int_val",
    4: "int_val",
    5: "int_val",
    6: "int_val",
    STRING: "string_val",
    8: "scomplex_val",
    9: "int64_val",
    10: "bool_val",
    BFLOAT16: "half_val",
    17: "int_val",
    18: "dcomplex_val",
    _HALF: "half_val",
    22: "uint32_val",
    23: "uint64_val",
}
_VARINTS = frozenset({"int_val", "int64_val", "bool_val", "half_val", "uint32_val", "uint64_val"})


def to_array(proto: Message) -> NDArray[np.generic]:
    """Return the tensor in a ``PackedTensor``; as in TensorFlow, the last value repeats if some are missing.

    Raises:
        ValueError: when the message holds no valid tensor.
    """
    dtype = numpy_dtype(proto.dtype) if proto.dtype in _FIELDS else None
    shape = tuple(axis.size for axis in proto.tensor_shape.dim)
    if dtype is None or proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("no such tensor")
    count = math.prod(shape)
    # A tensor without elements is checked too: a model's output for it may have the size of the other axes.
    if count * dtype.itemsize > _MOST_BYTES or (
        not count and math.prod(filter(None, shape)) > _MOST_REPEATED
    ):
        raise ValueError("too large")
    if proto.dtype == STRING:
        return _strings(proto.string_val, count).reshape(shape)
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise ValueError("the content is not of the tensor's size")
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    return _filled(_numbers(proto, dtype), count).reshape(shape)


def fill_proto(proto: Message, array: NDArray[np.generic], *, as_content: bool) -> None:
    """Write an array into a ``PackedTensor``: into the field of its type, or as ``tensor_content``."""
    proto.dtype = dtype_number(array.dtype)
    dims = proto.tensor_shape.dim
    for size in array.shape:
        dims.add(size=size)
    if proto.dtype == STRING:
        proto.string_val.extend(array.flat)
    elif not array.size:
        return
    elif as_content:
        proto.tensor_content = array.tobytes()
    else:
        field = _FIELDS[proto.dtype]
        getattr(proto, field).append(_packed(array, field))


def _packed(array: NDArray[np.generic], field: str) -> bytes:
    if field not in _VARINTS:
        return array.tobytes()
    if field == "bool_val":
        return array.astype(np.uint8).tobytes()
    return varint.encode(array.view(np.uint16) if field == "half_val" else array)


def _numbers(proto: Message, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    field = _FIELDS[proto.dtype]
    content = b"".join(getattr(proto, field))
    if field not in _VARINTS:
        return np.frombuffer(content, dtype)
    numbers = varint.decode(content)
    if field == "half_val":
        return numbers.astype(np.uint16).view(dtype)
    return numbers.astype(dtype)


def _filled(numbers: NDArray[np.generic], count: int) -> NDArray[np.generic]:
    if len(numbers) == count:
        return numbers
    if len(numbers) > count:
        raise ValueError("more values than the tensor has")
    if count - len(numbers) > _MOST_REPEATED:
        raise ValueError("too few values")
    filled = np.full(count, numbers[-1] if len(numbers) else 0, numbers.dtype)
    filled[: len(numbers)] = numbers
    return filled


def _strings(texts: Sequence[bytes], count: int) -> NDArray[np.generic]:
    if len(texts) > count:
        raise ValueError("more values than the tensor has")
    if count - len(texts) > _MOST_TEXTS_REPEATED:
        raise ValueError("too few values")
    array = np.full(count, texts[-1] if texts else b"", object)
    array[: len(texts)] = list(texts)
    return array
