"""Credentials, wherever somebody may have put them: refused or left out, and never shown or recorded."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import planted_results as planted
from kubeconfigs import config
from pytest_tfserving.cli import main
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.options import OPTIONS, Option, parse_image
from pytest_tfserving.report.json import json_text
from pytest_tfserving.targets.url import parse_url
from pytest_tfserving.text.addresses import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import Project
    from pytest_tfserving.report.schema import SearchData

SECRET = "hunter2"
REPORTS = {
    "--tfserving-json": "out.json",
    "--tfserving-html": "out.html",
    "--tfserving-markdown": "out.md",
    "--junit-xml": "out.xml",
}
ADDRESSES = [
    f"http://alice:{SECRET}@127.0.0.1:1/v1/models/m",
    f"http://{SECRET}@127.0.0.1:1/v1/models/m",
    f"http://127.0.0.1:1/v1/models/m;token={SECRET}",
    f"http://127.0.0.1:1/v1/models/m%3Ftoken={SECRET}",
    f"http://127.0.0.1:1/v1/models/m?token={SECRET}",
    f"http://127.0.0.1:1/v1/models/m#{SECRET}",
    f"http://alice:a/{SECRET}@127.0.0.1:1/v1/models/m",
    f"http://alice:a?{SECRET}@127.0.0.1:1/v1/models/m",
    f"http://alice:a {SECRET}@127.0.0.1:1/v1/models/m",
    f"http://alice:{SECRET}%40127.0.0.1/v1/models/m",
    f"http://alice:{SECRET}/v1/models/m",
    f"alice:{SECRET}@127.0.0.1:1/v1/models/m",
    f"https://alice:{SECRET}@[::1/v1/models/m",
    f"grpc://alice:{SECRET}@127.0.0.1:1/m",
    f"grpcs://127.0.0.1:1/m?key={SECRET}",
    f"ftp://alice:{SECRET}@127.0.0.1/v2/m",
]


def run_and_look(project: Project, *arguments: str, apart: bool = False) -> pytest.RunResult:
    """Run pytest with every report, and fail if the secret is in what it said or wrote."""
    known = set(project.pytester.path.rglob("*"))
    reports = [f"{option}={file}" for option, file in REPORTS.items()]
    run = project.run(*reports, *arguments, server=False, apart=apart)
    said = [*run.outlines, *run.errlines]
    assert not [line for line in said if SECRET in line]
    written = [path for path in project.pytester.path.rglob("*") if path not in known and path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes() and path.suffix != ".pyc"]
    return run


# --- addresses of models ---


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_more_than_a_place_is_refused_unseen(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_url(address)

    assert SECRET not in str(caught.value)
    assert "write it as http://host:8501/v1/models/NAME or grpc://host:8500/NAME" in str(caught.value)


@pytest.mark.parametrize("way", ["command line", "ini", "-o", "toml", "addopts"])
@pytest.mark.parametrize("address", [ADDRESSES[0], ADDRESSES[2], ADDRESSES[7]])
def test_a_run_says_what_is_right_and_never_the_secret(project: Project, way: str, address: str) -> None:
    options = ["--tfserving-target=url"]
    if way == "command line":
        options.append(f"--tfserving-url={address}")
    elif way == "-o":
        options += ["-o", f"tfserving_url={address}"]
    elif way == "addopts":
        project.monkeypatch.setenv("PYTEST_ADDOPTS", f"--tfserving-url={address}")
    elif way == "ini":
        project.pytester.makeini(f"[pytest]\ntfserving_url = {address}\n")
    else:
        (project.pytester.path / "pyproject.toml").write_text(f'[tool.pytest]\ntfserving_url = "{address}"\n')
        if pytest.version_tuple < (9,):
            pytest.skip("pytest reads TOML natively from 9 on")

    run = run_and_look(project, *options)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in run.errlines if "write it" in line]
    assert "--tfserving-header='Authorization: Bearer ${NAME}'" in line or "its port cannot be read" in line


# --- all options ---


@pytest.mark.parametrize("option", [each for each in OPTIONS if not each.is_flag], ids=lambda each: each.name)
@pytest.mark.parametrize("way", ["command line", "ini"])
def test_no_option_shows_credentials(project: Project, option: Option, way: str) -> None:
    if way == "ini":
        project.pytester.makeini(f"[pytest]\n{option.dest} = {ADDRESSES[0]}\n")
    given = [f"{option.flag}={ADDRESSES[0]}"] if way == "command line" else []

    run = project.run(*given, server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert SECRET not in "\n".join([*run.outlines, *run.errlines])


@pytest.mark.parametrize(
    "image",
    [
        f"alice:{SECRET}@registry.example/serving:1",
        f"https://alice:{SECRET}@registry.example/serving",
        f"alice:{SECRET}@registry.example:5000",
        f"alice:{SECRET}@registry.example/serving@sha256:{'0' * 64}",
    ],
)
@pytest.mark.parametrize("option", ["image", "load-image"])
def test_an_image_with_credentials_is_refused_unseen(project: Project, image: str, option: str) -> None:
    run = run_and_look(project, "--tfserving-target=kubernetes", f"--tfserving-{option}={image}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*log in to the registry by docker login*"])


@pytest.mark.parametrize(
    "image", ["serving", "localhost:5000/serving:1", f"registry.example/serving@sha256:{'0123abcd' * 8}"]
)
def test_an_images_own_name_is_taken(image: str) -> None:
    assert parse_image(image) == image


@pytest.mark.parametrize("at", [1, 3])
def test_bake_shows_no_credentials(tmp_path: Path, capsys: pytest.CaptureFixture[str], at: int) -> None:
    words = ["bake", "serving:1", str(tmp_path), "mine:1"]
    words[at] = f"alice:{SECRET}@registry.example/serving:1"

    with pytest.raises(SystemExit):
        main(words)

    said = capsys.readouterr()
    assert "the image's name has a user, a password" in said.err
    assert SECRET not in said.out + said.err


# --- other addresses ---


@pytest.mark.parametrize(
    ("variable", "host", "said"),
    [
        ("DOCKER_HOST", "engine.example:2375", "the engine at {} is another machine's; *"),
        ("CONTAINER_HOST", "127.0.0.1:1", "no container engine answers at {} (*"),
    ],
)
def test_an_engines_address_is_shown_without_credentials(
    project: Project, variable: str, host: str, said: str
) -> None:
    project.monkeypatch.delenv("DOCKER_HOST", raising=False)
    project.monkeypatch.setenv(variable, f"tcp://alice:{SECRET}@{host}")

    # Docker's library leaves the socket open where no engine answers.
    run = run_and_look(project, "--tfserving-target=docker", apart=True)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([said.format(f"tcp://[*][*][*]@{host}")])


@pytest.mark.parametrize(
    "changes",
    [
        {"server": f"http://alice:{SECRET}@127.0.0.1:1"},
        {"server": f"http://alice:{SECRET}@no host"},
        {"server": f"http://127.0.0.1:1?token={SECRET}"},
        {"token": SECRET},
        {"username": "alice", "password": SECRET},
        {"client-key-data": SECRET, "client-certificate-data": SECRET},
    ],
    ids=["server", "malformed server", "query", "token", "password", "key"],
)
def test_a_kubeconfigs_secrets_are_not_shown(project: Project, changes: dict[str, Any]) -> None:
    path = project.pytester.path / "kubeconfig"
    path.write_text(yaml.safe_dump(config(**changes)))

    run = run_and_look(
        project, "--tfserving-target=kubernetes", f"--tfserving-kubeconfig={path}", "--log-level=DEBUG"
    )

    run.assert_outcomes(failed=1)
    run.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("proxy", [f"http://alice:{SECRET}@127.0.0.1:1", f"nothing://alice:{SECRET}@host"])
def test_a_kubeconfigs_proxy_is_not_shown(project: Project, proxy: str) -> None:
    path = project.pytester.path / "kubeconfig"
    content = config()
    content["clusters"][0]["cluster"]["proxy-url"] = proxy
    path.write_text(yaml.safe_dump(content))

    run = run_and_look(project, "--tfserving-target=kubernetes", f"--tfserving-kubeconfig={path}")

    run.assert_outcomes(failed=1)
    run.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_proxies_of_the_environment_are_neither_used_nor_shown(project: Project, variable: str) -> None:
    planted.instead_of_load(project)
    project.monkeypatch.setenv(variable, f"http://alice:{SECRET}@127.0.0.1:1")

    run_and_look(project).assert_outcomes(passed=1)


@pytest.mark.parametrize("key", ["model", "payload"])
def test_the_experiments_file_takes_no_addresses(project: Project, key: str) -> None:
    place = f"https://alice:{SECRET}@host/m.json"
    project.write(f"experiments:\n- {{shape: 1cpu-1gb-1n, inter_op: 1, {key}: '{place}'}}\n")

    run = run_and_look(project)

    run.stdout.fnmatch_lines(
        [f"*experiments.yaml:2: {key} is a name or a path on this machine, not an address."]
    )


@pytest.mark.parametrize("key", ["shape", "protocol", "profile", "slo", "inter_op"])
def test_a_mistake_in_the_experiments_file_shows_no_credentials(project: Project, key: str) -> None:
    keys = {"shape": "1cpu-1gb-1n", "inter_op": 1, key: ADDRESSES[0]}
    project.write(yaml.safe_dump({"experiments": [keys]}))

    run = run_and_look(project)

    run.stdout.fnmatch_lines(["*experiments.yaml:*http://[*][*][*]@127.0.0.1:1/v1/models/m*"])


# --- answers and results ---


class _Redirecting(BaseHTTPRequestHandler):
    """A model that is there, and sends whoever asks it something elsewhere."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        body = json.dumps({"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(302)
        self.send_header("Location", f"http://bob:{SECRET}@host:no-port/?token={SECRET}")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def redirecting() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models/half"
        server.shutdown()
        thread.join()


def test_where_a_server_leads_to_is_not_shown_with_credentials(project: Project, redirecting: str) -> None:
    run = run_and_look(project, "--tfserving-target=url", f"--tfserving-url={redirecting}")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*a first request to *failed: *"])


def test_reports_of_older_results_leave_credentials_out(tmp_path: Path) -> None:
    given = f"the address given, http://alice:{SECRET}@host/v1/models/m?token={SECRET}"
    search: SearchData = {**planted.search(), "experiment": f"http://alice:{SECRET}@host/v1/models/m"}
    source = tmp_path / "old.json"
    document = planted.document(planted.entry(planted.result(via=given)), searches=[search])
    source.write_text(json_text(document))
    outputs = {option: tmp_path / f"new{option}" for option in ("--json", "--html", "--markdown")}

    assert main(["report", str(source), *(f"{option}={path}" for option, path in outputs.items())]) == 0

    texts = [path.read_text() for path in outputs.values()]
    assert not [text for text in texts if SECRET in text]
    assert "the address given, http://***@host/v1/models/m?***" in texts[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://host:1/path", "http://host:1/path"),
        ("at http://a:b@host:1/path, and on", "at http://***@host:1/path, and on"),
        ("http://a:b@c@host/x", "http://***@host/x"),
        ("https://host/x?y=z", "https://host/x?***"),
        ("grpc://host/x#y", "grpc://host/x#***"),
        ("http://a:b@host x http://c:d@host", "http://***@host x http://***@host"),
        ("is --tfserving-url right?", "is --tfserving-url right?"),
        ("is it http://host?", "is it http://host?"),
        ("alice@host", "alice@host"),
    ],
)
def test_what_is_left_of_an_address(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
