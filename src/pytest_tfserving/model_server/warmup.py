"""Warm-up: a model's own requests run before it is served, so that the first clients do not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.status import Code, ServingError, invalid
from pytest_tfserving.model_server.tfrecord import records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from google.protobuf.message import Message

_FILE = "assets.extra/tf_serving_warmup_requests"
_MOST_RECORDS = 1000
_UNSUPPORTED = {None: 0, "session_run_log": 5, "predict_streamed_log": 7}


def warm_up(folder: Path, run: Callable[[str, Message], None], iterations: int = 1) -> int:
    """Pass each request of a version's warm-up file to ``run``, with its kind; return the number of requests.

    Raises:
        ServingError: when the file is not a warm-up file or has too many records, or when a request fails.
    """
    path = folder / _FILE
    if not path.exists():
        return 0
    count = 0
    with path.open("rb") as file:
        try:
            for record in records(file):
                kind, request = _request(record, path)
                for _ in range(iterations):
                    run(kind, request)
                count += 1
                if count > _MOST_RECORDS:
                    raise invalid(f"Number of warmup records exceeds the maximum ({_MOST_RECORDS}) at {path}")
        except ServingError as error:
            if error.code is not Code.DATA_LOSS:
                raise
            advice = "Please verify your warmup data is in TFRecord format."
            raise ServingError(Code.DATA_LOSS, f"{error.message}. {advice}") from None
    log("info", f"warmed up with {count} records of {path}")
    return count


def _request(record: bytes, path: Path) -> tuple[str, Message]:
    try:
        entry = message("tensorflow.serving.PredictionLog").FromString(record)
    except DecodeError:
        shown = record[:64].decode(errors="replace")
        raise invalid(f"Failed to parse warmup record: {shown} from {path}") from None
    kind = entry.WhichOneof("log_type")
    if kind in _UNSUPPORTED:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {_UNSUPPORTED[kind]}")
    return kind, getattr(entry, kind).request
