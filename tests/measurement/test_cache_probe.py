"""A server that answers from a cache is found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.protocols.payload import Payload

if TYPE_CHECKING:
    from harness import Project

CACHE = "the server answers a repeated request from a cache, in "


def test_a_server_that_answers_from_a_cache_is_told(project: Project) -> None:
    project.behave(cache=True, latencies_ms=[40])

    run, (result,) = project.results("--tfserving-markdown=out.md")

    run.assert_outcomes(passed=1)
    (warning,) = result["warnings"]
    assert warning.startswith(CACHE)
    run.stdout.fnmatch_lines([f"1cpu-1gb-1n-interop1: {CACHE}*"])
    assert CACHE in (project.pytester.path / "out.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("latencies_ms", [[1], [20], [1, 40], [5, 5, 5, 5, 60]], ids=str)
def test_a_server_without_a_cache_is_not(project: Project, latencies_ms: list[float]) -> None:
    project.behave(latencies_ms=latencies_ms)

    _, (result,) = project.results()

    assert result["warnings"] == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [1, 2, 5]}',
        b'{"instances": ["a", "b"]}',
        b'{"inputs": {"x": [[3], [4]]}}',
        b"[" * 20_000,
    ],
    ids=["whole numbers", "texts", "inputs", "no payload"],
)
def test_payloads_that_offer_no_others_are_sent_alone(body: bytes) -> None:
    from pytest_tfserving.measurement.cache_probe import _others

    assert list(_others(Payload(body))) == []


def test_others_differ_in_one_number_alone() -> None:
    from pytest_tfserving.measurement.cache_probe import _others

    payload = Payload.from_inputs({"ids": [1, 2], "x": [[0.5, 1.5]]})
    others = list(_others(payload))

    assert len({each.body for each in others}) == len(others) == 8
    assert all(b'"ids": [1, 2]' in each.body and b"1.5" in each.body for each in others)
    assert all(each.key == payload.key for each in others)
