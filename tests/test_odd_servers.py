"""Whatever a server sends: each request is recorded, a wrong answer with its cause, and no run passes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from _mutations import is_right_body, is_right_message, mutated_answer, mutated_body, mutated_message

from servers.odd_server import BODY, GRPC_KINDS, KINDS, REST_KINDS, GrpcPeer, OddServer, RestPeer
from servers.recorded_user import RecordedUser

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Project

USERS = 3
EXPERIMENTS = """
profiles:
  tiny: {users: 3, spawn_rate: 3, run_time_s: 8, think_time_s: 0.01, request_timeout_s: 0.5,
    max_lag_ms: 2000, max_cpu_wait: 1}
defaults: {model: ./models/half, payload: request.json, profile: tiny, protocol: PROTOCOL}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["rps>=1"]}
"""


def causes(server: OddServer, count: int) -> list[str]:
    """Return what was recorded of so many requests of one user."""
    user = RecordedUser(server)
    found = [user.send() for _ in range(count)]
    user.close()
    return found


CAUSES = {
    "http_500": "HTTP 500: �red� @octocat https://evil.invalid `x` |",
    "sheds_load": "HTTP 503: queue is full",
    "error_inside": "HTTP 200 with an error inside: out of memory",
    "not_json": "the response is not JSON",
    "not_utf8": "the response is not JSON",
    "nested": "the response is nested too deeply",
    "nulls": "the response has null in it, where the first ones had none",
    "texts": "the response has texts in it, where the first ones had none",
    "too_deep_a_row": "the response's shape is [3, 1], not [3]",
    "missing_row": "the response's shape is [2], not [3]",
    "huge_number": "the response is not JSON",
    "length_too_long": "connection closed after half a response",
    "length_too_short": "not an HTTP response: ",
    "two_lengths": "not an HTTP response: ",
    "bad_chunks": "not an HTTP response: ",
    "no_length_and_cut": "the response is not JSON",
    "other_protocol": "not an HTTP response: the server changes to another protocol",
    "only_announced": "the response is larger than 1048576 bytes",
    "endless_headers": "the response is larger than 1048576 bytes",
    "endless_body": "the response is larger than 1048576 bytes",
    "compressed_bomb": "the response is not JSON",
    "no_http": "not an HTTP response: ",
    "byte_by_byte": "no response in time",
    "nothing": "no response in time",
    "closes": "connection closed after no response",
    "resets": "connection ",
    "grpc_error": "INTERNAL: red @octocat �",
    "no_status": "not a gRPC response: no gRPC status",
    "odd_status": "not a gRPC response: its status is b'-1'",
    "two_statuses": "not a gRPC response: it has several statuses",
    "message_cut": "the response is not a PredictResponse",
    "message_too_long": "half a response",
    "two_messages": "more than one response to a request",
    "compressed": "the response is compressed, which was not asked for",
    "no_message": "the response is not a PredictResponse",
    "no_outputs": "the response has no outputs",
    "tensor_bomb": "the response has a tensor with more values than were sent",
    "missing_value": "the response's shape is [2], not [3]",
    "endless_message": "the response is larger than 1048576 bytes",
    "endless_trailers": "not an HTTP/2 response: headers without end",
    "frame_too_large": "not an HTTP/2 response: a frame of 16777215 bytes",
    "bad_headers": "not an HTTP/2 response: ",
    "stream_reset": "stream reset by the server, HTTP/2 error 2",
    "goes_away": "connection closed after no response",
}
ALL = [(protocol, kind) for protocol, kinds in KINDS.items() for kind in kinds]


@pytest.mark.parametrize(("protocol", "kind"), [each for each in ALL if each[1] != "two_answers"])
def test_each_wrong_answer_is_recorded_with_its_cause(protocol: str, kind: str) -> None:
    with OddServer(protocol, KINDS[protocol][kind], after=1, every=2) as server:
        found = causes(server, 4)

    assert [bool(cause) for cause in found] == [False, True, False, True]
    assert found[1].startswith(CAUSES[kind])
    assert server.predicted == 4


def test_an_answer_that_nothing_asked_for_is_never_taken_for_the_next_one() -> None:
    with OddServer("rest", REST_KINDS["two_answers"], after=1) as server:
        found = causes(server, 40)

    wrong = [cause for cause in found if cause]
    assert set(wrong) <= {
        "more than one response to a request",
        "the server sends data without a request",
    }
    assert len(wrong) >= len(found) // 2 - 1


def test_an_answer_is_announced_before_it_comes() -> None:
    def early_hints(peer: RestPeer) -> None:
        peer.send(b"HTTP/1.1 103 -\r\nLink: <x>\r\n\r\n")
        peer.right()

    with OddServer("rest", early_hints, after=0) as server:
        assert causes(server, 3) == ["", "", ""]


def test_an_answer_may_end_with_its_connection() -> None:
    def old(peer: RestPeer) -> None:
        peer.send(b"HTTP/1.0 200 OK\r\n\r\n", BODY)
        peer.close()

    with OddServer("rest", old, after=0) as server:
        assert causes(server, 3) == ["", "", ""]


@pytest.mark.parametrize("seed", range(4))
def test_no_mutated_answer_is_lost_or_taken_for_a_right_one(seed: int) -> None:
    """The whole of what goes over the wire is mutated: a wrong body never passes, and nothing hangs."""
    chance = random.Random(seed)
    bodies: list[bytes] = []

    def mutate(peer: RestPeer) -> None:
        if chance.randrange(2):
            bodies.append(mutated_body(chance, BODY))
            peer.answer(bodies[-1])
        else:
            bodies.append(b"")
            peer.send(mutated_answer(chance, BODY))
            peer.close()

    with OddServer("rest", mutate, after=0) as server:
        user = RecordedUser(server)
        for _ in range(60):
            count = len(bodies)
            cause = user.send()
            if not cause and bodies[count:] and bodies[-1]:
                assert is_right_body(bodies[-1])
            if cause and bodies[count:] and bodies[-1]:
                assert not is_right_body(bodies[-1]), cause
        user.close()


@pytest.mark.parametrize("seed", range(2))
def test_no_mutated_message_is_taken_for_a_right_one(seed: int) -> None:
    chance = random.Random(seed)
    sent: list[bytes] = []

    def mutate(peer: GrpcPeer) -> None:
        sent.append(mutated_message(chance))
        peer.answer(sent[-1])

    with OddServer("grpc", mutate, after=0) as server:
        user = RecordedUser(server)
        for _ in range(100):
            cause = user.send()
            assert is_right_message(sent[-1]) == (not cause), cause
        user.close()


# --- the whole way ---


def run_on(project: Project, server: OddServer, *more: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    project.write(EXPERIMENTS.replace("PROTOCOL", server.protocol))
    run, (result,) = project.results(
        "--tfserving-target=url", f"--tfserving-url={server.url}", *more, server=False
    )
    return run, result


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [
        ("rest", "nested"),
        ("rest", "two_answers"),
        ("rest", "endless_body"),
        ("rest", "byte_by_byte"),
        ("rest", "other_protocol"),
        ("grpc", "odd_status"),
        ("grpc", "tensor_bomb"),
        ("grpc", "frame_too_large"),
    ],
)
def test_a_third_of_the_answers_is_wrong(project: Project, protocol: str, kind: str) -> None:
    with OddServer(protocol, KINDS[protocol][kind], after=20, every=3) as server:
        run, result = run_on(project, server)

    run.assert_outcomes(failed=1)
    run.stdout.no_fnmatch_line("*Traceback*")
    assert result["verdict"] == "FAIL"
    assert result["total_errors"] > 0
    # Three first requests are none of the load's, and a run that fails does not wait for the last ones.
    assert result["total_requests"] >= server.predicted - 3 - USERS


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_first_requests_are_bounded_in_time(project: Project, protocol: str) -> None:
    """Each byte comes in time, and the answer never."""
    misbehave: Callable[[Any], None] = KINDS[protocol].get("byte_by_byte", GRPC_KINDS["nothing"])
    with OddServer(protocol, misbehave, after=0) as server:
        run, result = run_on(project, server)

    run.stdout.fnmatch_lines(["*FAIL: a first request to * failed: no response within 0.5 s*"])
    assert result["verdict"] == "FAIL"
