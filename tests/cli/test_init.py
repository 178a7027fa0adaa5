"""The command ``init``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

import planted_results
from harness import RESULT
from pytest_tfserving.cli import main
from pytest_tfserving.slo.proposal import propose
from pytest_tfserving.statistics.latencies import Latencies

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness import Project


@pytest.fixture
def init(
    project: Project, newcomer: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command with a planted trial: 50 requests/s, p95 of about 400 ms."""
    assert newcomer
    planted_results.instead_of_load(project)

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["init", *arguments])
        written = capsys.readouterr()
        return code, written.out + written.err

    return run


def test_tests_are_written_and_the_next_step_is_named(
    init: Callable[..., tuple[int, str]], newcomer: Path
) -> None:
    code, text = init("models/several_inputs")

    assert code == 0
    folder = newcomer / "perf_tests"
    written = yaml.safe_load((folder / "experiments.yaml").read_text(encoding="utf-8"))
    assert written["profiles"] == {"gate": {"base": "quick", "run_time_s": 60}}
    (experiment,) = written["experiments"]
    assert experiment == {
        "name": "several_inputs",
        "shape": "1cpu-3gb-1n",
        "inter_op": 1,
        "model": "../models/several_inputs",
        "payload": "request.json",
        "profile": "gate",
        "slo": experiment["slo"],
    }
    assert [slo.partition("<")[0].partition(">")[0] for slo in experiment["slo"]] == ["p95", "rps"]
    assert "load().check()" in (folder / "test_serving_several_inputs.py").read_text(encoding="utf-8")
    assert set(json.loads((folder / "request.json").read_bytes())) == {"signature_name", "instances"}
    assert "next:\n  pytest perf_tests\n" in text
    assert not (newcomer / ".github").exists()


def test_limits_are_three_times_as_far_as_what_was_measured_and_say_so(
    init: Callable[..., tuple[int, str]], newcomer: Path
) -> None:
    _, text = init("models/numbers")

    written = (newcomer / "perf_tests" / "experiments.yaml").read_text(encoding="utf-8")
    (experiment,) = yaml.safe_load(written)["experiments"]
    p95, rps = experiment["slo"]
    assert 1100 < float(p95.removeprefix("p95<").removesuffix("ms")) < 1500
    assert 14 < float(rps.removeprefix("rps>=")) <= 25
    for origin in ("three times the trial's", "a third of the trial's"):
        assert origin in text
        assert origin in written
    assert "#   x: numbers from 0 to 1 (made up, always the same)\n" in written


@pytest.mark.parametrize(("rps", "limit"), [(30.0, []), (500.0, ["errors<1%"]), (5000.0, ["errors<0.1%"])])
def test_the_share_of_errors_is_one_that_a_run_can_prove(rps: float, limit: list[str]) -> None:
    trial = planted_results.result(rps=rps, p50_ms=3.0, users=4)

    assert [slo.text for slo in propose(trial, 30.0) if "errors" in slo.text] == limit


def test_throughput_is_relative_to_the_model_without_a_server_if_that_was_measured() -> None:
    """The planted baseline makes 125 calls a second."""
    trial = planted_results.result(rps=100.0, p50_ms=3.0, baseline=RESULT.baseline)

    efficiency = propose(trial, 30.0)[1]

    assert efficiency.text == "efficiency>=40%"
    assert efficiency.origin.startswith("half of the trial's 80.1% (lower end)")


def test_a_fast_model_is_not_judged_by_the_time_slices_of_the_machine() -> None:
    trial = planted_results.result(rps=500.0, p50_ms=0.5)

    p95 = propose(trial, 30.0)[0]

    assert p95.text == "p95<10ms"
    assert p95.origin.endswith(", and at least 10 ms")


def test_nothing_is_overwritten(init: Callable[..., tuple[int, str]], newcomer: Path) -> None:
    (newcomer / "perf_tests").mkdir()
    mine = newcomer / "perf_tests" / "test_serving_numbers.py"
    mine.write_text("mine", encoding="utf-8")

    code, text = init("models/numbers")

    assert code == 2
    assert "init overwrites nothing, and there is perf_tests/test_serving_numbers.py" in text
    assert mine.read_text(encoding="utf-8") == "mine"
    assert list((newcomer / "perf_tests").iterdir()) == [mine]
    assert init("models/numbers", "--folder", "more/perf")[0] == 0
    assert (newcomer / "more" / "perf" / "experiments.yaml").exists()


def test_tests_of_several_models_are_collected_together(
    project: Project, init: Callable[..., tuple[int, str]]
) -> None:
    for model in ("numbers", "strings"):
        assert init(f"models/{model}", "--folder", f"perf_tests/{model}")[0] == 0

    project.run("perf_tests", server=False).assert_outcomes(passed=2)


def test_the_workflow_runs_the_tests(init: Callable[..., tuple[int, str]], newcomer: Path) -> None:
    code, text = init("models/numbers", "--github", "--folder", "gates")

    path = ".github/workflows/serving-performance.yml"
    workflow = yaml.safe_load((newcomer / path).read_text(encoding="utf-8"))
    steps = [step.get("run", "") for step in workflow["jobs"]["serving-performance"]["steps"]]
    assert any(step.startswith("python -m pytest gates --junit-xml=") for step in steps)
    assert code == 0
    assert f"  git add gates {path}\n" in text


def test_each_signature_gets_an_experiment(init: Callable[..., tuple[int, str]], newcomer: Path) -> None:
    code, _ = init("models/several_signatures")

    file = newcomer / "perf_tests" / "experiments.yaml"
    experiments = yaml.safe_load(file.read_text(encoding="utf-8"))["experiments"]
    assert code == 0
    assert [(each["name"], each["payload"]) for each in experiments] == [
        ("several_signatures-score", "request-score.json"),
        ("several_signatures-shout", "request-shout.json"),
    ]


def test_one_signature_of_several_is_chosen(init: Callable[..., tuple[int, str]], newcomer: Path) -> None:
    assert init("models/several_signatures", "--signature=shout")[0] == 0

    request = json.loads((newcomer / "perf_tests" / "request.json").read_bytes())
    assert request["signature_name"] == "shout"


def test_a_signature_under_two_names_is_tested_once(
    init: Callable[..., tuple[int, str]], newcomer: Path
) -> None:
    assert init("models/tf1/1")[0] == 0

    file = newcomer / "perf_tests" / "experiments.yaml"
    assert len(yaml.safe_load(file.read_text(encoding="utf-8"))["experiments"]) == 1


def test_a_model_elsewhere_is_named_by_its_whole_path(
    init: Callable[..., tuple[int, str]], newcomer: Path, newcomers: Path
) -> None:
    assert init(str(newcomers / "numbers"))[0] == 0

    file = newcomer / "perf_tests" / "experiments.yaml"
    (experiment,) = yaml.safe_load(file.read_text(encoding="utf-8"))["experiments"]
    assert experiment["model"] == str(newcomers / "numbers")


@pytest.mark.parametrize(
    ("trial", "cause"),
    [
        ({"aborted": "no response came"}, "no response came"),
        (
            {"incomplete": "no steady window", "latencies": Latencies.of(np.empty(0))},
            "a longer --trial may help: no steady window",
        ),
    ],
)
def test_a_trial_without_figures_leaves_tests_without_limits(
    project: Project,
    init: Callable[..., tuple[int, str]],
    newcomer: Path,
    trial: dict[str, object],
    cause: str,
) -> None:
    planted_results.instead_of_load(project, lambda _: trial)

    code, text = init("models/numbers")

    file = newcomer / "perf_tests" / "experiments.yaml"
    (experiment,) = yaml.safe_load(file.read_text(encoding="utf-8"))["experiments"]
    assert code == 0
    assert f"numbers: nothing was measured: {cause}" in text
    assert experiment["slo"] == ["errors<1%"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["models/none"], "the model folder models/none does not exist"),
        (["models/stubborn"], "no request was found for the model: signature 'hello': it has no inputs"),
        (
            ["models/numbers", "--signature=none"],
            "the model has no signature 'none'; valid: serving_default.",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    init: Callable[..., tuple[int, str]], newcomer: Path, arguments: list[str], expected: str
) -> None:
    code, text = init(*arguments)

    assert code == 2
    assert expected in text
    assert len(text.splitlines()) == 1
    assert not (newcomer / "perf_tests").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--cpus=1000000000"], "pytest refused the trial: "),
        (["--", "--no-such-option"], "pytest refused the trial: its reason is above."),
    ],
)
def test_a_trial_that_pytest_refuses_writes_nothing(
    init: Callable[..., tuple[int, str]], newcomer: Path, arguments: list[str], expected: str
) -> None:
    code, text = init("models/numbers", *arguments)

    assert code == 2
    assert expected in text
    assert not (newcomer / "perf_tests").exists()


def test_a_first_verdict_takes_two_commands(newcomer: Path) -> None:
    """Both are real, with a shorter trial and a shorter run than a newcomer has."""
    commands = [
        ["-m", "pytest_tfserving.cli", "init", "models/strings", "--trial=1"],
        [
            "-m",
            "pytest",
            "-p",
            "no:locust",
            "perf_tests",
            "--tfserving-run-time=2",
            "--tfserving-json=o.json",
        ],
    ]
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command], cwd=newcomer, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr

    (result,) = json.loads((newcomer / "o.json").read_text(encoding="utf-8"))["results"]
    assert result["metrics"]["requests"] > 0
    assert result["slos"][0]["slo"].startswith("p95<")
