"""``--tfserving-update-slos``: measured limits in the experiments file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results
from harness import EXPERIMENTS
from pytest_tfserving.system.machine import machine_class

if TYPE_CHECKING:
    from harness import Project

FILE = """# Our experiments.
defaults: {model: ./models/half, payload: request.json, profile: &tiny tiny}
profiles:
  tiny:   {users: 2, spawn_rate: 20, run_time_s: 2, think_time_s: 0.01, request_timeout_s: 5}
experiments:
  - shape: 1cpu-1gb-1n   # small
    inter_op: 1
    slo: ["rps>=1", 'p95<9s', "errors<1%"]   # guessed

  # The other one.
  - profile: *tiny
    shape: 1cpu-1gb-1n
    inter_op: 2
    slo: {url: [rps>=3]}
"""
ONE, OTHER = "1cpu-1gb-1n-interop1", "1cpu-1gb-1n-interop2"
RESULT: dict[str, object] = {"rps": 50.0, "p50_ms": 300.0}


def text_of(project: Project) -> str:
    return (project.pytester.path / "experiments.yaml").read_text(encoding="utf-8")


def update(project: Project, *arguments: str, **figures: object) -> pytest.RunResult:
    planted_results.instead_of_load(project, lambda _: {**RESULT, **figures})
    return project.run("--tfserving-update-slos=20%", *arguments)


def test_measured_limits_are_written_for_the_target_and_the_machine(project: Project) -> None:
    project.write(FILE)

    run = update(project)

    machine = machine_class()
    after = FILE.replace(
        """    slo: ["rps>=1", 'p95<9s', "errors<1%"]   # guessed
""",
        f"""    slo:
      local:
        "{machine}": ["rps>=40.7", "p95<0.505s", "errors<1%"]
      "*": ["rps>=1", 'p95<9s', "errors<1%"]   # guessed
""",
    ).replace(
        "slo: {url: [rps>=3]}",
        f'slo: {{local: {{"{machine}": ["rps>=40.7", "p95<=505ms"]}}, url: [rps>=3]}}',
    )
    assert text_of(project) == after
    assert run.ret == pytest.ExitCode.OK
    run.stdout.fnmatch_lines([f'+*"{machine}": [[]"rps>=40.7", "p95<0.505s", "errors<1%"[]]'])
    project.run("--collect-only", "-q").assert_outcomes()


def test_a_second_run_changes_only_the_limits(project: Project) -> None:
    project.write(FILE)
    update(project)
    once = text_of(project)

    update(project, p50_ms=150.0)

    assert text_of(project) == once.replace("p95<0.505s", "p95<0.253s").replace("p95<=505ms", "p95<=253ms")


def test_the_limits_are_judged_from_then_on(project: Project) -> None:
    update(project)

    planted_results.instead_of_load(project, lambda _: {**RESULT, "rps": 10.0})
    project.run().assert_outcomes(failed=1)


def test_a_failed_run_sets_limits_too(project: Project) -> None:
    project.write(EXPERIMENTS.replace("rps>=1", "rps>=1000"))

    run = update(project)

    run.assert_outcomes(failed=1)
    assert f'"{machine_class()}": ["rps>=40.7"]' in text_of(project)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"invalid": "the load generator was the limit"}, "INVALID: the load generator was the limit"),
        ({"incomplete": "the run was interrupted"}, "INCONCLUSIVE: the run was interrupted"),
        ({"aborted": "the server died"}, "FAIL: the server died"),
    ],
)
def test_a_run_that_proves_nothing_sets_no_limits(
    project: Project, spoilt: dict[str, object], said: str
) -> None:
    run = update(project, **spoilt)

    assert text_of(project) == EXPERIMENTS
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines(
        [f"tfserving: --tfserving-update-slos: {ONE}: a run that was {said} sets no limits"]
    )


def test_slos_that_others_share_are_not_set_by_some(project: Project) -> None:
    project.write(EXPERIMENTS.replace("inter_op: 1", "inter_op: [1, 2]"))
    before = text_of(project)

    run = update(project, "-k", ONE)

    assert text_of(project) == before
    said = f"the SLOs of {ONE} are also those of {OTHER}, which this session did not measure; *"
    run.stdout.fnmatch_lines([f"tfserving: --tfserving-update-slos: {said}"])


def test_shared_slos_get_limits_that_all_meet(project: Project) -> None:
    project.write(EXPERIMENTS.replace("inter_op: 1", "inter_op: [1, 2]"))
    rates = iter((50.0, 100.0))
    planted_results.instead_of_load(project, lambda _: {"rps": next(rates)})

    project.run("--tfserving-update-slos=0%").assert_outcomes(passed=2)

    assert '"rps>=48.9"' in text_of(project) or '"rps>=48.8"' in text_of(project)


def test_without_a_value_the_margin_is_20_percent(project: Project) -> None:
    planted_results.instead_of_load(project, lambda _: RESULT)

    project.run("--tfserving-update-slos")

    assert '"rps>=40.7"' in text_of(project)


def test_workers_update_once(project: Project) -> None:
    planted_results.in_every_process(project.pytester, project.monkeypatch)

    run = project.run("-n", "1", "--tfserving-update-slos")

    assert run.ret == pytest.ExitCode.OK
    assert '"*": ["rps>=1"]' in text_of(project)


@pytest.mark.parametrize("value", ["20", "+1%", "test_perf.py"])
def test_a_margin_that_is_none_is_refused(project: Project, value: str) -> None:
    run = project.run("--tfserving-update-slos", value)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*{value}*is not a margin; write it as *=20%, or leave it out at the end."])


def test_an_endpoint_has_no_limits_to_write(project: Project) -> None:
    url = "--tfserving-url=http://127.0.0.1:1/v1/models/half"

    run = project.run("--tfserving-update-slos", "--tfserving-target=url", url, server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*--tfserving-update-slos goes with --tfserving-target=local or *"])
