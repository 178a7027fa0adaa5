"""Times in request logs of TensorFlow Serving, which are PredictionLogs in TFRecords."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, missing_extra
from pytest_tfserving.experiments.trace import TraceEntry, spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def logged_requests(path: Path) -> Iterator[TraceEntry]:
    """Yield the requests of a log; those of a whole second are spread evenly over the second.

    Raises:
        ConfigurationError: if the log is damaged, or has no times, as those of older servers.
    """
    return spread(_of_whole_seconds(path))


def _of_whole_seconds(path: Path) -> Iterator[TraceEntry]:
    try:
        from google.protobuf.message import DecodeError

        from pytest_tfserving.model_server.protos import message
        from pytest_tfserving.model_server.status import ServingError
        from pytest_tfserving.model_server.tfrecord import records
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "embedded", "reading TFRecords") from None
    number, prediction_log = 0, message("tensorflow.serving.PredictionLog")
    with path.open("rb") as file:
        try:
            for number, record in enumerate(records(file), 1):
                place = f"{path}: record {number}"
                at_s = prediction_log.FromString(record).log_metadata.timestamp_secs
                if not at_s:
                    raise ConfigurationError(
                        f"{place} has no time, as logs of older servers; send its requests at a rate: "
                        f"'payload: {path.name}' and a profile with a rate."
                    )
                yield TraceEntry(float(at_s), place, has_body=True)
        except ServingError:
            raise ConfigurationError(f"{path}: record {number + 1} is cut off or damaged.") from None
        except DecodeError:
            raise ConfigurationError(f"{path}: record {number} is not a PredictionLog.") from None
