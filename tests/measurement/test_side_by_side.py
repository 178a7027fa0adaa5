"""Load that alternates between a candidate and a baseline server."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from harness import EXPERIMENTS, FAKE_SERVER, LONG_ENOUGH

if TYPE_CHECKING:
    from harness import Project

TESTS = """
import pytest

@pytest.mark.slo("p95<=+100%", "rps>=-50%", "errors<=+50%")
def test_gate(load):
    load().check()
"""


def server(project: Project, name: str, **how: object) -> str:
    """Return the path of a stand-in server that behaves so."""
    program = project.pytester.path / name
    text = json.dumps(how)
    program.write_text(
        f"#!/bin/sh\nexport FAKE_SERVER='{text}'\nexec {sys.executable} {FAKE_SERVER} \"$@\"\n"
    )
    program.chmod(0o755)
    return str(program)


def compared(project: Project, candidate: dict[str, Any], baseline: dict[str, Any]) -> tuple[Any, Any]:
    """Run a test on two servers, and return the run with its result."""
    project.decide_soon()
    project.write(EXPERIMENTS.replace("users: 2, spawn_rate: 2", "users: 6, spawn_rate: 6"), TESTS)
    ours, theirs = server(project, "ours", **candidate), server(project, "theirs", **baseline)
    run, results = project.results(
        f"--tfserving-server={ours}", f"--tfserving-against=server:{theirs}", *LONG_ENOUGH, server=False
    )
    return run, results[0]


def test_a_slower_server_fails_with_the_change_and_its_interval(project: Project) -> None:
    run, result = compared(project, {"latencies_ms": [20]}, {"latencies_ms": [2]})

    run.assert_outcomes(failed=1)
    run.stdout.re_match_lines(
        [r".*FAIL +p95<=\+100%: slower: p95 \+\d+ % \[[-+]\d+, \+\d+\]; hopeless after"]
    )
    # All three changes share alpha.
    assert result["decided"]["p95<=+100%"]["alpha"] == 0.01 / 3
    comparison = result["comparison"]
    assert comparison["against"].startswith("server:")
    assert 2 < comparison["changes"]["p95_ms"]["value"] < 20
    assert comparison["metrics"]["p95_ms"] < result["metrics"]["p95_ms"] / 2
    # Both were loaded for the same time.
    assert 0.5 < comparison["result"]["run_s"] / result["run_s"] < 2


def test_a_server_with_other_answers_fails_and_shows_both(project: Project) -> None:
    run, result = compared(project, {"mode": "other_values", "after": 50, "every": 5}, {})

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*FAIL: the candidate gave another response, * s into the load: *"])
    assert "the response's values are not those of the baseline server server:" in result["aborted"]
    assert result["aborted"].endswith(", as [5.0, 6.0, 9.0] for [2.5, 3.0, 4.5]")


def test_both_servers_get_the_same_requests_of_a_set(project: Project) -> None:
    lines = ['{"instances": [1.0], "kind": "small"}', '{"instances": [1.0, 2.0, 5.0], "kind": "large"}']
    (project.pytester.path / "requests.jsonl").write_text("\n".join(lines), encoding="utf-8")
    project.write(EXPERIMENTS.replace("request.json", "requests.jsonl"), "def test(load):\n    load()\n")
    ours, theirs = server(project, "ours"), server(project, "theirs", slow=[3, 30])

    _, (result,) = project.results(
        f"--tfserving-server={ours}", f"--tfserving-against=server:{theirs}", server=False
    )

    kinds, others = result["kinds"], result["comparison"]["result"]["kinds"]
    assert result["errors"] == {}
    assert others["large"]["metrics"]["p50_ms"] > 30 > kinds["large"]["metrics"]["p50_ms"]
    assert others["small"]["metrics"]["p50_ms"] < 30


def test_another_answer_to_one_request_of_a_set_is_found(project: Project) -> None:
    lines = ['{"instances": [1.0], "weight": 9}', '{"instances": [1.0, 2.0, 5.0]}']
    (project.pytester.path / "requests.jsonl").write_text("\n".join(lines), encoding="utf-8")
    project.write(EXPERIMENTS.replace("request.json", "requests.jsonl"), TESTS)
    ours = server(project, "ours", mode="other_values", rows=3, after=8)

    run, (result,) = project.results(
        f"--tfserving-server={ours}",
        f"--tfserving-against=server:{server(project, 'theirs')}",
        *LONG_ENOUGH,
        server=False,
    )

    run.assert_outcomes(failed=1)
    assert "the candidate gave another response" in result["aborted"]
