"""Payload sets in files: JSON lines, folders of pictures or arrays, and logs of requests in TFRecords."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, missing_extra, nearest, shown
from pytest_tfserving.experiments.payload_paths import LINES, RECORDS, REQUEST, WARM_UP, is_lines, is_records
from pytest_tfserving.protocols.payload import Payload
from pytest_tfserving.protocols.payload_set import PayloadSet, SetEntry
from pytest_tfserving.text.foreign_text import one_line
from pytest_tfserving.text.json_line import value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from google.protobuf.message import Message

    from pytest_tfserving.text.json_value import JsonObject, JsonValue

PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".bmp")
ARRAY = ".npy"
_VALUES = ("instances", "inputs", "instance")
_FIELDS = ("signature_name", *_VALUES, "kind", "weight", "time")
_DEFAULT_SIGNATURE = "serving_default"


def set_of(path: Path, signature_name: str = "") -> PayloadSet:
    """Return the payload set in a file or a folder.

    Args:
        path: the file or folder.
        signature_name: the signature of requests that do not name one; empty for the default.

    Raises:
        ConfigurationError: if there is no request in it, or something in it is not a request.
    """
    try:
        return PayloadSet(_reader(path)(path, signature_name), f"the payload {path}")
    except OSError as error:
        raise ConfigurationError(f"cannot read the payload {path}: {error.strerror}.") from None


def _reader(path: Path) -> Callable[[Path, str], Iterator[SetEntry]]:
    """Return the function that yields the requests of a payload set."""
    if path.is_dir():
        return _in_folder
    if is_lines(str(path)):
        return _lines
    if is_records(str(path)):
        return _records
    raise ConfigurationError(
        f"the payload {path} is not a folder, and its name does not say what is in it; valid: *{REQUEST} for "
        f"one request, *{LINES} for JSON lines, *{RECORDS} or {WARM_UP} for logs of requests."
    )


def _lines(path: Path, signature_name: str) -> Iterator[SetEntry]:
    """Yield the requests in JSON lines; empty lines are skipped."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if content := line.rstrip():
                place = f"{path}:{number}"
                try:
                    yield _of_line(content, place, signature_name)
                except ConfigurationError as error:
                    raise ConfigurationError(f"{place}: {error}") from None


def _of_line(content: bytes, place: str, signature_name: str) -> SetEntry:
    """Return the request of a line: an object with a request's fields, else one instance."""
    value = value_of(content)
    if not isinstance(value, dict) or not any(name in value for name in _VALUES):
        value = {"instance": value}
    if unknown := next((name for name in value if name not in _FIELDS), ""):
        raise ConfigurationError(
            f"unknown field {unknown!r} of a request; {nearest(unknown, list(_FIELDS))}."
        )
    given = [name for name in _VALUES if name in value]
    if len(given) > 1:
        raise ConfigurationError(f"a request has {given[0]!r} or {given[1]!r}, not both.")
    value.pop("time", None)  # of a trace
    kind, weight = value.pop("kind", ""), value.pop("weight", 1.0)
    if not isinstance(kind, str):
        raise ConfigurationError(f"the kind of a request is a text, not {shown(kind)}.")
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ConfigurationError(f"the weight of a request is a number, not {shown(weight)}.")
    return SetEntry(_payload(value, signature_name), kind, weight, place)


def _payload(request: JsonObject, signature_name: str) -> Payload:
    """Return the request of an object with the fields of a request's body, or with an ``instance``."""
    if "instance" in request:
        request["instances"] = [request.pop("instance")]
    if not isinstance(request.get("instances", []), list):
        raise ConfigurationError(f"'instances' of a request is a list, not {shown(request['instances'])}.")
    if signature_name and "signature_name" not in request:
        request = {"signature_name": signature_name, **request}
    if not isinstance(request.get("signature_name", ""), str):
        raise ConfigurationError(f"'signature_name' is a text, not {shown(request['signature_name'])}.")
    body, name = json.dumps(request).encode(), str(request.get("signature_name") or _DEFAULT_SIGNATURE)
    rows = request.get("instances")
    if isinstance(rows, list):
        return Payload(body, name, "predictions", len(rows))
    return Payload(body, name, "outputs", None)


def _in_folder(folder: Path, signature_name: str) -> Iterator[SetEntry]:
    """Yield a request for each picture and each array in a folder; the kind is the name of a subfolder."""
    for path in sorted(folder.rglob("*")):
        kind = "/".join(path.relative_to(folder).parts[:-1])
        if path.suffix.lower() in PICTURES:
            content = base64.b64encode(path.read_bytes()).decode()
            request: JsonObject = {"instances": [{"b64": content}]}
        elif path.suffix.lower() == ARRAY:
            request = {"instances": _array(path)}
        else:
            continue
        yield SetEntry(_payload(request, signature_name), kind, place=str(path))


def _array(path: Path) -> JsonValue:
    """Return the rows of an array in a file."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
        rows: JsonValue = array.tolist()
    except (ValueError, EOFError) as error:
        raise ConfigurationError(f"{path}: not an array: {one_line(str(error))}.") from None
    if array.ndim == 0 or array.dtype.kind not in "biufU":
        raise ConfigurationError(
            f"{path}: an array for load has rows of numbers, texts or truth values, not {array.dtype} "
            f"of shape {array.shape}."
        )
    return rows


def _records(path: Path, signature_name: str) -> Iterator[SetEntry]:
    """Yield the requests of a file of PredictionLogs in TFRecords."""
    try:
        from pytest_tfserving.model_server.status import ServingError
        from pytest_tfserving.model_server.tfrecord import records
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "embedded", "reading TFRecords") from None
    number = 0
    with path.open("rb") as file:
        try:
            for number, record in enumerate(records(file), 1):
                place = f"{path}: record {number}"
                yield SetEntry(_logged(record, place, signature_name), place=place)
        except ServingError as error:
            raise ConfigurationError(f"{path}: record {number + 1} is cut off or damaged.") from error


def _logged(record: bytes, place: str, signature_name: str) -> Payload:
    """Return the predict request of a PredictionLog, with its tensors as columns of JSON."""
    from google.protobuf.message import DecodeError

    from pytest_tfserving.model_server.protos import message
    from pytest_tfserving.model_server.tensor_proto import to_array
    from pytest_tfserving.protocols.grpc_messages import listed

    try:
        log: Message = message("tensorflow.serving.PredictionLog").FromString(record)
    except DecodeError:
        raise ConfigurationError(f"{place} is not a PredictionLog.") from None
    if (kind := log.WhichOneof("log_type")) != "predict_log":
        raise ConfigurationError(f"{place} is a {kind or 'log of nothing'}; load sends those of predict_log.")
    request = log.predict_log.request
    name = request.model_spec.signature_name or signature_name or _DEFAULT_SIGNATURE
    try:
        inputs = {alias: listed(to_array(proto)) for alias, proto in request.inputs.items()}
    except ValueError as error:
        raise ConfigurationError(
            f"{place} has a tensor that cannot be read: {one_line(str(error))}."
        ) from None
    return Payload.from_inputs(inputs, name)
