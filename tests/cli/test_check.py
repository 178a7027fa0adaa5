"""The command ``check``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

import planted_results
from pytest_tfserving.cli import main
from pytest_tfserving.measurement import measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness import Project

URL = "http://127.0.0.1:9/v1/models/half"
BODY = '--body={"instances": [1.0]}'


@pytest.fixture
def check(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """The command with planted results, run in this process in the folder of a project."""
    planted_results.instead_of_load(project)
    monkeypatch.chdir(project.pytester.path)

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["check", *arguments])
        written = capsys.readouterr()
        return code, written.out + written.err

    return run


def test_slos_and_verdict_are_printed_and_the_exit_code_is_0(check: Callable[..., tuple[int, str]]) -> None:
    code, text = check(URL, BODY, "--slo", "p95<9000ms", "--slo", "rps>=1")

    assert code == 0
    assert "half on url: PASS" in text
    assert "PASS         p95<9000ms: p95 is" in text
    assert "PASS         rps>=1: rps is" in text
    assert "PASS         errors<1%" in text


VERDICTS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "FAIL": (1, "p95<1ms", {}),
    "INVALID": (3, "p95<9000ms", {"invalid": "the load generator was the limit"}),
    "INCONCLUSIVE": (4, "p95<9000ms", {"incomplete": "the run was cut"}),
    "NOT JUDGED": (5, "p95<9000ms", {"not_judged": "needs 16 vCPUs"}),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_each_verdict_has_an_exit_code_of_its_own(
    project: Project, check: Callable[..., tuple[int, str]], verdict: str
) -> None:
    expected, slo, special = VERDICTS[verdict]
    planted_results.instead_of_load(project, lambda _: special)

    code, text = check(URL, BODY, "--slo", slo)

    assert code == expected
    assert f"half on url: {verdict}" in text


def test_reports_are_written_where_the_command_was_called(
    project: Project, check: Callable[..., tuple[int, str]]
) -> None:
    names = {"--junit-xml": "o.xml", "--html": "o.html", "--json": "o.json", "--markdown": "o.md"}

    code, _ = check(URL, BODY, "--slo", "p95<1ms", *(f"{flag}={name}" for flag, name in names.items()))

    assert code == 1
    folder = project.pytester.path
    (result,) = json.loads((folder / "o.json").read_text(encoding="utf-8"))["results"]
    assert result["verdict"] == "FAIL"
    assert ET.parse(folder / "o.xml").getroot()[0].get("failures") == "1"
    assert "FAIL" in (folder / "o.html").read_text(encoding="utf-8")
    assert "FAIL" in (folder / "o.md").read_text(encoding="utf-8")


def test_the_callers_settings_do_not_count(
    project: Project, check: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    project.pytester.makeini("[pytest]\naddopts = --no-such-option\ntfserving_users = 99\n")
    project.pytester.makeconftest("raise RuntimeError")

    code, text = check(URL, BODY, "--slo", "p95<9000ms")

    assert (code, "4 users" in text) == (0, True)


def test_the_load_is_as_asked(project: Project, check: Callable[..., tuple[int, str]]) -> None:
    closed = profile_of(project, check, "--users=7", "--run-time=1m")
    opened = profile_of(project, check, "--rate=50", "--", "--tfserving-early-stop=no")

    assert (closed["users"], closed["rate"], closed["run_time_s"]) == (7, 0, 60)
    assert (opened["users"], opened["rate"], opened["early_stop"]) == (0, 50, False)
    assert profile_of(project, check, "--request-limits=0.2s")["request_limits"] == "200ms"


def profile_of(project: Project, check: Callable[..., tuple[int, str]], *arguments: str) -> dict[str, Any]:
    check(URL, BODY, "--slo=max<60s", "--json=o.json", *arguments)
    document = json.loads((project.pytester.path / "o.json").read_text(encoding="utf-8"))
    profile: dict[str, Any] = document["results"][0]["profile"]
    return profile


def test_paths_are_relative_to_the_folder_of_the_call(
    project: Project, check: Callable[..., tuple[int, str]]
) -> None:
    (project.pytester.path / "mine.json").write_text('{"instances": [2.0]}', encoding="utf-8")

    found = check(URL, "--body=@mine.json", "--slo=max<60s", "--", "--tfserving-prices=none.yaml")

    assert found[0] == 2
    assert f"{project.pytester.path}/none.yaml" in found[1]


def test_a_mistake_that_pytest_finds_is_shown(check: Callable[..., tuple[int, str]], newcomers: Path) -> None:
    code, text = check(str(newcomers / "numbers"), "--slo=rps>=1", "--cpus=1000000000")

    assert code == 2, text
    assert "'1000000000cpu-3gb-1n' is not a shape; write it as 8vCPU-16GB_2 or 8cpu-16gb-2n." in text


def test_ctrl_c_has_the_exit_code_of_an_interrupted_program(
    check: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "measure", interrupted)

    assert check(URL, BODY, "--slo=rps>=1")[0] == 130


def test_a_model_is_checked_with_a_generated_request(
    project: Project, check: Callable[..., tuple[int, str]], newcomers: Path
) -> None:
    code, text = check(str(newcomers / "strings" / "1"), "--slo=p95<9000ms", "--json=o.json")

    assert code == 0
    assert f"{newcomers}/strings/1 is a version of the model {newcomers}/strings" in text
    assert "a generated request of 99 bytes for signature serving_default:" in text
    assert "s: a short text (made up, the type is string)" in text
    (result,) = json.loads((project.pytester.path / "o.json").read_text(encoding="utf-8"))["results"]
    assert result["configuration"]["model"] == str(newcomers / "strings")


def test_a_type_that_json_cannot_carry_goes_over_grpc(
    project: Project, check: Callable[..., tuple[int, str]], newcomers: Path
) -> None:
    code, _ = check(str(newcomers / "half"), "--slo=p95<9000ms", "--json=o.json")

    (result,) = json.loads((project.pytester.path / "o.json").read_text(encoding="utf-8"))["results"]
    assert (code, result["configuration"]["protocol"]) == (0, "grpc")


MISTAKES = {
    "no slo language": ([URL, BODY, "--slo=p95 is low"], "p95 is low"),
    "no body and no server": (
        [URL, "--slo=rps>=1"],
        f"no request was found for the model at {URL}: Connection refused; give one with --body.",
    ),
    "no request": (
        [URL, "--slo=rps>=1", "--body=[1]"],
        "--body: a request's body is a JSON object with 'instances' or 'inputs'.",
    ),
    "no file": ([URL, "--slo=rps>=1", "--body=@none.json"], "--body: cannot read none.json: No such file"),
    "no address": (["http://host/none", BODY, "--slo=rps>=1"], "is not the address of a model; write it as"),
    "no folder": (["none", "--slo=rps>=1"], "the model folder none does not exist; a SavedModel lies in a"),
    "no time": (
        [URL, BODY, "--slo=rps>=1", "--rate=1", "--run-time=0.5"],
        "load profile 'check' never sends a request: 1 a second for 0.5 s",
    ),
    "no locustfile": (
        [URL, BODY, "--slo=rps>=1", "--", "--tfserving-locustfile=none.py"],
        "there is no file",
    ),
    "a kind": (
        [URL, BODY, "--slo=p95{large}<1ms"],
        "SLO 'p95{large}<1ms': check sends one request again and again, which is of no kind; leave {large}",
    ),
    "no limit": (
        [URL, BODY, "--slo=goodput>=9%", "--request-limits=9"],
        "request_limits: '9' is not a latency of more than 0 with its unit",
    ),
    "no option": ([URL, BODY, "--slo=rps>=1", "--", "--no-such-option"], "--no-such-option"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(check: Callable[..., tuple[int, str]], mistake: str) -> None:
    arguments, expected = MISTAKES[mistake]

    code, text = check(*arguments)

    assert code == 2
    assert expected in text
    assert "Traceback" not in text


def test_a_model_without_a_version_is_refused_with_the_command_that_mends_it(
    check: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "saved_model.pb").write_bytes(b"")

    code, text = check(str(plain), "--slo=rps>=1")

    assert code == 2
    assert f"mkdir {plain}-served && cp -r {plain} {plain}-served/1, then give {plain}-served." in text


def test_a_served_model_is_measured(project: Project, newcomers: Path) -> None:
    """One real run, in a process of its own."""
    command = [sys.executable, "-m", "pytest_tfserving.cli", "check", str(newcomers / "numbers")]
    done = subprocess.run(
        [*command, "--slo=max<60s", "--run-time=2", "--users=1", "--json=o.json"],
        cwd=project.pytester.path,
        capture_output=True,
        text=True,
        check=False,
    )

    (result,) = json.loads((project.pytester.path / "o.json").read_text(encoding="utf-8"))["results"]
    assert result["metrics"]["requests"] > 0, done.stdout + done.stderr
    assert result["errors"] == {}
    assert f"numbers on local: {result['verdict']}" in done.stdout
