"""What first answers tell of those to come: rows, shapes and kinds, never the shape of a signature."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import planted_results as planted
from pytest_tfserving.cli import main
from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.errors import LoadError
from pytest_tfserving.protocols import client
from pytest_tfserving.protocols.answer import room_for
from pytest_tfserving.protocols.client import FirstAnswers, first_answers
from pytest_tfserving.protocols.model_state import best_state
from pytest_tfserving.protocols.payload import Payload
from pytest_tfserving.protocols.payload_set import PayloadSet, SetEntry
from server_process import Server
from servers.odd_server import BODY, KINDS, GrpcPeer, OddServer, RestPeer, predict_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from harness import Project
    from pytest_tfserving.protocols.answer import ExpectedAnswer
    from pytest_tfserving.text.json_value import JsonValue

ROWS = '{"instances": [1.0, 2.0, 5.0]}'
COLUMNS = '{"inputs": [1.0, 2.0, 5.0]}'
TIMEOUT_S = 0.3
# What no one can tell from right: texts are the answers of some models, and so are rows of one number. The
# official library of gRPC takes the last of several statuses.
AS_GOOD_AS_RIGHT = {"texts", "too_deep_a_row", "two_answers", "two_statuses"}


def expected(server: OddServer, body: str = ROWS) -> ExpectedAnswer:
    """Return what the first answers of a server say of later ones."""
    return asked(server, PayloadSet.of(Payload.from_body(body.encode()))).expected[0]


def asked(server: OddServer, payloads: PayloadSet) -> FirstAnswers:
    """Return the first answers of a server."""
    endpoint = Endpoint("127.0.0.1", server.port, protocol=server.protocol)
    deployment = Deployment(
        replace(planted.STUDY[0], protocol=server.protocol),
        label="half",
        paths={"half": "/v1/models/half"},
        addresses={endpoint.protocol: (endpoint,)},
        via="here",
    )
    with tempfile.TemporaryDirectory() as folder:
        return first_answers(deployment, payloads, TIMEOUT_S, Path(folder))


def test_each_kind_has_a_first_request_however_long_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_OTHERS_S", 0)
    rows = Payload.from_body(ROWS.encode())
    payloads = PayloadSet(SetEntry(rows, kind) for kind in "abc" for _ in range(10))

    with OddServer("rest", lambda peer: peer.answer(BODY)) as server:
        assert set(asked(server, payloads).expected) == {0, 10, 20}


@pytest.mark.parametrize(
    ("body", "answer", "layout", "kinds"),
    [
        (ROWS, {"predictions": [2.5, 3.0, 4.5]}, [3], ["numbers"]),
        (ROWS, {"predictions": [[2.5], [3], [4.5]]}, [3, 1], ["numbers"]),
        (ROWS, {"predictions": [[], [], []]}, [3, 0], []),
        (ROWS, {"predictions": [float("nan"), float("inf"), 1]}, [3], ["numbers"]),
        (ROWS, {"predictions": ["a", {"b64": "/w=="}, "c"]}, [3], ["texts"]),
        (
            ROWS,
            {"predictions": [{"y": 1.0, "z": ["a", "b"]}] * 3},
            [3, {"y": [], "z": [2]}],
            ["numbers", "texts"],
        ),
        (COLUMNS, {"outputs": 2.5}, [], ["numbers"]),
        (COLUMNS, {"outputs": [True]}, [1], ["true or false"]),
        (COLUMNS, {"outputs": {"y": [1, 2], "z": 3}}, {"y": [2], "z": []}, ["numbers"]),
    ],
)
def test_first_answers_over_rest(body: str, answer: JsonValue, layout: JsonValue, kinds: list[str]) -> None:
    def give(peer: RestPeer) -> None:
        peer.answer(json.dumps(answer).encode())

    with OddServer("rest", give, after=0) as server:
        found = expected(server, body)

    assert (found.layout, found.kinds) == (layout, kinds)
    assert found.most_bytes == 1 << 20


@pytest.mark.parametrize(
    ("body", "values", "layout"),
    [
        (ROWS, [2.5, 3.0, 4.5], [3]),
        (ROWS, [[2.5], [3.0], [4.5]], [3, 1]),
        (COLUMNS, 2.5, []),
        (COLUMNS, np.zeros((2, 0)), [2, 0]),
    ],
)
def test_first_answers_over_grpc(body: str, values: ArrayLike, layout: JsonValue) -> None:
    def give(peer: GrpcPeer) -> None:
        peer.answer(predict_response(values).SerializeToString())

    with OddServer("grpc", give, after=0) as server:
        assert expected(server, body).layout == layout


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([[2.5, 3.0]], "2 rows came back for 3"),
        ([2.5], "no rows came back for 3"),
        ([{"y": 2.5}], "no rows came back for 3"),
        ([[[1], [1, 2], [1]]], "the response's rows have different shapes"),
        ([[1.0, None, 2.0]], "the response has null in it"),
        ([[1, 2, 3], [[1], [2], [3]]], r"the response's shape is \[3, 1\], not \[3\]"),
        ([[1, 2, 3], ["a", "b", "c"]], "the response has texts in it, where the first ones had none"),
    ],
)
def test_first_answers_that_do_not_agree(answers: list[Any], cause: str) -> None:
    def give(peer: RestPeer) -> None:
        peer.answer(json.dumps({"predictions": answers[min(server.predicted, len(answers)) - 1]}).encode())

    with OddServer("rest", give, after=0) as server, pytest.raises(LoadError, match=cause):
        expected(server)


def test_a_refused_first_request_has_the_whole_text_of_the_server() -> None:
    said = f"JSON Value: {'1.0, ' * 30}Type: Number is not of expected type: string"

    def refuse(peer: RestPeer) -> None:
        peer.answer(json.dumps({"error": said}).encode(), 400)

    with (
        OddServer("rest", refuse, after=0) as server,
        pytest.raises(LoadError, match=r"HTTP 400: JSON Value: .* expected type: string$"),
    ):
        expected(server)


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [(protocol, kind) for protocol in KINDS for kind in KINDS[protocol] if kind not in AS_GOOD_AS_RIGHT],
)
def test_no_odd_answer_is_a_first_one(protocol: str, kind: str) -> None:
    with (
        OddServer(protocol, KINDS[protocol][kind], after=0) as server,
        pytest.raises(LoadError, match=r"a first request to .* failed: ") as caught,
    ):
        expected(server)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_status_that_is_none_is_no_model() -> None:
    answers: list[Any] = [
        None,
        [],
        3,
        {},
        {"model_version_status": [3]},
        {"model_version_status": [{"state": 1}, []]},
    ]
    assert {best_state(answer) for answer in answers} == {("no model status", "")}
    assert best_state({"error": "Servable not found for request: Latest(m)"}) == (
        "no model status",
        "Servable not found for request: Latest(m)",
    )
    assert best_state({"model_version_status": [{"state": {"a": 1}, "status": {"error_message": 5}}]}) == (
        "{'a': 1}",
        "5",
    )


def test_later_answers_have_room_but_no_end() -> None:
    assert [room_for(size) for size in (0, 1 << 20, 1 << 30)] == [1 << 20, 1 << 24, 1 << 28]
    assert len(BODY) < room_for(len(BODY))


# --- TensorFlow Serving takes inputs of any shape, whatever the signature says ---

HALF = """
profiles:
  tiny: {users: 2, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.02, max_lag_ms: 2000, max_cpu_wait: 1}
defaults: {model: half_plus_two, payload: request.json, profile: tiny, protocol: PROTOCOL}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["max<60s"]}
"""


@pytest.fixture(scope="module")
def half(half_plus_two: Path) -> Iterator[Server]:
    with Server("half_plus_two", half_plus_two) as server:
        yield server


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_requests_of_a_set_are_prepared_once_for_all_runs(
    half: Server, tmp_path: Path, protocol: str
) -> None:
    port = half.grpc_port if protocol == "grpc" else half.port
    deployment = Deployment(
        replace(planted.STUDY[0], protocol=protocol),
        label="half",
        paths={"half_plus_two": "/v1/models/half_plus_two"},
        addresses={protocol: (Endpoint("127.0.0.1", port, protocol=protocol),)},
        via="here",
    )
    rows: list[list[object]] = [[[1.0], [2.0]], [3.0, 5.0]]
    several = PayloadSet(SetEntry(Payload.from_instances(each)) for each in rows)
    others = PayloadSet([*several, SetEntry(Payload.from_instances([[7.0]]))])

    first, again = (first_answers(deployment, several, 20, tmp_path) for _ in range(2))
    third = first_answers(deployment, others, 20, tmp_path)

    assert first.requests.path == again.requests.path
    assert first.requests.odd == again.requests.odd == [1]
    assert [expected.layout for expected in again.expected.values()] == [[2, 1], [2]]
    assert list(tmp_path.iterdir()) == [third.requests.path]


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_three_numbers_for_a_column_over_url(project: Project, half: Server, protocol: str) -> None:
    project.write(HALF.replace("PROTOCOL", protocol))
    url = f"grpc://127.0.0.1:{half.grpc_port}/half_plus_two" if protocol == "grpc" else half.model

    run, (result,) = project.results("--tfserving-target=url", f"--tfserving-url={url}", server=False)

    run.assert_outcomes(passed=1)
    assert (result["verdict"], result["errors"]) == ("PASS", {})


@pytest.mark.parametrize("baseline", ["with a baseline", "without"])
def test_three_numbers_for_a_column_on_a_server_of_ones_own(project: Project, baseline: str) -> None:
    project.write(HALF.replace("PROTOCOL", "rest"))
    own = [project.embedded_server()] if baseline == "without" else []

    run, (result,) = project.results(*own, server=False)

    run.assert_outcomes(passed=1)
    assert (result["verdict"], result["errors"]) == ("PASS", {})
    assert bool(result["baseline"]) == (not own)
    folder = project.pytester.path
    assert main(["report", str(folder / "out.json"), "--markdown", str(folder / "out.md")]) == 0
