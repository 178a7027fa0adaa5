"""Several models that one server has together, each with its requests: served, loaded, and told apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from server_process import Server

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project
    from idle_cluster import IdleCluster

# No request fits the other model.
MODELS = """
      - {model: ./models/numbers, payload: numbers.json, weight: 3}
      - {model: ./models/strings, name: words, payload: words.jsonl}
"""
EXPERIMENTS = """
profiles:
  tiny: {users: 2, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.01, request_timeout_s: 5,
    max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - name: mix
    shape: 1cpu-1gb-1n
    inter_op: 1
    profile: tiny
    protocol: rest
    slo: ["max{numbers}<60s"]
    models:
"""
GATE = "def test_gate(load):\n    load().check()\n"


@pytest.fixture
def mix(project: Project) -> Project:
    """A project with an experiment of two models, whose folders are empty."""
    project.write(f"{EXPERIMENTS}{MODELS}", GATE)
    folder = project.pytester.path
    for name in ("numbers", "strings"):
        (folder / "models" / name / "1").mkdir(parents=True)
    (folder / "numbers.json").write_text(json.dumps({"instances": [[1.0, 2.0, 3.0, 4.0]]}))
    (folder / "words.jsonl").write_text(json.dumps({"instance": "a"}) + "\n" + json.dumps({"instance": "bc"}))
    return project


@pytest.fixture
def real(mix: Project, newcomers: Path) -> Project:
    """A project with an experiment of two real models."""
    for name in ("numbers", "strings"):
        folder = mix.pytester.path / "models" / name
        (folder / "1").rmdir()
        folder.rmdir()
        folder.symlink_to(newcomers / name)
    return mix


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_each_model_gets_its_requests_by_its_weight(real: Project, protocol: str) -> None:
    real.write(f"{EXPERIMENTS}{MODELS}".replace("rest", protocol), GATE)

    run, (result,) = real.results("--tfserving-early-stop=no", "--tfserving-run-time=2", server=False)

    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines(["mix *PASS", "  numbers: rps *p95*", "  words: rps *p95*"])
    counts = {name: kind["metrics"]["requests"] for name, kind in result["kinds"].items()}
    assert list(counts) == ["numbers", "words"]
    assert result["errors"] == {}
    # Far from equal shares, and from one model alone.
    assert 1.5 < counts["numbers"] / counts["words"] < 6
    assert result["configuration"]["model"] == "numbers, words"
    assert "efficiency" not in result["metrics"] or result["metrics"]["efficiency"] is None


def test_an_unknown_kind_of_an_slo_is_named_with_the_nearest(real: Project) -> None:
    real.write(f"{EXPERIMENTS}{MODELS}".replace("{numbers}", "{number}"), GATE)

    run = real.run(server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*the requests have no kind 'number'; did you mean 'numbers'?*"])


def test_a_request_that_does_not_fit_its_model_is_named_with_both(real: Project) -> None:
    (real.pytester.path / "words.jsonl").write_text(json.dumps({"instances": [{"x": 1}]}))

    run = real.run(server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["*words: */words.jsonl:1: the payload names the input 'x'; the signature has s*"]
    )


def test_a_model_without_a_version_is_named_before_tests_run(mix: Project) -> None:
    (mix.pytester.path / "models" / "strings" / "1").rmdir()

    run = mix.run(server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: experiment 'mix': model 'words': the model folder * has no version in it*"]
    )


def test_both_servers_of_a_comparison_have_all_models(real: Project) -> None:
    real.write(tests="def test_load(load):\n    load()\n", experiments=f"{EXPERIMENTS}{MODELS}")
    program = real.embedded_server().partition("=")[2]

    run, (result,) = real.results(f"--tfserving-against=server:{program}", server=False)

    run.assert_outcomes(passed=1)
    assert result["errors"] == {}
    assert list(result["comparison"]["result"]["kinds"]) == ["numbers", "words"]


def test_a_server_of_others_has_the_models_by_name(real: Project, newcomers: Path) -> None:
    config = real.pytester.path / "models.config"
    config.write_text(
        "model_config_list {"
        f' config {{ name: "numbers" base_path: "{newcomers}/numbers" model_platform: "tensorflow" }}'
        f' config {{ name: "words" base_path: "{newcomers}/strings" model_platform: "tensorflow" }}'
        " }"
    )

    with Server("numbers", None, f"--model_config_file={config}") as server:
        run, (result,) = real.results(
            "--tfserving-target=url", f"--tfserving-url={server.address}", server=False
        )

    run.assert_outcomes(passed=1)
    assert list(result["kinds"]) == ["numbers", "words"]


def test_a_model_that_the_server_of_others_lacks_is_named(real: Project, newcomers: Path) -> None:
    with Server("numbers", newcomers / "numbers") as server:
        run = real.run(
            "--tfserving-target=url",
            f"--tfserving-url={server.address}",
            "--tfserving-ready-timeout=2",
            server=False,
        )

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*the model at */v1/models/words was not AVAILABLE after 2 s*"])


@pytest.mark.parametrize(
    ("models", "address", "message"),
    [
        (
            MODELS,
            "http://127.0.0.1:1/v1/models/numbers",
            "--tfserving-url: http://127.0.0.1:1/v1/models/numbers is the address of one model, and "
            "experiment 'mix' has several: numbers, words; write the address of their server, as http://127.0.0.1:1.",
        ),
        (
            None,
            "http://127.0.0.1:1",
            "--tfserving-url: 'http://127.0.0.1:1' is not the address of a model; *",
        ),
    ],
)
def test_an_address_is_that_of_the_server_for_several_models_alone(
    mix: Project, models: str | None, address: str, message: str
) -> None:
    if models is None:
        mix.write()

    run = mix.run("--tfserving-target=url", f"--tfserving-url={address}", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {message}"])


@pytest.mark.parametrize(
    ("slo", "arguments", "message"),
    [
        (
            "efficiency>=80%",
            [],
            "SLO 'efficiency>=80%' is relative to a single model in process, and experiment 'mix' has "
            "several models, numbers, words; give *",
        ),
        ("p95<8x", [], "SLO 'p95<8x' is relative to a single model in process, *"),
        (
            "rps>=1",
            ["--tfserving-against=model:models/numbers"],
            "--tfserving-against=model:models/numbers: experiment 'mix' has several models, numbers, words, "
            "and this baseline server would have one; compare with server:, image:, url: or experiment:.",
        ),
    ],
)
def test_what_is_of_a_single_model_is_refused(
    mix: Project, slo: str, arguments: list[str], message: str
) -> None:
    mix.write(f"{EXPERIMENTS}{MODELS}".replace("max{numbers}<60s", slo), GATE)

    run = mix.run(*arguments, server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_a_worker_fails_the_test_of_what_is_of_a_single_model(mix: Project) -> None:
    run = mix.run("-n", "1", "--tfserving-against=model:models/numbers", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*: experiment 'mix' has several models, numbers, words, and this baseline *"])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_an_slo_of_a_mark_is_refused_like_one_of_the_file(mix: Project) -> None:
    mix.write(
        f"{EXPERIMENTS}{MODELS}",
        'import pytest\n@pytest.mark.slo("p95<8x")\ndef test_gate(load):\n    load().check()\n',
    )

    run = mix.run(server=False)

    run.stderr.fnmatch_lines(["ERROR: SLO 'p95<8x' is relative to a single model in process, *"])


def test_an_experiment_with_other_models_is_no_baseline_server(mix: Project) -> None:
    planted.instead_of_load(mix)
    other = (
        f"{EXPERIMENTS}{MODELS}  - {{shape: 1cpu-1gb-1n, inter_op: 2, models: [{{model: ./models/half}}]}}\n"
    )
    mix.write(other, GATE)

    run = mix.run("-k", "mix", "--tfserving-against=experiment:1cpu-1gb-1n-interop2", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["*'1cpu-1gb-1n-interop2' has other models, half, than 'mix', numbers, words; choose one with *"]
    )


@pytest.mark.parametrize(
    ("fixture", "value", "message"),
    [
        (
            "serving_model",
            "Path('models/numbers')",
            "*the fixture serving_model gives *, and experiment 'mix' has several models; let the fixture "
            "return a dict with the folder of each: numbers, words.",
        ),
        (
            "request_payload",
            "Payload.from_instances([[1.0, 2.0, 3.0, 4.0]])",
            "*the request names no model, and several are served; valid: numbers, words.",
        ),
        (
            "request_payload",
            "PayloadSet([SetEntry(Payload.from_instances([[1.0] * 4]), model='number')])",
            "*number: the model 'number' of the request is not served; did you mean 'numbers'? *",
        ),
    ],
)
def test_a_fixture_has_to_tell_the_models_apart(
    real: Project, fixture: str, value: str, message: str
) -> None:
    real.write(
        f"{EXPERIMENTS}{MODELS}".replace("max{numbers}<60s", "rps>=1"),
        "from pathlib import Path\n"
        "import pytest\n"
        "from pytest_tfserving import Payload\n"
        "from pytest_tfserving.protocols.payload_set import PayloadSet, SetEntry\n"
        f"@pytest.fixture(scope='session')\ndef {fixture}():\n    return {value}\n{GATE}",
    )

    run = real.run(server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([message])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_an_image_with_all_models_is_asked_for_on_a_cluster(mix: Project, cluster: IdleCluster) -> None:
    run = mix.run("--tfserving-target=kubernetes", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        [
            "*make an image with the models and name it with --tfserving-image=numbers-words:1: "
            "pytest-tfserving bake tensorflow/serving:2.19.1 models/numbers models/strings numbers-words:1"
        ]
    )
    assert not cluster.applied


def test_the_file_with_the_models_is_applied_to_a_cluster(mix: Project, cluster: IdleCluster) -> None:
    mix.run(
        "--tfserving-target=kubernetes",
        "--tfserving-image=both:1",
        "--tfserving-ready-timeout=0.1",
        server=False,
    )

    files = [each["data"] for each in cluster.sent if each["kind"] == "ConfigMap" and "data" in each]
    (config,) = [each["models.config"] for each in files if "models.config" in each]
    assert 'name: "words" base_path: "/models/words"' in config
