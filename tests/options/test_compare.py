"""``--tfserving-compare``: a session against a stored run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import planted_results
import stored_sessions
from harness import EXPERIMENTS

if TYPE_CHECKING:
    from harness import Project

ALL_REPORTS = ("--tfserving-html=out.html", "--tfserving-markdown=out.md", "--junit-xml=out.xml")


def texts(project: Project, run: pytest.RunResult) -> dict[str, str]:
    """Return what each report says, on one line."""
    files = {name: project.pytester.path / f"out.{name}" for name in ("html", "md", "xml")}
    found = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    found["html"] = found["html"].partition('<script id="data"')[0]
    return {**found, "terminal": run.stdout.str()}


def test_a_change_is_a_ratio_with_an_interval_and_the_smallest_that_could_be_seen(project: Project) -> None:
    stored_sessions.saved(project, p50_ms=300.0)
    stored_sessions.measure(project, p50_ms=330.0)

    _, comparison = stored_sessions.comparison(project, "--tfserving-compare=main")

    (experiment,) = comparison["experiments"]
    p95 = next(each for each in experiment["changes"] if each["metric"] == "p95")
    assert p95["change"] == pytest.approx(0.1)
    assert 0.08 < p95["interval"][0] < 0.1 < p95["interval"][1] < 0.12
    assert 0.005 < p95["smallest_change"] < 0.03
    assert p95["finding"] == "worse"
    assert {each["metric"] for each in experiment["changes"]} >= {"rps", "p50", "p99", "mean", "errors"}
    assert ": 9 figures, 7 worse, 2 cannot be told apart" in comparison["sentence"]


def test_every_report_shows_it(project: Project) -> None:
    stored_sessions.saved(project, p50_ms=300.0)
    stored_sessions.measure(project, p50_ms=330.0)

    run, _ = stored_sessions.comparison(project, "--tfserving-compare=main", *ALL_REPORTS)

    run.assert_outcomes(passed=1)
    shown = texts(project, run)
    for name in ("html", "md", "xml", "terminal"):
        assert re.search(r"\+10 % \[\+[89]\.\d, \+1[12]\]", shown[name]), name
    for name in ("html", "md", "terminal"):
        assert "compared with main (of 20" in shown[name].replace("\\", ""), name
        assert "the scatter between runs is not included" in shown[name], name
    assert '<property name="change:p95_ms" value="+10 %' in shown["xml"]


@pytest.mark.parametrize("how", ["name", "last", "file", "results of --tfserving-json"])
def test_the_run_is_named_in_each_way(project: Project, how: str) -> None:
    stored_sessions.saved(project, "older", p50_ms=100.0)
    stored_sessions.measure(project, p50_ms=300.0)
    project.run("--tfserving-save=main", "--tfserving-json=main.json")
    path = next((project.pytester.path / ".tfserving").glob("*-main.json"))
    given = {"name": "main", "last": "last", "file": str(path), "results of --tfserving-json": "main.json"}

    _, comparison = stored_sessions.comparison(project, f"--tfserving-compare={given[how]}")

    assert comparison["base"].startswith("main")
    (experiment,) = comparison["experiments"]
    assert {each["change"] for each in experiment["changes"]} == {0.0}


def test_the_calibrations_scatter_widens_the_interval(project: Project) -> None:
    from pytest_tfserving.calibration.file import calibration_path, this_machine, write_calibration

    stored_sessions.saved(project)
    _, without = stored_sessions.comparison(project, "--tfserving-compare=main")
    write_calibration(calibration_path(), {**planted_results.calibration(), "machine": this_machine()})

    _, comparison = stored_sessions.comparison(project, "--tfserving-compare=main")

    def width(found: dict[str, Any]) -> float:
        changes = found["experiments"][0]["changes"]
        low, high = next(each["interval"] for each in changes if each["metric"] == "p95")
        return float(high - low)

    assert width(comparison) > 1.5 * width(without)
    assert comparison["scatter"].endswith("as calibrated 2026-03-01")


@pytest.mark.parametrize(
    ("name", "value", "where", "said"),
    [
        ("server", "sha256:0", ["identity"], "server or image was sha256:0, is "),
        ("model", "0" * 64, ["identity"], "model was 00000000, is 4f53cda1"),
        ("payload", "0" * 64, ["identity"], "payload was 00000000, is "),
        ("users", 3, ["profile"], "profile users was 3, is 2"),
        ("inter_op", 2, ["identity"], "inter_op was 2, is 1"),
        (
            "against",
            {"named": "image:a"},
            ["identity"],
            "load was in turn with a baseline server, is alone",
        ),
    ],
)
def test_another_image_model_payload_or_load_is_not_compared(
    project: Project, name: str, value: object, where: list[str], said: str
) -> None:
    stored_sessions.saved(project)
    stored_sessions.change(project, name, value, *where)

    run, comparison = stored_sessions.comparison(project, "--tfserving-compare=main")

    (experiment,) = comparison["experiments"]
    assert experiment["changes"] == []
    assert experiment["not_compared"].startswith(said)
    run.stdout.fnmatch_lines(
        [f"1cpu-1gb-1n-interop1: not compared: {said}*; --tfserving-compare-force compares nevertheless"]
    )
    assert run.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "workers"])
def test_another_machine_is_refused_before_anything_runs(project: Project, workers: tuple[str, ...]) -> None:
    stored_sessions.saved(project)
    stored_sessions.change(project, "id", "another", "environment", "machine")

    run = project.run("--tfserving-compare=main", *workers)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    said = "--tfserving-compare: *-main.json is of another machine: its id was another, here it is *"
    run.stderr.fnmatch_lines([f"*{said}"])
    run.stdout.no_fnmatch_line("*passed*")


def test_an_experiment_that_the_stored_run_does_not_have_is_named(project: Project) -> None:
    stored_sessions.saved(project)
    project.write(EXPERIMENTS.replace("inter_op: 1", "inter_op: [1, 2]"))

    run, comparison = stored_sessions.comparison(project, "--tfserving-compare=main")

    assert [bool(each["changes"]) for each in comparison["experiments"]] == [True, False]
    run.stdout.fnmatch_lines(["*interop2: not compared: the stored run does not have this experiment"])


def test_a_run_without_valid_figures_is_not_compared(project: Project) -> None:
    stored_sessions.saved(project, invalid="the load generator was the limit")
    stored_sessions.measure(project)

    run, _ = stored_sessions.comparison(project, "--tfserving-compare=main")

    run.stdout.fnmatch_lines(["*not compared: it had no valid figures then: INVALID"])


def test_a_run_that_cannot_be_read_is_one_sentence(project: Project) -> None:
    run = project.run("--tfserving-compare=gone.json")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    said = "ERROR: --tfserving-compare: the stored run *gone.json cannot be read: No such file or directory."
    run.stderr.fnmatch_lines([said])


@pytest.mark.parametrize("name", ["last", "main"])
def test_without_a_stored_run_it_says_how_to_save_one(project: Project, name: str) -> None:
    run = project.run(f"--tfserving-compare={name}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*'{name}' is not a stored run: */.tfserving has none; save one with *"])
