"""Conversion of TensorProtos to arrays and back, without an object for each number."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from pytest_tfserving.model_server import varint
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensorflow_c import BFLOAT16, STRING, dtype_number, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message
    from numpy.typing import NDArray

_MOST_BYTES = 2**31
# How often a value that a request holds once may repeat: a few bytes must not fill the memory.
_MOST_REPEATED = 2**24
_MOST_TEXTS_REPEATED = 2**16
_BOOL = 10
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
    _BOOL: "bool_val",
    BFLOAT16: "half_val",
    17: "int_val",
    18: "dcomplex_val",
    _HALF: "half_val",
    22: "uint32_val",
    23: "uint64_val",
}
_VARINTS = frozenset({"int_val", "int64_val", "bool_val", "half_val", "uint32_val", "uint64_val"})


def to_array(proto: Message) -> NDArray[np.generic]:
    """Return the tensor in a ``PackedTensor``, read as TensorFlow reads it.

    If values are missing, the last one repeats. Values beyond those that the shape needs are ignored.

    Raises:
        ValueError: when the message holds no valid tensor.
    """
    if len(UnknownFieldSet(proto)):
        proto = _packed_again(proto)
    dtype = numpy_dtype(proto.dtype) if proto.dtype in _FIELDS else None
    shape = tuple(axis.size for axis in proto.tensor_shape.dim)
    if dtype is None or any(size < 0 for size in shape):
        raise ValueError("no such tensor")
    count = math.prod(shape)
    # A tensor without elements is checked too: a model's output for it may have the size of the other axes.
    if count * dtype.itemsize > _MOST_BYTES or (
        not count and math.prod(filter(None, shape)) > _MOST_REPEATED
    ):
        raise ValueError("too large")
    if not count:
        return np.empty(shape, dtype)
    content = proto.tensor_content  # each look at the field is a copy
    if proto.dtype == STRING:
        return _strings(_texts(content, count) if content else proto.string_val, count).reshape(shape)
    if not content:
        return _filled(_numbers(proto, dtype), count).reshape(shape)
    if len(content) != count * dtype.itemsize:
        raise ValueError("the content is not of the tensor's size")
    if proto.dtype == _BOOL and content.translate(None, b"\0\1"):
        raise ValueError("a byte is neither true nor false")
    return np.frombuffer(content, dtype).reshape(shape)


def _packed_again(proto: Message) -> Message:
    """Return the tensor with packed numbers; a client may send each number as a field of its own."""
    try:
        plain = message("tensorflow.TensorProto").FromString(proto.SerializeToString())
    except DecodeError as error:
        raise ValueError("no such tensor") from error
    return message("tensorflow.serving.PackedTensor").FromString(plain.SerializeToString())


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
    if dtype.kind == "c":  # half a complex number at the end does not count
        content = content[: len(content) - len(content) % dtype.itemsize]
    if field not in _VARINTS:
        return np.frombuffer(content, dtype)
    numbers = varint.decode(content)
    if field == "half_val":
        return numbers.astype(np.uint16).view(dtype)
    return numbers.astype(dtype)


def _filled(numbers: NDArray[np.generic], count: int) -> NDArray[np.generic]:
    if len(numbers) >= count:
        return numbers[:count]
    if count - len(numbers) > _MOST_REPEATED:
        raise ValueError("too few values")
    filled = np.full(count, numbers[-1] if len(numbers) else 0, numbers.dtype)
    filled[: len(numbers)] = numbers
    return filled


def _strings(texts: Sequence[bytes], count: int) -> NDArray[np.generic]:
    if count - len(texts) > _MOST_TEXTS_REPEATED:
        raise ValueError("too few values")
    array = np.full(count, texts[-1] if texts else b"", object)
    array[: len(texts)] = list(texts[:count])
    return array


def _texts(content: bytes, count: int) -> list[bytes]:
    """Return the texts of a ``tensor_content``: their lengths come first, as varints, and then all texts."""
    lengths, start = varint.first(content, count)
    ends = list(accumulate(lengths, initial=start))
    if ends[-1] != len(content):
        raise ValueError("the content is not of the texts' lengths")
    return [content[begin:end] for begin, end in pairwise(ends)]
