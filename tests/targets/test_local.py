"""The target local: cores, fit, flags, replicas."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from harness import EXPERIMENTS

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

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: *: the model folder */models/half has no version in it; a SavedModel lies in *"]
    )


def test_a_missing_model_folder(project: Project) -> None:
    project.write("experiments:\n- {shape: 1cpu-1gb-1n, inter_op: 1, model: ./no, payload: request.json}\n")

    project.run().stdout.fnmatch_lines(["the model folder *no does not exist; a SavedModel lies in *"])


def test_an_unknown_model(project: Project) -> None:
    project.write("experiments:\n- {shape: 1cpu-1gb-1n, inter_op: 1, model: resnet5}\n")

    project.run().stderr.fnmatch_lines(
        [
            "ERROR: experiment '1cpu-1gb-1n-interop1': no model 'resnet5'; did you mean 'resnet50'? *"
            "or a folder, as ./resnet5."
        ]
    )


def test_a_payload_that_is_no_request(project: Project) -> None:
    (project.pytester.path / "request.json").write_text("[1]", encoding="utf-8")

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: *: payload */request.json: a request's body is a JSON object with 'instances' or *"]
    )


def test_a_payload_that_is_no_json_is_named_with_its_line(project: Project) -> None:
    (project.pytester.path / "request.json").write_text('{"instances": [\n  1.0,\n]}', encoding="utf-8")

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: *request.json: it is not JSON: * at line *, column *."])


def test_a_line_of_a_payload_set_that_is_no_request_is_named(project: Project) -> None:
    (project.pytester.path / "requests.jsonl").write_text('[1.0]\n{"instances": [[1.0]], "wait": 1}\n')
    project.write(EXPERIMENTS.replace("request.json", "requests.jsonl"))

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: *: *requests.jsonl:2: unknown field 'wait' of a request; *"])


@pytest.fixture
def versions(project: Project) -> Project:
    """A project whose model has two versions, 0 and 1."""
    for version in ("0", "1"):
        folder = project.pytester.path / "models" / "half" / version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").touch()
    planted.instead_of_load(project)
    return project


@pytest.mark.parametrize("model", ["./models/half/1", "./models/half/1/"])
def test_the_newest_version_of_a_model_stands_for_the_model(versions: Project, model: str) -> None:
    versions.write(EXPERIMENTS.replace("./models/half", model))

    run, (result,) = versions.results()

    run.assert_outcomes(passed=1)
    assert result["configuration"]["model"].endswith("models/half")


def test_an_older_version_of_a_model_is_explained(versions: Project) -> None:
    versions.write(EXPERIMENTS.replace("./models/half", "./models/half/0"))

    run = versions.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: *models/half/0 is a version of a model, and a server takes the newest version in *; *"]
    )


def test_a_mistake_in_an_experiment_that_is_not_chosen_stops_nothing(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(EXPERIMENTS + "  - {shape: 1cpu-1gb-1n, inter_op: 1, model: resnet5, name: other}\n")

    project.run("-k", "interop1").assert_outcomes(passed=1)


def test_a_model_whose_request_is_not_known(project: Project) -> None:
    project.write("experiments:\n- {shape: 1cpu-1gb-1n, inter_op: 1, model: ./models/half}\n")

    project.run().stderr.fnmatch_lines(
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
        "profiles: {tiny: {users: 2, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.01, "
        "max_lag_ms: 2000, max_cpu_wait: 1}}\n"
        "experiments:\n- {shape: 1cpu-1gb-1n, inter_op: 1, model: resnet50, profile: tiny, slo: [rps>=1]}\n"
    )

    project.run().assert_outcomes(passed=1)
