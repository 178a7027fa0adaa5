"""Conversion of predict requests and responses between REST's JSON and protocol buffers."""

from __future__ import annotations

import base64
import json
import math
import re
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeGuard

from pytest_tfserving.errors import ConfigurationError, LoadError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from google.protobuf.message import Message
    from numpy.typing import NDArray

    from pytest_tfserving.protocols.payload import Payload
    from pytest_tfserving.text.json_value import JsonObject, JsonValue

_PATH = re.compile(r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?")
_SERVING = "tensorflow.serving."
# A tensor may repeat its last value, so a few bytes can stand for any number of values.
_MOST_REPEATED = 1 << 16
_MOST_AXES = 64

# A tensor of bytes as nested lists.
_NestedBytes: TypeAlias = "bytes | list[_NestedBytes]"


class HasDataType(Protocol):
    """A message or an object with the number of a DataType."""

    @property
    def dtype(self) -> int: ...  # noqa: D102 - see the class


def fill_model_spec(spec: Message, path: str, signature_name: str = "") -> None:
    """Write the model of a REST path ``/v1/models/NAME[/versions/N|/labels/L]`` into a ``ModelSpec``."""
    match = _PATH.fullmatch(path)
    assert match is not None
    spec.name, spec.signature_name = match["name"], signature_name
    if match["version"]:
        spec.version.value = int(match["version"])
    if match["label"]:
        spec.version_label = match["label"]


def predict_request(payload: Payload, path: str, signatures: Mapping[str, Message]) -> bytes:
    """Return the serialized ``PredictRequest`` that is equivalent to a REST request.

    Args:
        payload: the REST request.
        path: the model's path in REST.
        signatures: ``SignatureDef`` messages by name.

    Raises:
        ConfigurationError: if the model lacks the signature, or the payload does not fit its inputs.
    """
    from pytest_tfserving.model_server.protos import message
    from pytest_tfserving.model_server.tensor_proto import fill_proto

    if payload.signature_name not in signatures:
        names = ", ".join(sorted(signatures)) or "none"
        raise ConfigurationError(f"the model has no signature {payload.signature_name!r} (it has {names}).")
    request = message(f"{_SERVING}PredictRequest")()
    fill_model_spec(request.model_spec, path, payload.signature_name)
    inputs = signatures[payload.signature_name].inputs
    for alias, array in request_tensors(json.loads(payload.body), inputs).items():
        fill_proto(request.inputs[alias], array, as_content=True)
    serialized: bytes = request.SerializeToString()
    return serialized


def request_tensors(request: JsonObject, inputs: Mapping[str, HasDataType]) -> dict[str, NDArray[np.generic]]:
    """Return the tensor of each input of a request's JSON, in the row or the columnar format.

    Args:
        request: the parsed JSON.
        inputs: the type of each input, by its name.

    Raises:
        ConfigurationError: if the request does not fit the inputs.
    """
    columns = _columns(request, inputs)
    return {alias: _array(alias, value, inputs[alias].dtype) for alias, value in columns.items()}


def answer_document(content: bytes, key: str) -> JsonValue:
    """Return the value that REST's JSON would have under ``key`` for a serialized ``PredictResponse``.

    Raises:
        LoadError: if ``content`` is not a ``PredictResponse``, or cannot be converted. Errors are counted by
            its text.
    """
    from google.protobuf.message import DecodeError

    from pytest_tfserving.model_server.protos import message
    from pytest_tfserving.model_server.tensor_proto import to_array

    try:
        answer = message(f"{_SERVING}PredictResponse").FromString(content)
        if not all(map(_is_written_out, answer.outputs.values())):
            raise LoadError("the response has a tensor with more values than were sent")
        outputs = {alias: listed(to_array(proto)) for alias, proto in answer.outputs.items()}
    except (DecodeError, ValueError):
        raise LoadError("the response is not a PredictResponse") from None
    if not outputs:
        raise LoadError("the response has no outputs")
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    if key == "outputs":
        return outputs
    try:
        return [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    except (TypeError, ValueError):
        raise LoadError("the response's outputs have different numbers of rows") from None


def _is_written_out(proto: Message) -> bool:
    """Return whether a tensor has at most about as many values as bytes, axes of length 0 counted as 1."""
    sizes = [max(axis.size, 1) for axis in proto.tensor_shape.dim]
    return len(sizes) <= _MOST_AXES and math.prod(sizes) <= proto.ByteSize() + _MOST_REPEATED


def _columns(request: JsonObject, inputs: Mapping[str, HasDataType]) -> dict[str, JsonValue]:
    """Return the value of each input of a request in the row or the columnar format."""
    columnar = "inputs" in request
    sent = request["inputs" if columnar else "instances"]
    if not (columnar or isinstance(sent, list)):
        raise ConfigurationError(f"'instances' of the payload is a list, not {shown(sent)}.")
    every = sent if isinstance(sent, list) and not columnar else [sent]
    rows = [row for row in every if _is_named(row)]
    if len(rows) < len(every):
        if len(inputs) != 1:
            problem = f"the signature has the inputs {', '.join(sorted(inputs))}, and the payload names none"
            raise ConfigurationError(f"{problem} of them.")
        return {next(iter(inputs)): sent}
    names = {name for row in rows for name in row}
    if strange := sorted(names - set(inputs)):
        known = ", ".join(sorted(inputs))
        raise ConfigurationError(f"the payload names the input {strange[0]!r}; the signature has {known}.")
    if columnar:
        return rows[0]
    try:
        return {name: [row[name] for row in rows] for name in names}
    except KeyError as error:
        raise ConfigurationError(f"an instance of the payload has no {error.args[0]!r}.") from None


def _is_named(value: JsonValue) -> TypeGuard[JsonObject]:
    return isinstance(value, dict) and set(value) != {"b64"}


def _array(alias: str, value: JsonValue, dtype_number: int) -> NDArray[np.generic]:
    import numpy as np

    from pytest_tfserving.model_server.tensorflow_c import STRING, numpy_dtype

    dtype = numpy_dtype(dtype_number)
    try:
        if dtype_number != STRING:
            return np.asarray(value, dtype)
        texts = _bytes_in(value)
        shape = _shape(texts)
        array = np.empty(shape, object)
        array.reshape(-1)[:] = list(_flat(texts))
    except (ValueError, TypeError, OverflowError):
        kind = "string" if dtype_number == STRING else dtype
        raise ConfigurationError(
            f"the payload's values for {alias!r} do not make a tensor of type {kind}."
        ) from None
    return array


def _bytes_in(value: JsonValue) -> _NestedBytes:
    if isinstance(value, list):
        return [_bytes_in(each) for each in value]
    if not isinstance(value, dict):
        return str(value).encode()
    if not isinstance(content := value.get("b64"), str):
        raise TypeError("no bytes")
    return base64.b64decode(content)


def _shape(value: _NestedBytes) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    shapes = {_shape(each) for each in value}
    if len(shapes) > 1:
        raise ValueError("ragged")
    return (len(value), *(shapes.pop() if shapes else ()))


def _flat(value: _NestedBytes) -> Iterator[bytes]:
    if not isinstance(value, list):
        yield value
        return
    for each in value:
        yield from _flat(each)


def listed(array: NDArray[np.generic]) -> JsonValue:
    """Return nested lists as in JSON; bytes that are not UTF-8 become base64."""
    return _text(array.tolist())


def _text(value: JsonValue | bytes) -> JsonValue:
    if isinstance(value, list):
        return [_text(each) for each in value] if value and isinstance(value[0], list | bytes) else value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return value
