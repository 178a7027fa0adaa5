"""What load processes measure, against a server that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import EXPERIMENTS

if TYPE_CHECKING:
    from harness import Project


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
