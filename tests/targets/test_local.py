"""The target local: cores, fit, flags, replicas."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import Project


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
