"""How a user of a cluster proves who they are: by certificates and log-ins that are never in a file."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import websocket
import yaml

from harness import FEW_PLUGINS, PATIENCE_S
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.targets.kubernetes.cluster import Cluster, UnreachableError
from pytest_tfserving.targets.kubernetes.context import pinned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import Project

pytestmark = pytest.mark.needs("openssl")

BEGINS = "-----BEGIN"


class Pair(NamedTuple):
    """A certificate that signs itself, and its key, as files."""

    certificate: Path
    key: Path

    @property
    def data(self) -> dict[str, str]:
        """A kubeconfig's user."""
        return {
            "client-certificate-data": base64.b64encode(self.certificate.read_bytes()).decode(),
            "client-key-data": base64.b64encode(self.key.read_bytes()).decode(),
        }


def pair(folder: Path, name: str, *options: str) -> Pair:
    made = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "1", "-subj", f"/CN={name}"),
        *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(made.key), "-out", str(made.certificate)),
        *(options or ("-nodes",)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("pairs")
    made = {name: pair(folder, name) for name in ("server", "client", "other")}
    return made | {"encrypted": pair(folder, "encrypted", "-passout", "pass:hunter2")}


class _Asked(BaseHTTPRequestHandler):
    """Says who asked, by certificate and header."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        subject = dict(each[0] for each in (self.connection.getpeercert() or {}).get("subject", ()))
        body = json.dumps(
            {"client": subject.get("commonName"), "authorization": self.headers["Authorization"]}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def api_server(pairs: dict[str, Pair]) -> Iterator[str]:
    """An API server that asks clients for certificates."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*pairs["server"])
    tls.load_verify_locations(pairs["client"].certificate)
    tls.verify_mode = ssl.CERT_OPTIONAL
    with ThreadingHTTPServer(("127.0.0.1", 0), _Asked) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def written(folder: Path, server: str, user: dict[str, Any], **cluster: object) -> Path:
    """Write a kubeconfig."""
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kind-one",
        "contexts": [{"name": "kind-one", "context": {"cluster": "one", "user": "me"}}],
        "clusters": [{"name": "one", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "me", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def authority(pairs: dict[str, Pair]) -> dict[str, str]:
    data = base64.b64encode(pairs["server"].certificate.read_bytes()).decode()
    return {"certificate-authority-data": data}


def connected(path: Path) -> Cluster:
    return Cluster(pinned([path], "", []))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder in which everything that is written is seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def plugin(folder: Path, status: dict[str, Any]) -> dict[str, Any]:
    """Return a user with a log-in plug-in that gives ``status``, and notes that it was asked."""
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    (folder / "answer.json").write_text(json.dumps(answer))
    program = folder / "login"
    program.write_text(f"#!/bin/sh\necho >> {folder}/asked\ncat {folder}/answer.json\n")
    program.chmod(0o755)
    command = {"command": str(program), "interactiveMode": "Never", "apiVersion": answer["apiVersion"]}
    return {"exec": command}


def asked(folder: Path) -> int:
    return len((folder / "asked").read_text().splitlines())


# --- certificates ---


@pytest.mark.parametrize("way", ["data", "files", "both in one file", "plug-in"])
def test_a_client_shows_its_certificate_and_writes_nothing(
    tmp_path: Path, temporary: Path, pairs: dict[str, Pair], api_server: str, way: str
) -> None:
    client = pairs["client"]
    texts = client.certificate.read_text(), client.key.read_text()
    (tmp_path / "both.pem").write_text("".join(texts))
    user: dict[str, Any] = {
        "data": client.data,
        "files": {"client-certificate": str(client.certificate), "client-key": str(client.key)},
        "both in one file": {"client-certificate": "both.pem"},
        "plug-in": plugin(
            tmp_path, dict(zip(("clientCertificateData", "clientKeyData"), texts, strict=True))
        ),
    }[way]
    cluster = connected(written(tmp_path, api_server, user, **authority(pairs)))

    assert cluster.get("/version")["client"] == "client"

    url, headers, tls = cluster.websocket("/attach")
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(url, header=headers, sslopt=tls, timeout=20)
    assert json.loads(caught.value.resp_body or b"{}")["client"] == "client"
    cluster.close()
    assert list(temporary.iterdir()) == []


def test_an_api_server_is_verified(tmp_path: Path, pairs: dict[str, Pair], api_server: str) -> None:
    data = base64.b64encode(pairs["other"].certificate.read_bytes()).decode()
    cluster = connected(written(tmp_path, api_server, {}, **{"certificate-authority-data": data}))

    with pytest.raises(UnreachableError, match="does not answer"):
        cluster.get("/version")
    _, _, tls = cluster.websocket("/attach")
    with pytest.raises(ssl.SSLError):
        websocket.create_connection(cluster.websocket("/")[0], sslopt=tls, timeout=20)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_an_api_server_is_not_verified_where_nobody_wants_it(
    tmp_path: Path, pairs: dict[str, Pair], api_server: str
) -> None:
    user = pairs["client"].data
    cluster = connected(written(tmp_path, api_server, user, **{"insecure-skip-tls-verify": True}))

    assert cluster.get("/version")["client"] == "client"


def test_an_api_server_may_have_a_name_of_its_own(
    tmp_path: Path, pairs: dict[str, Pair], api_server: str
) -> None:
    address = api_server.replace("localhost", "127.0.0.1")
    own = {**authority(pairs), "tls-server-name": "localhost"}

    assert "client" in connected(written(tmp_path, address, {}, **own)).get("/version")
    with pytest.raises(UnreachableError):
        connected(written(tmp_path, address, {}, **authority(pairs))).get("/version")


@pytest.mark.parametrize(
    ("of", "changes", "said"),
    [
        ("client", {"client-key-data": "hunter2"}, "its client-key-data is not base64"),
        ("client", {"client-key-data": 7}, "its client-key-data is not base64"),
        ("client", {"client-key-data": "aHVudGVyMg=="}, "its certificates cannot be loaded: "),
        ("other", {"client-key-data": "client"}, "its certificates cannot be loaded: "),
        ("encrypted", {}, "its certificates cannot be loaded: "),
        (
            "client",
            {"client-key-data": None, "client-key": "nowhere"},
            "/nowhere cannot be read: No such file",
        ),
    ],
    ids=["no base64", "a number", "no key", "another's key", "an encrypted key", "no file"],
)
def test_a_certificate_that_is_of_no_use_is_said_in_one_sentence(  # noqa: PLR0913, PLR0917 - a table
    tmp_path: Path,
    temporary: Path,
    pairs: dict[str, Pair],
    of: str,
    changes: dict[str, Any],
    said: str,
) -> None:
    if changes.get("client-key-data") == "client":
        changes = {"client-key-data": pairs["client"].data["client-key-data"]}
    user = pairs[of].data | changes

    with pytest.raises(ConfigurationError) as caught:
        connected(written(tmp_path, "https://localhost:1", user, **authority(pairs)))

    assert str(caught.value).startswith("context 'kind-one' cannot be used: ")
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert list(temporary.iterdir()) == []


def test_a_killed_run_leaves_no_key(project: Project, tmp_path: Path, pairs: dict[str, Pair]) -> None:
    """The run is killed while it waits for an API server that says nothing."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        server = f"https://localhost:{silent.getsockname()[1]}"
        path = written(project.pytester.path, server, pairs["client"].data, **authority(pairs))
        run = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", *FEW_PLUGINS, "--tfserving-target=kubernetes"),
                f"--tfserving-kubeconfig={path}",
            ],
            cwd=project.pytester.path,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            connection, _ = silent.accept()
            with connection:
                run.send_signal(signal.SIGKILL)
                run.wait()
        finally:
            run.kill()
            run.wait()

    left = [each for each in temporary.rglob("*") if each.is_file()]
    assert not [each for each in left if BEGINS.encode() in each.read_bytes()]


# --- log-ins ---


def test_a_plugins_token_is_sent(
    tmp_path: Path, temporary: Path, pairs: dict[str, Pair], api_server: str
) -> None:
    user = plugin(tmp_path, {"token": "hunter2"})
    cluster = connected(written(tmp_path, api_server, user, **authority(pairs)))

    assert [cluster.get("/version")["authorization"] for _ in range(3)] == ["Bearer hunter2"] * 3

    assert asked(tmp_path) == 1
    assert list(temporary.iterdir()) == []


def test_a_plugin_is_asked_again_when_a_token_ends(
    tmp_path: Path, pairs: dict[str, Pair], api_server: str
) -> None:
    user = plugin(tmp_path, {"token": "old", "expirationTimestamp": "2020-01-01T00:00:00Z"})
    cluster = connected(written(tmp_path, api_server, user, **authority(pairs)))

    plugin(tmp_path, {"token": "new", "expirationTimestamp": "2999-01-01T00:00:00Z"})

    assert [cluster.get("/version")["authorization"] for _ in range(3)] == ["Bearer new"] * 3
    assert asked(tmp_path) == 2


def test_a_plugin_that_fails_later_leaves_what_there_was(
    tmp_path: Path, pairs: dict[str, Pair], api_server: str
) -> None:
    user = plugin(tmp_path, {"token": "old", "expirationTimestamp": "2020-01-01T00:00:00Z"})
    cluster = connected(written(tmp_path, api_server, user, **authority(pairs)))

    (tmp_path / "answer.json").unlink()

    assert cluster.get("/version")["authorization"] == "Bearer old"


@pytest.mark.parametrize(
    ("user", "header"),
    [({"token": "t"}, "Bearer t"), ({"username": "a", "password": "b"}, "Basic YTpi"), ({}, None)],
)
def test_other_logins_are_sent(
    tmp_path: Path, pairs: dict[str, Pair], api_server: str, user: dict[str, str], header: str | None
) -> None:
    cluster = connected(written(tmp_path, api_server, user, **authority(pairs)))

    assert cluster.get("/version")["authorization"] == header
