"""``--tfserving-locustfile``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import EXPERIMENTS

if TYPE_CHECKING:
    from harness import Project

CLIENT = """
from locust import FastHttpUser, LoadTestShape, constant, task

class Client(FastHttpUser):
    wait_time = constant(0.01)

    @task
    def predict(self):
        self.client.post("/v1/models/half:predict", json={"instances": [1.0, 2.0]})
"""
SHAPE = """
class Climb(LoadTestShape):
    def tick(self):
        return (1, 10) if self.get_run_time() < 1.5 else (4, 10)
"""


def run(project: Project, text: str, *options: str) -> pytest.RunResult:
    (project.pytester.path / "locustfile.py").write_text(text, encoding="utf-8")
    return project.run("--tfserving-locustfile=locustfile.py", "--tfserving-json=out.json", *options)


@pytest.mark.parametrize("processes", [1, 2])
def test_its_users_make_the_load(project: Project, processes: int) -> None:
    project.behave(latencies_ms=[5] * 9 + [300])
    (project.pytester.path / "locustfile.py").write_text(CLIENT, encoding="utf-8")

    done, (result,) = project.results(
        "--tfserving-locustfile=locustfile.py",
        f"--tfserving-load-processes={processes}",
        "--tfserving-run-time=2",
    )

    done.assert_outcomes(passed=1)
    assert result["errors"] == {}
    assert result["generator"]["processes"] == processes
    assert 5 <= result["metrics"]["p50_ms"] < 150
    assert 300 <= result["metrics"]["p95_ms"] < 600


def test_its_shape_is_followed(project: Project) -> None:
    (project.pytester.path / "locustfile.py").write_text(CLIENT + SHAPE, encoding="utf-8")

    done, (result,) = project.results("--tfserving-locustfile=locustfile.py", "--tfserving-run-time=3.5")

    done.assert_outcomes(passed=1)
    assert (result["series"][0]["users"], result["series"][-1]["users"]) == (1, 4)


def test_failures_are_counted_by_cause(project: Project) -> None:
    project.behave(mode="http500", after=20)

    done = run(project, CLIENT, "--tfserving-run-time=10")

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["FAIL: stopped after *500*", "1cpu-1gb-1n-interop1 on local: FAIL"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the locustfile */locustfile.py has no user: no class derived from locust.User."),
        (
            "import nothing_of_that_name",
            "the locustfile */locustfile.py cannot be imported: ModuleNotFoundError: *nothing_of_that_name*",
        ),
        (
            CLIENT + SHAPE + SHAPE.replace("Climb", "Other"),
            "the locustfile */locustfile.py has several shapes, Climb, Other; keep one.",
        ),
    ],
    ids=["no user", "no import", "two shapes"],
)
def test_what_is_wrong_with_it_is_one_sentence(project: Project, text: str, said: str) -> None:
    done = run(project, text)

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([said])
    done.stdout.no_fnmatch_line("*pytest_tfserving*.py*in *")


def test_its_own_traceback_is_shown(project: Project) -> None:
    done = run(project, "def helper():\n    return 1 / 0\n\nhelper()\n")

    done.stdout.fnmatch_lines(
        ["*cannot be imported: ZeroDivisionError: division by zero*", "*line 4, in <module>*"]
    )
    done.stdout.no_fnmatch_line("*load_locustfile*")


def test_a_missing_file_is_named(project: Project) -> None:
    done = project.run("--tfserving-locustfile=nowhere.py")

    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --tfserving-locustfile: there is no file */nowhere.py."])


def test_with_a_rate_it_contradicts_itself(project: Project) -> None:
    done = run(project, CLIENT, "--tfserving-rate=50")

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["load profile 'tiny' has a rate, which only the built-in users keep to; *"])


KINDS = """
from locust import FastHttpUser, constant, task

class Client(FastHttpUser):
    wait_time = constant(0.01)

    @task(9)
    def small(self):
        self.client.post("/v1/models/half:predict", json={"instances": [1.0]}, name="small")

    @task
    def large(self):
        self.client.post("/v1/models/half:predict", json={"instances": [1.0, 2.0, 5.0]}, name="large")
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_names_of_requests_are_kinds(project: Project, processes: int) -> None:
    """A server that is slow for one kind is found by kind."""
    project.behave(slow=[3, 800])
    project.decide_soon()
    # What is asked before and after the load is not slow.
    (project.pytester.path / "request.json").write_text('{"instances": [1.0]}', encoding="utf-8")
    slos = '"p50<500ms", "p95{small}<500ms", "errors{small}<50%", "p95{large}<500ms"'
    profile = "users: 8, spawn_rate: 8, run_time_s: 20, request_limits: {large: 60s, '*': 500ms}"
    project.write(
        EXPERIMENTS.replace('"rps>=1"', slos).replace("users: 2, spawn_rate: 20, run_time_s: 1.2", profile)
    )
    (project.pytester.path / "locustfile.py").write_text(KINDS, encoding="utf-8")

    done, (result,) = project.results(
        "--tfserving-locustfile=locustfile.py", f"--tfserving-load-processes={processes}"
    )

    done.assert_outcomes(failed=1)
    assert {slo["slo"]: slo["verdict"] for slo in result["slos"]} == {
        "p50<500ms": "PASS",
        "p95{small}<500ms": "PASS",
        "errors{small}<50%": "PASS",
        "p95{large}<500ms": "FAIL",
        "errors<1%": "PASS",
    }
    kinds = {name: kind["metrics"] for name, kind in result["kinds"].items()}
    assert kinds["large"]["goodput"] == 1
    assert sum(kind["requests"] for kind in kinds.values()) == result["metrics"]["requests"]
    done.stdout.fnmatch_lines(["  small: rps *", "  large: rps *, p50 8*"])


@pytest.mark.parametrize(
    ("slos", "profile", "said"),
    [
        (
            '"rps>=1", "errors{smal}<50%", "p95{smal}<10s"',
            "",
            "FAIL: p95{smal}<10s: no request was of kind 'smal'; did you mean 'small'? valid: *",
        ),
        (
            '"goodput>=1%"',
            ", request_limits: {smal: 10s}",
            "request_limits of load profile 'tiny': no request was of kind 'smal'; did you mean 'small'? *",
        ),
    ],
    ids=["slo", "limit"],
)
def test_a_kind_that_no_request_has_fails(project: Project, slos: str, profile: str, said: str) -> None:
    """Although the kinds are only known once load has run."""
    project.write(EXPERIMENTS.replace('"rps>=1"', slos).replace("users: 2,", f"users: 2{profile},"))

    done = run(project, KINDS)

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([f"*{said}"])
    done.stdout.no_fnmatch_line("*Traceback*")
