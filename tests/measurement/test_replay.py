"""Replay of a trace by real load: each request at its own time, in the order of the trace."""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING

import numpy as np
import pytest

from grpc_client import serving
from harness import until
from kept_records import keep_records
from pytest_tfserving.experiments.arrivals import ArrivalProcess
from pytest_tfserving.experiments.load_shape import Stage
from pytest_tfserving.model_server.tfrecord import records
from server_process import Server

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project

REPLAY = """
defaults: {model: ./models/half, payload: request.json, profile: yesterday}
profiles:
  yesterday: {replay: traffic.jsonl, speed: 10, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["p50<5s"]}
"""
JUST_LOAD = "def test_load(load):\n    load()\n"
# Forty seconds of calm times with three requests a second, and of bursts with thirty.
STATES = ArrivalProcess("mmpp", seed=4, burst_factor=10, burst_s=5, calm_s=8)
TIMES_S = array("d", (round(at_s, 6) for at_s in STATES.due_times((Stage(0, 40, 13, 13),))))


def write_trace(project: Project, times_s: array[float] = TIMES_S) -> None:
    lines = (json.dumps({"time": 1795914000 + at_s}) for at_s in times_s)
    (project.pytester.path / "traffic.jsonl").write_text("\n".join(lines), encoding="utf-8")
    project.write(REPLAY, JUST_LOAD)


@pytest.mark.parametrize("processes", [1, 2])
def test_two_states_at_ten_times_their_speed(project: Project, processes: int) -> None:
    write_trace(project)
    kept = keep_records(project.monkeypatch)

    run, (result,) = project.results(f"--tfserving-load-processes={processes}")

    run.assert_outcomes(passed=1)
    own_s = (np.array(TIMES_S) - TIMES_S[0]) / 10
    due_s = [each[:, 0] - each[:, 3] / 1e3 for each in kept]
    together_s = np.sort(np.concatenate(due_s))
    np.testing.assert_allclose(together_s, own_s, atol=1e-5)
    assert (
        np.bincount((together_s + 1e-5).astype(int)).tolist()
        == np.bincount((own_s + 1e-5).astype(int)).tolist()
    )
    assert np.ptp(np.bincount(own_s.astype(int))) > 100
    for number, each in enumerate(kept):
        in_order = np.argsort(due_s[number], kind="stable")
        np.testing.assert_allclose(due_s[number][in_order], own_s[number::processes], atol=1e-5)
        assert np.all(np.diff(each[in_order, 0]) >= 0)
    start_s, end_s = result["window"].values()
    in_window = np.count_nonzero((own_s >= start_s) & (own_s < end_s))
    assert result["arrivals"]["due_rps"] * (end_s - start_s) == pytest.approx(in_window, abs=1)
    assert 0 <= result["arrivals"]["delay_p50_ms"] <= result["arrivals"]["delay_p99_ms"]
    assert result["profile"]["replay"]["requests"] == len(TIMES_S)


def test_a_trace_that_changes_after_it_was_read(project: Project) -> None:
    write_trace(project)
    (project.pytester.path / "conftest.py").write_text(
        "import pathlib\ndef pytest_collection_finish():\n"
        "    pathlib.Path('traffic.jsonl').write_text('{\"time\": 1}\\n{\"time\": 2}\\n')\n",
        encoding="utf-8",
    )

    run = project.run()

    run.assert_outcomes(errors=0, failed=1)
    run.stdout.fnmatch_lines(["*the trace *traffic.jsonl has changed since the experiments were read.*"])


def test_a_mistake_in_a_trace_ends_the_collection(project: Project) -> None:
    write_trace(project)
    path = project.pytester.path / "traffic.jsonl"
    path.write_text('{"time": 1}\n{"time": "soon"}\n', encoding="utf-8")

    run = project.run()

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*experiments.yaml:4: *traffic.jsonl:2: a request of a trace needs a 'time' *"])


def bodies_in_order(kept: list[np.ndarray]) -> list[int]:
    """The body of each request, in the order in which requests were due."""
    (only,) = kept
    return [int(body) for body in only[np.argsort(only[:, 0] - only[:, 3] / 1e3, kind="stable"), 4]]


def test_bodies_of_the_trace_are_sent_in_its_order(project: Project) -> None:
    """The experiment names no payload."""
    write_trace(project)
    lines = [
        {"time": at_s, "instances": [number % 7] * (1 + number % 3)} for number, at_s in enumerate(TIMES_S)
    ]
    text = "\n".join(map(json.dumps, lines))
    (project.pytester.path / "traffic.jsonl").write_text(text, encoding="utf-8")
    faster = REPLAY.replace("speed: 10", "speed: 20")
    project.write(faster.replace("payload: request.json, ", ""), JUST_LOAD)
    kept = keep_records(project.monkeypatch)

    _, (result,) = project.results()

    assert bodies_in_order(kept) == list(range(len(TIMES_S)))
    assert result["errors"] == {}


def test_kinds_of_the_trace_are_taken_from_the_payload_set(project: Project) -> None:
    kinds = ["large" if number % 4 == 0 else "small" for number in range(100)]
    write_trace(project)
    lines = [{"time": number / 5, "kind": kind} for number, kind in enumerate(kinds)]
    (project.pytester.path / "traffic.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    own = ["small", "large", "small"]
    bodies = [{"kind": kind, "instances": [number, 1.0]} for number, kind in enumerate(own)]
    (project.pytester.path / "set.jsonl").write_text("\n".join(map(json.dumps, bodies)), encoding="utf-8")
    project.write(REPLAY.replace("request.json", "set.jsonl"), JUST_LOAD)
    kept = keep_records(project.monkeypatch)

    _, (result,) = project.results()

    assert (result["errors"], result["aborted"]) == ({}, "")
    sent = bodies_in_order(kept)
    assert [own[body] for body in sent] == kinds
    assert {*sent} == {0, 1, 2}


def test_a_kind_that_the_payload_set_does_not_have(project: Project) -> None:
    write_trace(project)
    text = '{"time": 1, "kind": "small"}\n{"time": 2, "kind": "large"}\n'
    (project.pytester.path / "traffic.jsonl").write_text(text, encoding="utf-8")
    (project.pytester.path / "set.jsonl").write_text(
        '{"kind": "small", "instances": [1.0]}\n', encoding="utf-8"
    )
    project.write(REPLAY.replace("request.json", "set.jsonl"), JUST_LOAD)

    run = project.run()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*traffic.jsonl:2: the payload set has no kind 'large'; *valid: small*"])


def logged_answers(folder: Path) -> list[tuple[bytes, bytes]]:
    """The tensors of each request in the logs of a server, and of its answer."""
    found = []
    for path in sorted(folder.glob("log.tfrecord*")):
        with path.open("rb") as file:
            logs = [serving("PredictionLog").FromString(record).predict_log for record in records(file)]
        found += [
            (log.request.inputs["x"].SerializeToString(), log.response.outputs["y"].SerializeToString())
            for log in logs
        ]
    return found


def test_a_request_log_of_the_embedded_server_gets_the_same_answers(
    project: Project, half_plus_two: Path, tmp_path: Path
) -> None:
    flags = ["--enable_request_logging", f"--request_log_prefix={tmp_path / 'log.tfrecord'}"]
    with Server("half", half_plus_two, *flags) as server:
        for number in range(40):
            body = {"instances": [float(number)] * (1 + number % 3)}
            assert server.post(body, ":predict").status_code == 200
        until(lambda: len(logged_answers(tmp_path)) == 40, "the log of all requests")
        before = logged_answers(tmp_path)
        (path,) = tmp_path.glob("log.tfrecord*")
        (project.pytester.path / path.name).write_bytes(path.read_bytes())
        replay = REPLAY.replace("traffic.jsonl", path.name).replace("payload: request.json, ", "")
        project.write(replay, JUST_LOAD)

        options = "--tfserving-target=url", f"--tfserving-url={server.model}"
        _, (result,) = project.results(*options, server=False)

        # The first request of each body, and that of the replay.
        until(lambda: len(logged_answers(tmp_path)) >= 120, "the log of the replay")
        after = logged_answers(tmp_path)[40:]
    assert (result["total_requests"], result["errors"], result["aborted"]) == (40, {}, "")
    assert len({*before}) == 40
    assert {*before} == {*after}
    assert min(after.count(each) for each in before) >= 2
