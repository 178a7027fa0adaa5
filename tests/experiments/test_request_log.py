"""Times in request logs of TensorFlow Serving."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from grpc_client import serving
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.trace_file import read_trace
from pytest_tfserving.model_server.tfrecord import framed

if TYPE_CHECKING:
    from pathlib import Path


def log_of(folder: Path, *times_s: int) -> Path:
    """A log with a request at each time."""
    path = folder / "log.tfrecord-20261129-0"
    records = []
    for at_s in times_s:
        entry = serving("PredictionLog")()
        entry.log_metadata.timestamp_secs = at_s
        entry.predict_log.request.model_spec.name = "half"
        records.append(framed(entry.SerializeToString()))
    path.write_bytes(b"".join(records))
    return path


def test_requests_of_a_second_are_spread_over_it(tmp_path: Path) -> None:
    found = read_trace(log_of(tmp_path, 1795914000, 1795914000, 1795914001, 1795914003))

    assert list(found.times_s) == pytest.approx([0, 0.5, 1.25, 3.25])
    assert found.trace.has_bodies


def test_a_log_without_times_is_a_payload_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_trace(log_of(tmp_path, 0, 0))

    assert str(error.value).endswith(
        ": record 1 has no time, as logs of older servers; send its requests at a rate: "
        "'payload: log.tfrecord-20261129-0' and a profile with a rate."
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-3], "record 2 is cut off or damaged."),
        (lambda content: content + framed(b"\xff\xff"), "record 3 is not a PredictionLog."),
    ],
)
def test_a_damaged_log_is_named_with_its_record(tmp_path: Path, damage: object, message: str) -> None:
    assert callable(damage)
    path = log_of(tmp_path, 1795914000, 1795914001)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(ConfigurationError) as error:
        read_trace(path)

    assert message in str(error.value)


def test_times_that_go_back(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"record 2: the time goes back by 1 s; a trace"):
        read_trace(log_of(tmp_path, 1795914001, 1795914000))
