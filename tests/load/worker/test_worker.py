"""What the load child measures, against a server that is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness import EXPERIMENTS
from pytest_tfserving.errors import LoadError
from pytest_tfserving.experiments.load_profile import PROFILES, LoadProfile
from pytest_tfserving.load.recorder import MOST_CAUSES, Recorder, RecordStream, Sink, read_records
from pytest_tfserving.protocols.answer import ExpectedAnswer, layout_of, wrong
from pytest_tfserving.protocols.payload import Payload, picture, picture_jpeg, picture_payload

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project
    from pytest_tfserving.text.json_value import JsonValue


def test_latencies_are_those_of_the_server(project: Project) -> None:
    """Nine requests in ten take 5 ms, one 300 ms: p50 and p95 are not what a mean would be."""
    project.behave(latencies_ms=[5] * 9 + [300])
    project.write(tests="def test_gate(load):\n    load(users=1, run_time_s=5)\n")

    _, (result,) = project.results()

    metrics = result["metrics"]
    assert 5 <= metrics["p50_ms"] < 150
    assert 300 <= metrics["p95_ms"] < 600
    assert metrics["requests"] > 10


def test_every_step_of_a_stepped_load_has_its_figures(project: Project) -> None:
    project.behave(latencies_ms=[20])
    project.write(
        EXPERIMENTS.replace("users: 2", "shape: 'steps 1:4:x2', early_stop: false").replace("2.5", "9"),
    )

    run, (result,) = project.results("--tfserving-html=out.html")

    run.assert_outcomes(passed=1)
    stages = result["stages"]
    assert [stage["level"] for stage in stages] == [1, 2, 4]
    assert [(stage["start_s"], round(stage["end_s"])) for stage in stages] == [(0, 3), (3, 6), (6, 9)]
    assert stages[0]["rps"] < stages[1]["rps"] < stages[2]["rps"]
    assert all(stage["p50_ms"] >= 20 and stage["errors"] == 0 for stage in stages)
    assert sum(stage["requests"] for stage in stages) <= result["total_requests"]
    run.stdout.fnmatch_lines(["  6 s to 9 s, load 4: rps *, p50 *, p95 *, p99 *, errors 0% *"])
    page = (project.pytester.path / "out.html").read_text(encoding="utf-8")
    assert "<td>6 to 9</td><td>4</td>" in page


def test_users_are_spread_over_replicas(project: Project) -> None:
    project.behave(pid_file=str(project.pytester.path / "pids"))
    project.write(
        "defaults: {model: ./models/half, payload: request.json, profile: smoke}\n"
        "experiments:\n- {shape: 1cpu-1gb-1n, inter_op: 1, slo: [rps>=1]}\n"
    )

    _, (result,) = project.results()

    assert len(result["endpoints"]) == 1
    assert result["endpoints"][0].startswith("http://127.0.0.1:")


def sink(path: Path) -> Sink:
    return path.open("ab", buffering=0)


def test_records_outlive_their_recorder(tmp_path: Path) -> None:
    announced: list[tuple[int, str]] = []
    recorder = Recorder(sink(tmp_path / "records"), lambda index, text: announced.append((index, text)))
    recorder.record(0.5, 1.25)
    recorder.record(0.75, 2.5, recorder.cause("HTTP 500"))
    recorder.record(1.0, 3.5, recorder.cause("HTTP 500"))

    assert recorder.flush() == [1.25]
    assert (recorder.requests, recorder.failures) == (3, 2)
    assert announced == [(1, "HTTP 500")]
    recorder.close()
    np.testing.assert_array_equal(
        read_records(tmp_path / "records"), [[0.5, 1.25, 0, 0], [0.75, 2.5, 1, 0], [1.0, 3.5, 1, 0]]
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
    path.write_bytes(np.array([0.5, 1.0, 0.0, 0.0, 0.75]).tobytes())

    assert len(read_records(path)) == 1


def test_causes_are_bounded(tmp_path: Path) -> None:
    recorder = Recorder(sink(tmp_path / "records"), lambda *_: None)

    indexes = {recorder.cause(f"error {number}") for number in range(10 * MOST_CAUSES)}

    assert len(indexes) == MOST_CAUSES + 1
    recorder.close()


@pytest.mark.parametrize(
    ("value", "layout"),
    [
        (1.5, []),
        ([1, 2], [2]),
        ([[1, 2, 3]], [1, 3]),
        ([{"a": 1, "b": [1, 2]}], [1, {"a": [], "b": [2]}]),
        ([], [0]),
    ],
)
def test_layouts(value: JsonValue, layout: object) -> None:
    assert layout == layout_of(value)


def test_ragged_answers_have_no_layout() -> None:
    with pytest.raises(LoadError, match="rows have different shapes"):
        layout_of([[1, 2], [3]])


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, b'{"predictions": [2.5, 3.0]}', ""),
        (200, b'{"predictions": [2.5001, 3.0]}', ""),
        (
            200,
            b'{"predictions": [2.6, 3.0]}',
            "the response's values are not those of the same model in process",
        ),
        (
            200,
            b'{"predictions": [NaN, 3.0]}',
            "the response's values are not those of the same model in process",
        ),
        (
            200,
            b'{"predictions": ["2.5", 3.0]}',
            "the response's values are not those of the same model in process",
        ),
        (200, b'{"predictions": [2.5]}', "the response's shape is [1], not [2]"),
        (200, b'{"predictions": [[2.5], 3.0]}', "the response's rows have different shapes"),
        (200, b'{"outputs": [2.5, 3.0]}', "the response has no 'predictions'"),
        (200, b"[1]", "the response has no 'predictions'"),
        (200, b"", "the response is not JSON"),
        (503, b'{"error": "queue\\nis full"}', "HTTP 503: queue is full"),
        (404, b"<html>", "HTTP 404"),
        (200, b'{"predictions": [1' + b"0" * 400 + b", 3.0]}", "the response cannot be read (OverflowError)"),
    ],
)
def test_wrong_answers_are_told_from_right_ones(status: int, body: bytes, cause: str) -> None:
    assert cause == wrong(status, body, ExpectedAnswer("predictions", [2], [2.5, 3.0]))


def test_no_number_is_right_where_the_model_says_so() -> None:
    expected = ExpectedAnswer("predictions", [2], [math.nan, math.inf])

    assert wrong(200, b'{"predictions": [NaN, Infinity]}', expected) == ""
    assert wrong(200, b'{"predictions": [1.0, Infinity]}', expected)
    assert wrong(200, b'{"predictions": [NaN, -Infinity]}', expected)


def test_the_studys_profile() -> None:
    study = PROFILES["study"]

    assert (
        study.users,
        study.spawn_rate,
        study.think_time_s,
        study.run_time_s,
        study.max_failure_ratio,
    ) == (150, 1, 1, 300, 0.2)
    assert LoadProfile("x", users=4, spawn_rate=4, run_time_s=1).ramp_s == 0


@pytest.mark.parametrize(
    ("kind", "signature", "least", "most"),
    [
        ("json", "serving_default", 1_000_000, 1_100_000),
        ("jpeg", "jpeg", 10_000, 40_000),
        ("raw", "raw", 200_000, 210_000),
    ],
)
def test_the_picture_as_a_request(kind: str, signature: str, least: int, most: int) -> None:
    payload = picture_payload(kind)

    assert signature == payload.signature_name
    assert least < len(payload.body) < most
    assert payload.rows == 1


def test_the_picture_is_always_the_same() -> None:
    assert picture().shape == (224, 224, 3)
    assert (picture() == picture()).all()
    assert picture_jpeg().startswith(b"\xff\xd8\xff")


def test_payloads_of_ones_own() -> None:
    assert (
        Payload.from_instances([[1.0]]).body == b'{"signature_name": "serving_default", "instances": [[1.0]]}'
    )
    assert (Payload.from_inputs({"x": [1]}).key, Payload.from_inputs({"x": [1]}).rows) == ("outputs", None)
    assert Payload.from_body(b'{"instances": [1, 2]}').rows == 2
