"""Payload sets of an experiment: sent, checked, and told apart by kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness import EXPERIMENTS
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.model_mix import MixedModel
from pytest_tfserving.protocols.payload_source import mixed_requests
from request_logs import prediction_log, tfrecord

if TYPE_CHECKING:
    from harness import Project

JUST_LOAD = "def test_load(load):\n    load()\n"
CLOSED = EXPERIMENTS.replace("request.json", "requests.jsonl")
OPEN = CLOSED.replace("users: 2, spawn_rate: 20,", "rate: 40,").replace("think_time_s: 0.01,", "")
SMALL, LARGE = (
    {"instances": [1.0], "kind": "small", "weight": 3},
    {"instances": [1.0, 2.0, 5.0], "kind": "large"},
)


def with_set(project: Project, experiments: str, *requests: object) -> None:
    project.write(experiments, JUST_LOAD)
    text = "\n".join(map(json.dumps, requests))
    (project.pytester.path / "requests.jsonl").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("experiments", [CLOSED, OPEN], ids=["closed", "open"])
def test_a_server_that_is_slow_for_one_kind_is_found_by_kind(project: Project, experiments: str) -> None:
    project.behave(slow=[3, 300])
    longer = experiments.replace("run_time_s: 1.2", "run_time_s: 2.5")
    with_set(project, longer, *[SMALL] * 3, LARGE)

    reports = ["--tfserving-markdown=out.md", "--tfserving-html=out.html", "--junit-xml=out.xml"]
    run, (result,) = project.results(*reports)

    run.assert_outcomes(passed=1)
    kinds = result["kinds"]
    assert list(kinds) == ["small", "large"]
    assert kinds["small"]["metrics"]["p50_ms"] < 200
    assert kinds["large"]["metrics"]["p50_ms"] >= 300
    # One request in 10 is large, so the median of all is that of the others.
    assert result["metrics"]["p50_ms"] < 200
    assert sum(kind["metrics"]["requests"] for kind in kinds.values()) == result["metrics"]["requests"]
    run.stdout.fnmatch_lines(["  small: rps *p95*", "  large: rps *p95*"])
    assert 'name="kind:large:p95_ms"' in (project.pytester.path / "out.xml").read_text(encoding="utf-8")
    assert "`large`" in (project.pytester.path / "out.md").read_text(encoding="utf-8")
    assert "<td>large</td>" in (project.pytester.path / "out.html").read_text(encoding="utf-8")


def test_errors_of_a_kind_are_counted_with_the_kind(project: Project) -> None:
    project.behave(mode="http500", rows=3, after=8)
    with_set(
        project, CLOSED.replace("max_cpu_wait: 1}", "max_cpu_wait: 1, max_failure_ratio: 1}"), SMALL, LARGE
    )

    _, (result,) = project.results()

    assert result["kinds"]["small"]["errors"] == {}
    assert result["kinds"]["large"]["errors"] == result["errors"]
    assert result["kinds"]["large"]["metrics"]["error_rate"] == 1


def test_requests_of_one_kind_have_no_rows_of_their_own(project: Project) -> None:
    with_set(project, CLOSED, {"instances": [1.0]}, {"instances": [2.0]})

    run, (result,) = project.results()

    assert result["kinds"] == {}
    run.stdout.no_fnmatch_line("*serving_default*")


@pytest.mark.parametrize(
    ("request_line", "cause"),
    [
        (
            {"instances": ["a"]},
            "requests.jsonl:2: the payload's values for 'x' do not make a tensor of type float32.",
        ),
        (
            {"instances": [{"z": 1}]},
            "requests.jsonl:2: the payload names the input 'z'; the signature has x.",
        ),
        ({"instances": [1.0], "signature_name": "s"}, "requests.jsonl:2: the model has no signature 's'"),
    ],
    ids=["type", "name", "signature"],
)
def test_a_request_that_does_not_fit_is_named(project: Project, request_line: object, cause: str) -> None:
    with_set(project, CLOSED, SMALL, request_line)

    run = project.run()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([f"*{cause.replace('[', '[[]')}*"])
    assert "Traceback" not in run.stdout.str()


def test_a_line_with_an_unknown_field_is_named_before_tests_run(project: Project) -> None:
    with_set(project, CLOSED, SMALL, {"instances": [1.0], "size": 1})

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*requests.jsonl:2: unknown field 'size' of a request; valid: *"])


def test_a_request_that_the_server_does_not_take_is_named(project: Project) -> None:
    project.behave(mode="http500", rows=3)
    with_set(project, CLOSED, SMALL, LARGE)

    run = project.run()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*a first request to * failed: *requests.jsonl:2: HTTP 500: out of cheese*"])


def test_a_log_of_requests_goes_over_grpc_and_is_checked_in_process(project: Project) -> None:
    """The embedded server, and the same model in process, which gives the right answers of a sample."""
    log = b"".join(tfrecord(prediction_log(x=np.array(rows, np.float32))) for rows in ([1.0], [2.0, 5.0]))
    (project.pytester.path / "log.tfrecord").write_bytes(log)
    experiments = EXPERIMENTS.replace("request.json", "log.tfrecord, protocol: grpc")
    project.write(experiments.replace("./models/half,", "half_plus_two,"), JUST_LOAD)

    run, (result,) = project.results(server=False)

    run.assert_outcomes(passed=1)
    assert result["errors"] == {}
    assert result["metrics"]["efficiency"] > 0


def test_a_fixture_gives_a_set(project: Project) -> None:
    project.write(
        tests="import pytest\n"
        "from pytest_tfserving import Payload\n"
        "from pytest_tfserving.protocols.payload_set import PayloadSet, SetEntry\n"
        "@pytest.fixture(scope='session')\n"
        "def request_payload():\n"
        "    rows = {'small': [1.0], 'large': [1.0, 2.0]}\n"
        "    payloads = {kind: Payload.from_instances(each) for kind, each in rows.items()}\n"
        "    return PayloadSet([SetEntry(payload, kind) for kind, payload in payloads.items()])\n"
        "def test_load(load):\n"
        "    assert load().of_kind('large').p95_ms > 0\n"
    )

    project.run().assert_outcomes(passed=1)


def test_the_requests_of_several_models_have_the_weights_of_these(tmp_path: Path) -> None:
    lines = [{"instance": 1, "kind": "small", "weight": 9}, {"instance": 2, "kind": "large", "weight": 3}]
    (tmp_path / "fraud.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    models = [
        MixedModel("half", "half_plus_two", weight=3.0),
        MixedModel("fraud", "./fraud", str(tmp_path / "fraud.jsonl"), weight=4.0),
    ]

    found = mixed_requests(models, Path)

    assert [(each.model, each.kind, each.weight) for each in found] == [
        ("half", "half", 3.0),
        ("fraud", "fraud/small", 3.0),
        ("fraud", "fraud/large", 1.0),
    ]


def test_a_model_without_known_requests_is_named() -> None:
    with pytest.raises(
        ConfigurationError, match=r"model 'fraud': the request for the model \./fraud is not known"
    ):
        mixed_requests([MixedModel("fraud", "./fraud")], Path)
