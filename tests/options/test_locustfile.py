"""``--tfserving-locustfile``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
        "--tfserving-run-time=5",
    )

    done.assert_outcomes(passed=1)
    assert result["errors"] == {}
    assert result["generator"]["processes"] == processes
    assert 5 <= result["metrics"]["p50_ms"] < 150
    assert 300 <= result["metrics"]["p95_ms"] < 600


def test_its_shape_is_followed(project: Project) -> None:
    (project.pytester.path / "locustfile.py").write_text(CLIENT + SHAPE, encoding="utf-8")

    done, (result,) = project.results("--tfserving-locustfile=locustfile.py", "--tfserving-run-time=5")

    done.assert_outcomes(passed=1)
    assert (result["series"][0]["users"], result["series"][-1]["users"]) == (1, 4)


def test_failures_are_counted_by_cause(project: Project) -> None:
    project.behave(mode="http500", after=20)

    done = run(project, CLIENT, "--tfserving-run-time=10")

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*1cpu-1gb-1n-interop1 on local: FAIL: stopped after *500*"])


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
