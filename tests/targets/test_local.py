"""The target local: cores, fit, flags, replicas."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.experiments.experiment import Shape
from pytest_tfserving.targets.common.placement import place
from pytest_tfserving.targets.common.served_model import model_name

if TYPE_CHECKING:
    from harness import Project

GB = 2**30
BIG = """
defaults: {model: ./models/half, payload: request.json, profile: study}
experiments:
  - {shape: 512vCPU-16GB_2, inter_op: 4, slo: ["rps>=1"]}
"""


@pytest.mark.parametrize(
    ("shape", "cores", "replicas", "generator", "unfit"),
    [
        ("1cpu-2gb-1n", 2, [[1]], [0], ""),
        ("1cpu-2gb-2n", 4, [[2], [3]], [0, 1], ""),
        ("2cpu-4gb-1n", 4, [[2, 3]], [0, 1], ""),
        ("2cpu-4gb-1n", 2, [[1]], [0], "needs 2 vCPUs and a core for the load generator, this machine has 2"),
        ("8cpu-16gb-2n", 2, [[1]], [0], "needs 16 vCPUs, this machine has 2"),
        ("1cpu-2gb-1n", 1, [[0]], [0], "needs 1 vCPUs and a core for the load generator, this machine has 1"),
        ("1cpu-64gb-1n", 4, [[3]], [0, 1, 2], "needs 64 GB of RAM, this machine has 24 GB"),
    ],
)
def test_cores_are_shared_out(
    shape: str, cores: int, replicas: list[list[int]], generator: list[int], unfit: str
) -> None:
    placement = place(Shape.parse(shape), range(cores), 24 * GB)

    assert (replicas, generator) == ([list(each) for each in placement.replicas], sorted(placement.generator))
    assert unfit == placement.unfit


def test_a_replica_runs_on_its_own_core_with_the_flags(project: Project) -> None:
    project.behave(pid_file=str(project.pytester.path / "pids"))

    _, (result,) = project.results()

    (line,) = (project.pytester.path / "pids").read_text().splitlines()
    cores = json.loads(line.partition(" ")[2])
    assert cores == [max(os.sched_getaffinity(0))]
    assert result["environment"]["replica_cores"] == [cores]
    assert result["environment"]["server_flags"] == [
        "--tensorflow_intra_op_parallelism=1",
        "--tensorflow_inter_op_parallelism=1",
    ]


def test_an_unfit_experiment_is_smoke_run_and_not_judged(project: Project) -> None:
    project.write(BIG)

    run, (result,) = project.results()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(
        [
            "SKIPPED * test_perf.py:2: NOT JUDGED: needs 1024 vCPUs, this machine has *; "
            "smoke run: * requests, 0 errors"
        ]
    )
    assert result["verdict"] == "NOT JUDGED"
    assert result["total_requests"] > 10


def test_a_smoke_run_that_fails_is_no_skip(project: Project) -> None:
    project.write(BIG)
    project.behave(mode="http500")

    run, (result,) = project.results()

    run.assert_outcomes(failed=1)
    assert result["verdict"] == "FAIL"


def test_unfit_can_be_skipped(project: Project) -> None:
    project.write(BIG)
    project.behave(start="exit")

    run, (result,) = project.results("--tfserving-unfit=skip")

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(["*NOT JUDGED: needs 1024 vCPUs, this machine has *"])
    assert result["verdict"] == "NOT JUDGED"


def test_unfit_can_fail(project: Project) -> None:
    project.write(BIG)

    run = project.run("--tfserving-unfit=fail")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*NOT JUDGED: needs 1024 vCPUs, this machine has *"])


def test_a_model_folder_without_versions(project: Project) -> None:
    (project.pytester.path / "models" / "half" / "1").rmdir()

    run = project.run()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["the model folder */models/half has no version in it; a SavedModel lies in a numbered folder *"]
    )
    run.stdout.no_fnmatch_line("*Traceback*")


def test_a_missing_model_folder(project: Project) -> None:
    project.write("experiments:\n- {shape: 1cpu-1gb-1n, inter_op: 1, model: ./no, payload: request.json}\n")

    project.run().stdout.fnmatch_lines(["the model folder *no does not exist; a SavedModel lies in *"])


def test_an_unknown_model(project: Project) -> None:
    project.write("experiments:\n- {shape: 1cpu-1gb-1n, inter_op: 1, model: resnet5}\n")

    project.run().stdout.fnmatch_lines(
        ["no model 'resnet5'; did you mean 'resnet50'? *or a folder, as ./resnet5."]
    )


def test_a_server_program_that_does_not_exist(project: Project) -> None:
    run = project.run("--tfserving-server=/no/such/server", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*cannot start /no/such/server: No such file or directory*"])


def test_a_payload_that_is_no_request(project: Project) -> None:
    (project.pytester.path / "request.json").write_text("[1]", encoding="utf-8")

    run = project.run()

    run.stdout.fnmatch_lines(
        ["payload */request.json: a request's body is a JSON object with 'instances' or *"]
    )


def test_a_model_whose_request_is_not_known(project: Project) -> None:
    project.write("experiments:\n- {shape: 1cpu-1gb-1n, inter_op: 1, model: ./models/half}\n")

    project.run().stdout.fnmatch_lines(
        ["*give its experiment a 'payload: request.json', or override the fixture*"]
    )


def test_the_payload_fixture_is_overridden(project: Project) -> None:
    (project.pytester.path / "conftest.py").write_text(
        "import pytest\nfrom pytest_tfserving import Payload\n"
        '@pytest.fixture(scope="session")\n'
        "def request_payload():\n    return Payload.from_instances([7.0])\n"
        '@pytest.fixture(scope="session")\n'
        "def serving_model(tmp_path_factory):\n"
        '    base = tmp_path_factory.mktemp("own")\n    (base / "3").mkdir()\n    return base\n',
        encoding="utf-8",
    )
    project.write(
        "profiles: {tiny: {users: 2, spawn_rate: 2, run_time_s: 2.5, think_time_s: 0.01, "
        "max_lag_ms: 2000, max_cpu_wait: 1}}\n"
        "experiments:\n- {shape: 1cpu-1gb-1n, inter_op: 1, model: resnet50, profile: tiny, slo: [rps>=1]}\n"
    )

    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("model", "name"),
    [("resnet50", "resnet50"), ("./a/my model", "my-model"), ("/x/y/", "y"), ("/", "model")],
)
def test_a_model_is_served_under_a_name_urls_can_hold(model: str, name: str) -> None:
    assert name == model_name(model)
