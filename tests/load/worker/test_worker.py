"""What load processes measure, against a server that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import EXPERIMENTS

if TYPE_CHECKING:
    from harness import Project


def test_latencies_are_those_of_the_server(project: Project) -> None:
    """Nine requests in ten take 5 ms, one 300 ms: p50 and p95 are not what a mean would be."""
    project.behave(latencies_ms=[5] * 9 + [300])
    project.write(tests="def test_gate(load):\n    load(users=1, run_time_s=2)\n")

    _, (result,) = project.results()

    metrics = result["metrics"]
    assert 5 <= metrics["p50_ms"] < 150
    assert 300 <= metrics["p95_ms"] < 600
    assert metrics["requests"] > 10


def test_every_step_of_a_stepped_load_has_its_figures(project: Project) -> None:
    project.behave(latencies_ms=[50])
    project.write(
        EXPERIMENTS.replace("users: 2", "shape: 'steps 1:16:x4', early_stop: false").replace(
            "run_time_s: 1.2", "run_time_s: 3"
        ),
    )

    run, (result,) = project.results("--tfserving-html=out.html")

    run.assert_outcomes(passed=1)
    stages = result["stages"]
    assert [stage["level"] for stage in stages] == [1, 4, 16]
    assert [(stage["start_s"], round(stage["end_s"])) for stage in stages] == [(0, 1), (1, 2), (2, 3)]
    assert stages[0]["rps"] < stages[1]["rps"] < stages[2]["rps"]
    assert all(stage["p50_ms"] >= 50 and stage["errors"] == 0 for stage in stages)
    assert sum(stage["requests"] for stage in stages) <= result["total_requests"]
    run.stdout.fnmatch_lines(["  2 s to 3 s, load 16: rps *, p50 *, p95 *, p99 *, errors 0% *"])
    page = (project.pytester.path / "out.html").read_text(encoding="utf-8")
    assert "<td>2 to 3</td><td>16</td>" in page
