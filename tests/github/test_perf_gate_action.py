"""The action ``perf-gate``: its steps, run as GitHub's runner runs them, with planted results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from action_runner import FAILURE, SKIPPED, SUCCESS, ActionRun, ActionRunner, FakeApi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Project

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "perf-gate"
MARKER = "<!-- pytest-tfserving perf-gate: perf-gate -->\n"
TOKEN = "ghs_secret"
PULL_REQUEST = {"pull_request": {"number": 7, "head": {"sha": "deadbeef"}}}
# The change that the next run measures is in a file of the workspace.
CONFTEST = """
import json
from pathlib import Path
from types import SimpleNamespace

import planted_results as planted
import pytest
from pytest_tfserving.load.server_comparison import ServerComparison
from pytest_tfserving.slo.change_tests import ServerChange


def compared(_):
    change = ServerChange(*json.loads(Path("change.json").read_text()))
    cause = ("CPU a request differs: 4.1 ms, 3.7 ms",)
    return {"comparison": ServerComparison("a", planted.result(), {"p95_ms": change}, 0.1, cause)}


planted.instead_of_load(SimpleNamespace(monkeypatch=pytest.MonkeyPatch()), compared)
"""
TESTS = """
import pytest


@pytest.mark.parametrize("part", ["a, b: 5%"])
@pytest.mark.slo("p95<=+5%")
def test_gate(load, part):
    print("::warning::printed by the test")
    load().check()
"""
SLOWER, AS_FAST, UNSURE = (0.12, 0.09, 0.15, 0.03), (0.008, -0.012, 0.029, 0.02), (0.04, -0.03, 0.11, 0.11)
INPUTS = {
    "tests": "perf/test_perf.py",
    "target": "local",
    # Each commit has a server of its own.
    "build": 'cp server "$SERVER" && chmod +x "$SERVER"',
    "against": "ref:HEAD^1",
    "arguments": '-p no:locust -s -k "gate and 1cpu"',
    # The plugin is installed: pip has nothing to fetch.
    "install": "--no-index pytest-tfserving",
    "python_version": "",
}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi().serve() as served:
        yield served


class Workspace:
    """The checkout of a project whose last two commits have different servers, and a runner for it."""

    def __init__(self, project: Project, api: FakeApi, temp: Path) -> None:
        self.folder = project.pytester.path
        self._api, self._temp, self._jobs = api, temp, 0
        project.monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "support"))
        project.write(tests=TESTS)
        (self.folder / "perf").mkdir()
        for name in ("test_perf.py", "experiments.yaml", "models", "request.json"):
            (self.folder / name).rename(self.folder / "perf" / name)
        (self.folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        self._git("init", "--quiet", "--initial-branch=main")
        for server in ("the base's server", "the candidate's server"):
            (self.folder / "server").write_text(server, encoding="utf-8")
            self._git("add", "server")
            self._git("commit", "--quiet", "--message=change")

    def gate(
        self, change: tuple[float, ...] = AS_FAST, event: dict[str, Any] = PULL_REQUEST, /, **inputs: str
    ) -> ActionRun:
        """Run the action in a job of its own, with ``inputs`` instead of those of `INPUTS`."""
        self._jobs += 1
        (self.folder / "change.json").write_text(json.dumps(change), encoding="utf-8")
        job = self._temp / f"job-{self._jobs}"
        return ActionRunner(ACTION, self.folder, job, self._api, event).run(TOKEN, **(INPUTS | inputs))

    def files_with(self, text: str) -> list[Path]:
        """Return the files of the workspace and of the jobs that contain a text."""
        files = (path for folder in (self.folder, self._temp) for path in folder.rglob("*") if path.is_file())
        return [path for path in files if text.encode() in path.read_bytes()]

    def _git(self, *arguments: str) -> None:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        subprocess.run(["git", *identity, *arguments], check=True, cwd=self.folder)


@pytest.fixture
def workspace(project: Project, api: FakeApi, tmp_path: Path) -> Workspace:
    return Workspace(project, api, tmp_path / "jobs")


def test_a_slower_commit_fails(workspace: Workspace, api: FakeApi) -> None:
    run = workspace.gate(SLOWER)

    assert run.outcomes["measure"] == run.outcomes["report"] == SUCCESS
    assert run.outcomes["Pass or fail"] == FAILURE
    assert run.outputs["verdict"] == "FAIL"
    _assert_summary(run)
    assert [comment["body"] for comment in api.comments] == [MARKER + run.summary]
    (error,) = run.commands("error")
    assert error.properties == {
        "file": "perf/test_perf.py",
        "line": "5",
        "title": "test_gate[a, b: 5%-1cpu-1gb-1n-interop1]",
    }
    assert "\n  FAIL         p95<=+5%: slower: p95 +12 % [+9.0, +15]\n" in error.message
    assert "::warning::printed by the test" in run.log
    assert not run.commands("warning")
    _assert_files(run)
    # The token went to the API, and nowhere else.
    assert {authorization for *_, authorization in api.requests} == {f"Bearer {TOKEN}"}
    assert TOKEN not in run.log + run.summary + str(run.outputs) + str(api.comments)
    assert not workspace.files_with(TOKEN)


def _assert_summary(run: ActionRun) -> None:
    start = "## ❌ FAIL: `perf-gate`\n\n- ❌ FAIL: `1cpu-1gb-1n-interop1`\n  - ✅ PASS: `rps>=1: rps is 50"
    assert run.summary.startswith(start)
    assert "\n  - ❌ FAIL: `p95<=+5%: slower: p95 +12 % [+9.0, +15]`\n" in run.summary
    assert "\n  - `CPU a request differs: 4.1 ms, 3.7 ms`\n" in run.summary
    assert run.summary.count("## Serving performance") == 1
    assert "Commit deadbeef against `ref:HEAD^1`. [The run](https://github.example/" in run.summary


def _assert_files(run: ActionRun) -> None:
    """Assert that both refs were built and measured, and that the reports are an artifact."""
    folder = Path(run.outputs["html"]).parents[1]
    assert (folder / "candidate" / "server").read_text(encoding="utf-8") == "the candidate's server"
    assert (folder / "baseline" / "server").read_text(encoding="utf-8") == "the base's server"
    assert f"--tfserving-server={folder}/candidate/server --tfserving-against=server:{folder}/base" in run.log
    assert run.used == [("actions/upload-artifact", {"name": "perf-gate", "path": f"{folder}/reports/"})]
    written = {str(path) for path in (folder / "reports").iterdir()}
    named = {"report.md", "results.json"}
    assert written == {run.outputs["html"], run.outputs["junit"], *(f"{folder}/reports/{n}" for n in named)}


def test_a_commit_that_is_as_fast_passes_without_the_right_to_comment(
    workspace: Workspace, api: FakeApi
) -> None:
    api.status = 403

    run = workspace.gate(AS_FAST)

    assert not run.failed
    assert run.outputs["verdict"] == "PASS"
    assert "## ✅ PASS: `perf-gate`\n" in run.summary
    assert "  - ✅ PASS: `p95<=+5%: not slower than +5 %: p95 +0.8 % [-1.2, +2.9]`" in run.summary
    (warning,) = run.commands("warning")
    assert warning.message.startswith(
        "no comment: the token may not write it (status 403). The job needs the "
    )


def test_what_the_data_cannot_decide_is_a_warning(workspace: Workspace) -> None:
    run = workspace.gate(UNSURE, comment="false")

    assert not run.failed
    assert run.outputs["verdict"] == "INCONCLUSIVE"
    (warning,) = run.commands("warning")
    assert warning.properties["file"] == "perf/test_perf.py"
    assert warning.message.startswith("p95<=+5%: INCONCLUSIVE: cannot tell: p95 +4.0 % [-3.0, +11]; this run")


def test_images_are_compared_without_a_build_and_a_usage_error_is_an_error(
    workspace: Workspace, api: FakeApi
) -> None:
    images = {"target": "docker", "image": "serving:pr", "against": "image:serving:main", "build": ""}

    run = workspace.gate(**images, arguments="--no-such-option")

    assert "--tfserving-image=serving:pr --tfserving-against=image:serving:main " in run.log
    assert run.outcomes["Pass or fail"] == FAILURE
    assert run.outputs == {"verdict": "ERROR", "html": "", "junit": ""}
    text = "Nothing was measured: pytest ended with exit code 4. The log of the job has the reason."
    assert text in run.summary
    assert text in api.comments[0]["body"]


def test_a_comment_is_updated_and_those_of_others_stay(workspace: Workspace, api: FakeApi) -> None:
    others = [api.add("Looks good", "User", "MEMBER")["body"] for _ in range(110)]
    stranger = api.add(f"{MARKER}Not from here", "User", "NONE")["body"]

    first, second = workspace.gate(against=""), workspace.gate(target="dockr")

    assert first.summary != second.summary
    assert [comment["body"] for comment in api.comments] == [*others, stranger, MARKER + second.summary]
    assert [method for method, *_ in api.requests] == ["GET", "GET", "POST", "GET", "GET", "PATCH"]


def test_another_gate_has_a_comment_of_its_own(workspace: Workspace, api: FakeApi) -> None:
    workspace.gate(against="")
    workspace.gate(against="", name="gRPC")

    markers = [comment["body"].splitlines()[0] for comment in api.comments]
    assert markers == [MARKER.strip(), "<!-- pytest-tfserving perf-gate: gRPC -->"]


def test_a_push_gets_no_comment(workspace: Workspace, api: FakeApi) -> None:
    run = workspace.gate(AS_FAST, {"after": "deadbeef"}, against="")

    assert "Commit c0ffee against" in run.summary
    assert not api.requests
    (notice,) = run.commands("notice")
    assert notice.message == "no comment: this run belongs to no pull request."


def test_no_comment_on_request(workspace: Workspace, api: FakeApi) -> None:
    run = workspace.gate(against="", comment="false")

    assert run.outcomes["Comment on the pull request"] == SKIPPED
    assert not api.requests


def test_python_is_set_up_by_default(workspace: Workspace) -> None:
    run = workspace.gate(against="", python_version="3.12")

    assert run.used[0] == ("actions/setup-python", {"python-version": "3.12"})


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"target": "dockr"}, "target: 'dockr' is not one of docker, kubernetes, local, url."),
        ({"against": ""}, "against: name the baseline server, as ref:HEAD^1 or image:IMAGE."),
        ({"comment": "yes"}, "comment: 'yes' is not one of true, false."),
        ({"build": ""}, "against: ref:HEAD^1 has to be built; give the command in the input build."),
        (
            {"target": "url", "against": "url:http://a:8501/v1/models/m"},
            "build: target url takes addresses; start both servers, and use against: url:URL.",
        ),
        (
            {"target": "docker", "image": "a", "against": "image:b"},
            "build: there is nothing to build, because image and against name both servers.",
        ),
        (
            {"install": "--no-index no-such-project-at-all"},
            "install: pip could not install --no-index no-such-project-at-all; the log has the reason.",
        ),
        ({"arguments": "-k 'a"}, 'arguments: cannot split "-k \'a" into words: No closing quotation.'),
        ({"ref": "-x"}, "ref: '-x' is not a git ref."),
        (
            {"against": "ref:nowhere"},
            "against: this checkout has no ref 'nowhere' and cannot fetch it; give actions/checkout "
            "fetch-depth: 2 for HEAD^1, and fetch-depth: 0 for other refs.",
        ),
        ({"against": "ref:main"}, "against: ref:main and the candidate are one commit, "),
        ({"build": "exit 3"}, "build: the command ended with exit code 3 for the candidate, "),
        ({"build": "true"}, "build: the command made no executable program $SERVER for the candidate, "),
    ],
)
def test_a_mistake_is_one_sentence(workspace: Workspace, inputs: dict[str, str], sentence: str) -> None:
    run = workspace.gate(AS_FAST, {}, **inputs)

    assert run.failed
    assert run.outcomes["Pass or fail"] == SKIPPED
    assert run.outputs["verdict"] == "ERROR"
    (error,) = run.commands("error")
    assert error.message.startswith(sentence)
    assert f"## ❌ ERROR: `perf-gate`\n\nNothing was measured: `{sentence[:20]}" in run.summary
    assert "Traceback" not in run.log


def test_figures_that_are_too_long_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "report.md").write_text("x" * 65_000, encoding="utf-8")
    (tmp_path / "event.json").write_text("{}", encoding="utf-8")
    environment = {
        "GATE_FOLDER": tmp_path,
        "GITHUB_EVENT_PATH": tmp_path / "event.json",
        "GITHUB_OUTPUT": tmp_path / "output",
        "GITHUB_STEP_SUMMARY": tmp_path / "summary",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "somebody/something",
        "GITHUB_RUN_ID": "1",
        "GITHUB_SHA": "c0ffee",
    }

    subprocess.run(
        [sys.executable, ACTION / "step.py", "report"],
        check=True,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
    )

    text = (tmp_path / "comment.md").read_text(encoding="utf-8")
    assert len(text) < 1000
    assert "The figures are too long for a comment; the report has them." in text


def test_the_workflow_of_this_repository_uses_inputs_that_exist() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "perf-gate.yml").read_text(encoding="utf-8"))
    declared = yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8"))["inputs"]

    checkout, gate = workflow["jobs"]["perf-gate"]["steps"]

    assert checkout["with"]["fetch-depth"] == 2
    assert gate["uses"] == "./.github/actions/perf-gate"
    assert gate["with"].keys() <= declared.keys()
    assert (ROOT / gate["with"]["tests"]).is_dir()
