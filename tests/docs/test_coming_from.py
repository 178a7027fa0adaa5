"""Each row of docs/coming-from.md does what it says; a row that no test here executes fails."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

import planted_results as planted
import stored_sessions
from harness import EXPERIMENTS, LONG_ENOUGH
from pytest_tfserving import plugin
from pytest_tfserving.cli import main
from pytest_tfserving.experiments.load_profile import PROFILES
from pytest_tfserving.load.baseline import Baseline
from pytest_tfserving.plugin.options import OPTIONS
from pytest_tfserving.slo.language import Slo, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Project

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
# Of the results that are planted, p95 is so many times p50.
P95_OF_P50 = 1.39
ERRORS = {"errors": {"HTTP 500": 10_000}, "total_errors": 10_000}


class Row(NamedTuple):
    """A row of a tool's table."""

    tool: str
    theirs: str
    ours: str

    def __str__(self) -> str:
        return f"{self.tool}: {self.theirs}"

    @property
    def codes(self) -> list[str]:
        """What is shown as code of ours."""
        return re.findall(r"`([^`]+)`", self.ours)

    @property
    def slo(self) -> str:
        """The SLO that is shown."""
        return next(code.strip('"') for code in self.codes if code.startswith('"'))

    @property
    def fields(self) -> dict[str, float]:
        """The fields of a load profile that are shown with their values."""
        shown = (code for code in self.codes if re.fullmatch(r"\w+: \d+", code))
        return {name: value for code in shown for name, value in yaml.safe_load(code).items()}

    @property
    def options(self) -> list[str]:
        """The options that are shown, with values that fit."""
        return [word for code in self.codes if code.startswith("--") for word in code.split()]


def rows() -> list[Row]:
    """Every row of the page's tables."""
    found, tool = [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        tool = line.removeprefix("## ") if line.startswith("## ") else tool
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if len(cells) == 2 and cells != [tool, "here"]:
            found.append(Row(tool, *cells))
    return found


ROWS = rows()
CHECKS: dict[tuple[str, str], Callable[[Project, Row], None]] = {}


def executes(
    tool: str, *theirs: str
) -> Callable[[Callable[[Project, Row], None]], Callable[[Project, Row], None]]:
    """Make a function the test of the rows of a tool that begin so on the left."""

    def register(check: Callable[[Project, Row], None]) -> Callable[[Project, Row], None]:
        CHECKS.update({(tool, text): check for text in theirs})
        return check

    return register


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_is_true(project: Project, row: Row) -> None:
    assert (row.tool, row.theirs) in CHECKS, "write a check that executes this row"

    CHECKS[row.tool, row.theirs](project, row)


def test_each_check_has_its_row() -> None:
    assert set(CHECKS) == {(row.tool, row.theirs) for row in ROWS}


def judged(project: Project, slos: list[str], **figures: object) -> tuple[pytest.RunResult, str]:
    """Judge a planted result; return the run and the verdict."""
    planted.instead_of_load(project, lambda _: figures)
    project.write(EXPERIMENTS.replace('["rps>=1"]', json.dumps(slos)))
    run, (result,) = project.results()
    return run, str(result["verdict"])


def profile_of(project: Project, *options: str, **written: float) -> dict[str, object]:
    """Return the profile of a run whose profile in the experiments file has ``written``."""
    planted.instead_of_load(project)
    file = yaml.safe_load(EXPERIMENTS)
    if "rate" in written:
        del file["profiles"]["tiny"]["users"], file["profiles"]["tiny"]["think_time_s"]
    file["profiles"]["tiny"] |= {"run_time_s": 60, **written}
    project.write(yaml.safe_dump(file))
    run, (result,) = project.results(*options)
    run.assert_outcomes(passed=1)
    profile: dict[str, object] = result["profile"]
    return profile


# --- k6 ---


@executes("k6", "`thresholds: { http_req_duration: ['p(95)<200'] }`")
@executes("perf_analyzer", "`-l 200 --percentile=95`")
def a_p95_is_judged(project: Project, row: Row) -> None:
    assert {"95", "200"} <= set(re.findall(r"\d+", row.theirs))
    assert (Slo.parse(row.slo).metric, Slo.parse(row.slo).limit, Slo.parse(row.slo).op) == ("p95", 200, "<")
    assert judged(project, [row.slo], p50_ms=190 / P95_OF_P50)[1] == "PASS"
    assert judged(project, [row.slo], p50_ms=210 / P95_OF_P50)[1] == "FAIL"


@executes("k6", "`http_req_failed: ['rate<0.01']`")
def errors_are_limited_without_being_asked(project: Project, row: Row) -> None:
    assert (Slo.parse(row.slo).metric, Slo.parse(row.slo).limit) == ("errors", 1)
    assert judged(project, [row.slo])[1] == "PASS"
    assert judged(project, [row.slo], **ERRORS)[1] == "FAIL"
    run, verdict = judged(project, ["rps>=1"], **ERRORS)
    assert verdict == "FAIL"
    run.stdout.fnmatch_lines([f"*{row.slo}*"])


@executes("k6", "`http_reqs: ['rate>120']`")
def only_successes_count(project: Project, row: Row) -> None:
    assert (Slo.parse(row.slo).metric, Slo.parse(row.slo).limit, Slo.parse(row.slo).op) == ("rps", 120, ">")
    assert judged(project, [row.slo], rps=125)[1] == "PASS"
    # With those that failed there are more than 120 a second.
    _, verdict = judged(project, [row.slo, "errors<90%"], rps=115, **ERRORS)
    assert verdict == "FAIL"


@executes("k6", "`constant-vus` with `vus: 4`, `duration: '30s'`")
@executes("perf_analyzer", "`--concurrency-range 4`")
def users_are_in_the_profile(project: Project, row: Row) -> None:
    assert row.fields["users"] == 4
    assert row.fields.items() <= profile_of(project, **row.fields).items()


@executes("k6", "`sleep(1)` at the end of an iteration")
@executes("Locust", "`wait_time = constant(1)`")
def users_wait_between_requests(project: Project, row: Row) -> None:
    assert row.fields == {"think_time_s": 1}
    project.write(tests=f"def test_gate(load):\n    load(users=1, **{row.fields})\n")

    _, (result,) = project.results()

    assert 1 <= result["total_requests"] <= 4


@executes("k6", "`abortOnFail`")
def load_ends_early(project: Project, row: Row) -> None:
    assert "max_failure_ratio" in row.codes
    project.decide_soon()

    _, (decided,) = project.results(*LONG_ENOUGH)
    project.behave(mode="http500", after=100)
    run, (failed,) = project.results(*LONG_ENOUGH)

    assert decided["decided"]["rps>=1"]["holds"] is True
    assert decided["run_s"] < 50
    assert failed["run_s"] < 50
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*failed, more than 20 %*(*"])


@executes("k6", "`constant-arrival-rate` with `rate: 50`")
def requests_are_sent_at_a_rate(project: Project, row: Row) -> None:
    assert row.fields == {"rate": 50}
    assert profile_of(project, **row.fields)["rate"] == 50
    assert profile_of(project, *row.options)["rate"] == 50


@executes("k6", "exit code 99")
def a_failed_slo_is_the_exit_code(project: Project, row: Row) -> None:
    (code,) = re.findall(r"exit code (\d+)", row.ours)

    run, verdict = judged(project, ["p95<1ms"])

    assert verdict == "FAIL"
    assert run.ret == int(code)
    run.assert_outcomes(failed=1)


@executes("k6", "`--summary-export=FILE`")
@executes("pytest-benchmark", "`--benchmark-json=FILE`")
def figures_are_in_a_file(project: Project, row: Row) -> None:
    planted.instead_of_load(project)

    project.run(*row.options).assert_outcomes(passed=1)

    written = json.loads((project.pytester.path / "FILE").read_text(encoding="utf-8"))
    assert written["results"][0]["metrics"]["p95_ms"] > 0


@executes("k6", "one command with options, without a script, as also hey and wrk have it")
def a_command_needs_no_script(project: Project, row: Row) -> None:
    planted.instead_of_load(project)
    project.monkeypatch.chdir(project.pytester.path)
    program, command, _, *options = shlex.split(row.codes[0])
    url, body = "http://127.0.0.1:9/v1/models/half", '{"instances": [1.0]}'

    # The planted p95 is above the limit.
    assert program == "pytest-tfserving"
    assert main([command, url, f"--body={body}", *options]) == 1


# --- perf_analyzer ---


@executes("perf_analyzer", "`--service-kind=tfserving -u host:8500 -i grpc`")
def an_endpoint_is_loaded_over_grpc(project: Project, row: Row) -> None:
    planted.instead_of_load(project)
    assert "protocol: grpc" in row.codes

    project.write(EXPERIMENTS + "    protocol: grpc\n")
    loaded = project.run(*row.options, server=False)
    project.write()
    refused = project.run(*row.options, server=False)

    loaded.assert_outcomes(passed=1)
    loaded.stdout.fnmatch_lines(["tfserving: 1 experiment, target url: grpc://host:8500/NAME *"])
    assert refused.ret == pytest.ExitCode.USAGE_ERROR


@executes("perf_analyzer", "`--concurrency-range 1:8`")
def users_are_parametrized(project: Project, row: Row) -> None:
    planted.instead_of_load(project)
    decorator, call = row.codes
    project.write(tests=f"import pytest\n{decorator}\ndef test_gate(load, users):\n    {call}\n")

    run, results = project.results("--tfserving-spawn-rate=8")

    run.assert_outcomes(passed=8)
    assert [result["users"] for result in results] == [1, 2, 3, 4, 5, 6, 7, 8]


def sent(project: Project, line: str, request: str) -> str:
    """Return the body of the requests of an experiment with ``line``, if that file has ``request``."""
    runs = planted.instead_of_servers(project)
    (project.pytester.path / "models" / "half" / "1" / "weights").write_text("1", encoding="utf-8")
    file = yaml.safe_load(line)["payload"]
    (project.pytester.path / file).write_text(request, encoding="utf-8")
    project.write(EXPERIMENTS.replace("payload: request.json", line))
    project.run().assert_outcomes(passed=1)
    ((_, body),) = runs
    return body


@executes("perf_analyzer", "`--input-data FILE`")
def a_file_holds_the_request(project: Project, row: Row) -> None:
    (line,) = row.codes

    assert json.loads(sent(project, line, '{"instances": [[1.5], [2.5]]}')) == {"instances": [[1.5], [2.5]]}


@executes("perf_analyzer", "`--model-signature-name NAME`")
def the_request_names_its_signature(project: Project, row: Row) -> None:
    (code,) = row.codes

    body = sent(project, "payload: FILE.json", f'{{{code}, "instances": [1.5]}}')

    assert json.loads(body)["signature_name"] == "NAME"


# --- pytest-benchmark ---


@executes("pytest-benchmark", "the fixture `benchmark` times a function in process")
def load_and_server_have_their_own_processes(project: Project, row: Row) -> None:
    (fixture,) = row.codes
    started: list[str] = []
    start: Callable[..., None] = subprocess.Popen.__init__

    def noted(self: subprocess.Popen[str], args: list[str], *rest: object, **options: object) -> None:
        started.append(" ".join(map(str, args)))
        start(self, args, *rest, **options)

    project.monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    project.behave(pid_file=str(project.pytester.path / "pid"))
    project.write(tests=f"def test_gate({fixture}):\n    {fixture}().check()\n")

    project.run().assert_outcomes(passed=1)

    assert [command for command in started if "worker.py" in command]
    assert int((project.pytester.path / "pid").read_text().split()[0]) != os.getpid()


@executes("pytest-benchmark", "rounds and iterations")
def load_lasts_for_a_time(project: Project, row: Row) -> None:
    fields = dict(zip(row.codes, (3, 7), strict=True))

    assert fields.items() <= profile_of(project, **fields).items()


@executes("pytest-benchmark", "`--benchmark-save=main`")
def a_session_is_saved(project: Project, row: Row) -> None:
    stored_sessions.measure(project)

    project.run(*row.options).assert_outcomes(passed=1)

    assert list((project.pytester.path / ".tfserving").glob("*-main.json"))


@executes("pytest-benchmark", "`--benchmark-compare` with `--benchmark-compare-fail=mean:5%`")
def only_a_change_that_is_proved_fails(project: Project, row: Row) -> None:
    def exit_code(**figures: float) -> int:
        stored_sessions.measure(project, **figures)
        return int(project.run(*row.options).ret)

    stored_sessions.saved(project, p50_ms=300.0)

    assert exit_code(p50_ms=330.0) == pytest.ExitCode.TESTS_FAILED
    assert exit_code(p50_ms=303.0) == pytest.ExitCode.OK
    # So few requests do not prove a change that is as large.
    assert exit_code(p50_ms=318.0, rps=1.0) == pytest.ExitCode.OK


@executes("pytest-benchmark", "no limits without a saved run")
def relative_slos_are_judged_by_the_baseline(project: Project, row: Row) -> None:
    def verdict(baseline_rps: float) -> str:
        pulses = ((200.0, 400.0), (baseline_rps,) * 2, (9.0, 9.0), (50.0, 50.0))
        return judged(project, [row.slo], rps=100, baseline=Baseline(*pulses))[1]

    assert verdict(110) == "PASS"
    assert verdict(150) == "FAIL"


@executes("pytest-benchmark", "always passes unless a comparison fails")
def an_experiment_has_a_verdict(_: Project, row: Row) -> None:
    named = re.findall(r"[A-Z]{2}[A-Z ]*[A-Z]", row.ours)

    assert set(named) == {str(verdict) for verdict in Verdict}


def test_nothing_of_pytest_benchmark_has_our_names() -> None:
    """By its names; beside/test_plugins.py compares with an installed one."""
    assert "they share no option and no fixture" in PAGE.read_text(encoding="utf-8")
    assert all(option.flag.startswith("--tfserving-") for option in OPTIONS)
    assert not set(plugin.__all__) & {"benchmark", "benchmark_weave"}


# --- Locust ---


@executes("Locust", "`locust -u 150 -r 1 -t 5m`")
def the_study_is_a_profile(project: Project, row: Row) -> None:
    users, spawn_rate, minutes = map(int, re.findall(r"\d+", row.theirs))
    name = row.codes[0]

    assert row.fields == {"users": users, "spawn_rate": spawn_rate, "run_time_s": 60 * minutes}
    study = PROFILES[name]
    assert (study.users, study.spawn_rate, study.run_time_s) == tuple(row.fields.values())
    assert row.fields.items() <= profile_of(project, **row.fields).items()
    assert profile_of(project, f"--tfserving-profile={name}")["name"] == name


@executes("Locust", "`--host=http://host:8501`")
def a_host_is_given_or_set_by_the_target(project: Project, row: Row) -> None:
    _, (own,) = project.results()
    planted.instead_of_load(project)

    run = project.run(*row.options, server=False)

    assert own["endpoints"][0].startswith("http://127.0.0.1:")
    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines(["tfserving: 1 experiment, target url: http://host:8501/v1/models/NAME *"])


@executes("Locust", "a listener that sets `process_exit_code`")
def slos_are_the_exit_code(project: Project, row: Row) -> None:
    slos = yaml.safe_load(row.codes[0])["slo"]
    (code,) = re.findall(r"exit code is (\d+)", row.ours)

    assert judged(project, slos, p50_ms=100.0)[0].ret == pytest.ExitCode.OK
    assert judged(project, slos, p50_ms=300.0)[0].ret == int(code)
    assert judged(project, slos, p50_ms=100.0, **ERRORS)[0].ret == int(code)
