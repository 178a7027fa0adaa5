"""``--tfserving-against``: refusals, and deployments that fail; `test_side_by_side` has the load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project

TWO_SHAPES = """
defaults: {model: ./models/half, payload: request.json, profile: smoke}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: [1, 2], slo: ["rps>=1"]}
  - {shape: 1cpu-2gb-1n, inter_op: 1, slo: ["rps>=1"]}
"""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--tfserving-against=half"], "'half' names no baseline server; write it as one of server:..., "),
        (["--tfserving-against=server:"], "'server:' names no baseline server; write it as one of "),
        (
            ["--tfserving-against=image:a", "--tfserving-target=local"],
            "--tfserving-against: image:a does not go with target 'local'; valid: server:..., model:..., "
            "experiment:....",
        ),
        (
            ["--tfserving-against=model:none"],
            "--tfserving-against: there is no folder none.",
        ),
        (
            ["--tfserving-against=server:a", "--tfserving-against=server:b"],
            "--tfserving-against: there is one baseline server at most, not server:a and server:b.",
        ),
        (
            [
                "--tfserving-target=kubernetes",
                "--tfserving-against=image:a",
                "--tfserving-load-in-cluster",
            ],
            "--tfserving-against: load from Pods cannot alternate between two servers; ",
        ),
        (
            [
                "--tfserving-target=url",
                "--tfserving-url=http://a:1/v1/models/m",
                "--tfserving-against=url:a",
            ],
            "--tfserving-against: 'a' is not the address of a model; ",
        ),
    ],
)
def test_what_names_no_baseline_server_is_refused(
    project: Project, arguments: list[str], reason: str
) -> None:
    run = project.run(*arguments, server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*{reason.replace('[', '[[]')}*"])


def test_a_change_without_a_baseline_server_is_not_judged(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(
        tests='import pytest\n\n@pytest.mark.slo("p95<=+5%")\ndef test_gate(load):\n    load().check("p95")\n'
    )

    run = project.run()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(
        [
            "*NOT JUDGED: p95<=+5%: it compares with a baseline server, and none was named: "
            "add --tfserving-against*"
        ]
    )


def test_a_baseline_server_that_does_not_start_is_not_the_candidates_fault(project: Project) -> None:
    run = project.run("--tfserving-against=server:/no/such/server")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        [
            "*the baseline server server:/no/such/server did not start, and the candidate is not to blame: "
            "replica 0 exited with code 127 (cannot start /no/such/server: No such file or directory)*"
        ]
    )


def test_an_unknown_experiment_is_refused_with_the_nearest_name(project: Project) -> None:
    project.write(experiments=TWO_SHAPES)

    run = project.run("-k", "interop1", "-k", "1gb", "--tfserving-against=experiment:1cpu-1gb-1n-interop3")

    run.stdout.fnmatch_lines(["*'1cpu-1gb-1n-interop3' is not an experiment; did you mean*"])


def test_an_experiment_of_another_shape_is_refused(project: Project) -> None:
    project.write(experiments=TWO_SHAPES)

    run = project.run("-k", "1gb", "--tfserving-against=experiment:1cpu-2gb-1n-interop1")

    run.stdout.fnmatch_lines(
        ["*and '1cpu-2gb-1n-interop1' has another shape; choose one of shape 1cpu-1gb-1n, or select tests *"]
    )


def test_the_baseline_server_is_shown_at_the_head(project: Project) -> None:
    planted.instead_of_load(project)

    run = project.run("--tfserving-against=server:./before")

    run.stdout.fnmatch_lines(
        ["tfserving: 1 experiment, target local: *, in turn with the baseline server server:./before"]
    )
