"""Records of requests, as they are written and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.load.recorder import MOST_CAUSES, Recorder, RecordStream, Sink, read_records

if TYPE_CHECKING:
    from pathlib import Path


def sink(path: Path) -> Sink:
    return path.open("ab", buffering=0)


def test_records_outlive_their_recorder(tmp_path: Path) -> None:
    announced: list[tuple[int, str]] = []
    recorder = Recorder(sink(tmp_path / "records"), lambda index, text: announced.append((index, text)))
    recorder.record(0.5, 1.25)
    recorder.record(0.75, 2.5, recorder.cause("HTTP 500"))
    recorder.record(1.0, 3.5, recorder.cause("HTTP 500"), body=7)

    assert recorder.flush() == [1.25]
    assert (recorder.requests, recorder.failures) == (3, 2)
    assert announced == [(1, "HTTP 500")]
    recorder.close()
    np.testing.assert_array_equal(
        read_records(tmp_path / "records"),
        [[0.5, 1.25, 0, 0, 0], [0.75, 2.5, 1, 0, 0], [1.0, 3.5, 1, 0, 7]],
    )


def test_records_are_read_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "records"
    stream = RecordStream([path])
    assert len(stream.new()) == 0

    recorder = Recorder(sink(path), lambda *_: None)
    for number in range(3):
        recorder.record(float(number), 1.0)
        recorder.flush()
        assert stream.new()[:, 0].tolist() == [number]
    recorder.close()
    assert len(stream.new()) == 0


def test_half_a_record_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(np.array([0.5, 1.0, 0.0, 0.0, 0.0, 0.75]).tobytes())

    assert len(read_records(path)) == 1


def test_causes_are_bounded(tmp_path: Path) -> None:
    recorder = Recorder(sink(tmp_path / "records"), lambda *_: None)

    indexes = {recorder.cause(f"error {number}") for number in range(10 * MOST_CAUSES)}

    assert len(indexes) == MOST_CAUSES + 1
    recorder.close()
