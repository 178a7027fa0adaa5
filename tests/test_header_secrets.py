"""A secret in a header, wherever it may come back: it is sent to the server, and is nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from echoing_server import echoing
from harness import EXPERIMENTS, TESTS
from pytest_tfserving.cli import main
from pytest_tfserving.text import secrets

if TYPE_CHECKING:
    from harness import Project

SECRET = 'kX7/q"Zt-94.2mE'
HEADER = "--tfserving-header=Authorization: Bearer ${TFS_TEST_TOKEN}"
REPORTS = (
    "--tfserving-json=o.json",
    "--tfserving-html=o.html",
    "--tfserving-markdown=o.md",
    "--junit-xml=o.xml",
)
LOUD = ("--tfserving-save=main", "--showlocals", "--full-trace", "-vv", "--log-level=DEBUG")
# The forms in which a report may have the secret.
SPELT = {SECRET, json.dumps(SECRET)[1:-1], SECRET.replace('"', "&quot;"), SECRET.partition('"')[0]}
LOCUSTFILE = """
import os
from locust import HttpUser, FastHttpUser, task

class Loud(HttpUser):
    @task
    def ask(self):
        response = self.client.post("/v1/models/half:predict", json={"instances": [1.0]})
        print("sent", response.request.headers)
        raise RuntimeError(f"no luck with {response.request.headers} and {os.environ['TFS_TEST_TOKEN']}")

class Fast(FastHttpUser):
    @task
    def ask(self):
        name = f"asked with {os.environ['TFS_TEST_TOKEN']}"
        self.client.post("/v1/models/half:predict", json={"instances": [1.0]}, name=name)
"""


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFS_TEST_TOKEN", SECRET)
    monkeypatch.setattr(secrets, "_spellings", {})


def run_and_look(project: Project, url: str, *arguments: str) -> pytest.RunResult:
    """Run pytest with every report, loudly, and fail if the secret is in what it said or wrote."""
    run = project.run(
        "--tfserving-target=url", f"--tfserving-url={url}", *REPORTS, *LOUD, *arguments, server=False
    )
    assert not [line for line in (*run.outlines, *run.errlines) for each in SPELT if each in line]
    written = [path for path in project.pytester.path.rglob("*") if path.is_file()]
    assert {"o.json", "o.html", "o.md", "o.xml"} <= {path.name for path in written}
    assert [path for path in written if ".tfserving" in path.parts]
    assert not [path for path in written for each in SPELT if each.encode() in path.read_bytes()]
    return run


def test_a_run_that_goes_well_sends_it_and_shows_only_its_name(project: Project) -> None:
    with echoing() as server:
        run = run_and_look(project, server.url, HEADER)

    run.assert_outcomes(passed=1)
    assert server.sent("Authorization") == server.sent("Authorization", "half") == {f"Bearer {SECRET}"}
    assert server.arguments
    assert SECRET.encode() not in server.arguments
    assert "with the headers Authorization" in (project.pytester.path / "o.json").read_text()


@pytest.mark.parametrize("right", [0, 3, 8], ids=["first request", "load", "later"])
def test_a_server_that_sends_it_back_is_shown_without_it(project: Project, right: int) -> None:
    with echoing(right) as server:
        run = run_and_look(project, server.url, HEADER)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*HTTP 401: not allowed: *Bearer [*][*][*]*"])


def test_a_server_that_is_down(project: Project) -> None:
    with echoing() as server:
        url = server.url

    run = run_and_look(project, url, HEADER, "--tfserving-ready-timeout=0.1")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*was not AVAILABLE after 0.1 s*"])


def test_a_locustfile_that_raises_with_it(project: Project) -> None:
    (project.pytester.path / "users.py").write_text(LOCUSTFILE)

    with echoing() as server:
        run = run_and_look(project, server.url, HEADER, "--tfserving-locustfile=users.py")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*RuntimeError: no luck with *"])
    assert server.sent("Authorization") == {f"Bearer {SECRET}"}


def test_a_locustfile_that_cannot_be_imported_because_of_it(project: Project) -> None:
    (project.pytester.path / "users.py").write_text(
        "import os\nraise ValueError(os.environ['TFS_TEST_TOKEN'])\n"
    )

    with echoing() as server:
        run = run_and_look(project, server.url, HEADER, "--tfserving-locustfile=users.py")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*cannot be imported: ValueError: [*][*][*]*"])


def test_experiments_have_headers_of_their_own(project: Project) -> None:
    headers = {"Authorization": {"env": "TFS_TEST_TOKEN"}, "X-Tenant": "a", "Host": "model.example.com"}
    document = yaml.safe_load(EXPERIMENTS)
    document["defaults"]["headers"] = headers
    project.write(yaml.safe_dump(document), TESTS)

    with echoing() as server:
        run = run_and_look(project, server.url, "--tfserving-header=X-Tenant: b")

    run.assert_outcomes(passed=1)
    assert server.sent("Authorization") == {SECRET}
    assert server.sent("X-Tenant") == {"b"}
    assert server.sent("Host") == server.sent("Host", "half") == {"model.example.com"}


def test_the_baseline_server_gets_them_too(project: Project) -> None:
    with echoing() as server, echoing() as other:
        run_and_look(
            project, server.url, HEADER, f"--tfserving-against=url:{other.url}", "--tfserving-run-time=1"
        )

    assert other.sent("Authorization") == {f"Bearer {SECRET}"}


def test_the_command_check_takes_them(
    project: Project, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.pytester.path)
    with echoing() as server:
        code = main(
            [
                *("check", server.url, '--body={"instances": [1.0]}', "--slo=p95<9000ms", "--run-time=2"),
                *("--header", "Authorization: Bearer ${TFS_TEST_TOKEN}", "--html=o.html"),
            ]
        )

    said = "".join(capfd.readouterr())
    assert code in (0, 3, 4)  # on a busy machine nothing may be proved
    assert server.sent("Authorization") == {f"Bearer {SECRET}"}
    assert not [
        each for each in SPELT if each in said or each in (project.pytester.path / "o.html").read_text()
    ]
