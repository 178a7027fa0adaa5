"""Headers and TLS of clients, before load and in load, over REST and gRPC."""

from __future__ import annotations

import ssl
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from certificates import authority, certified
from echoing_server import PATH, echoing
from pytest_tfserving.deployment.deployment import Endpoint
from pytest_tfserving.errors import ConfigurationError, LoadError
from pytest_tfserving.experiments.client_settings import ClientSettings
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.client import client_for
from pytest_tfserving.protocols.client_access import header_values, tls_context
from pytest_tfserving.protocols.serving_protocol import SentRequests
from pytest_tfserving.protocols.transport import ExchangeError
from pytest_tfserving.text import secrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import Project

HOST = "model.example.com"
BODY = b'{"instances": [1.0]}'
HEADERS = (("Authorization", "Bearer ${TFS_TEST_TOKEN}"), ("X-Tenant", "a"), ("Host", HOST))
LOCUSTFILE = """
from locust import FastHttpUser, HttpUser, constant

def ask(user):
    user.client.post("/v1/models/half:predict", json={"instances": [1.0]})
    user.client.get("%(other)s", headers={"X-By": type(user).__name__})
    user.client.get("/to/%(other)s", headers={"X-By": type(user).__name__})
    user.client.post("/v1/models/half:predict", json={"instances": [1.0]}, headers={"X-Tenant": "own"})

class Plain(HttpUser):
    wait_time, tasks = constant(0.05), [ask]

class Fast(FastHttpUser):
    wait_time, tasks = constant(0.05), [ask]
"""


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFS_TEST_TOKEN", "the-token")
    monkeypatch.setattr(secrets, "_spellings", {})


@dataclass(frozen=True)
class Files:
    """The files of one server, and of its clients."""

    folder: Path
    client: ClientSettings

    def server_context(self) -> ssl.SSLContext:
        """Return the context of a server that takes clients with a certificate only."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.folder / "ours.pem"))
        context.load_cert_chain(self.folder / f"{HOST}.pem", self.folder / f"{HOST}.key")
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("certificates")
    authority(folder, "ours")
    certified(folder, HOST, "ours")
    certified(folder, "client", "ours")
    paths = [str(folder / name) for name in ("ours.pem", "client.pem", "client.key")]
    return Files(folder, ClientSettings(HEADERS, *paths))


def loaded(endpoint: Endpoint, body: bytes) -> tuple[int, bytes]:
    """Return the response to one request as load sends it."""
    protocol = SERVING_PROTOCOLS[endpoint.protocol]
    requests = SentRequests([endpoint], [f"{PATH}:predict"], [protocol.framed(body)], 20.0)
    connection: Any = protocol.connections(requests)(0)
    try:
        status, answer = connection.exchange()
    finally:
        connection.close()
    return status, answer


# --- headers ---


def test_over_rest_each_request_has_them() -> None:
    with echoing() as server:
        endpoint = Endpoint("127.0.0.1", server.server_port, client=ClientSettings(HEADERS))
        with client_for(endpoint, PATH) as asked:
            assert asked.state()[0] == "AVAILABLE"
            assert asked.predict(BODY, 20.0)[0] == 200
        assert loaded(endpoint, BODY) == (200, b'{"predictions": [2.5]}')

    assert len(server.seen) == 3
    for name, value in {"Authorization": "Bearer the-token", "X-Tenant": "a", "Host": HOST}.items():
        assert server.sent(name, "") == {value}


class _Noting(grpc.GenericRpcHandler):  # type: ignore[misc] # gRPC has no types for it
    """A service that notes the metadata of calls, and sends each request back."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Take every method."""
        self.seen.append(dict(handler_call_details.invocation_metadata))
        return grpc.unary_unary_rpc_method_handler(self._echo)

    def _echo(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.seen[-1]["authority"] = getattr(context, "host", lambda: "")()
        return request


@contextmanager
def calling(credentials: grpc.ServerCredentials | None = None) -> Iterator[tuple[_Noting, int]]:
    """Serve gRPC inside the context."""
    noting, server = _Noting(), grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([noting])
    place = "127.0.0.1:0"
    port = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
    server.start()
    try:
        yield noting, port
    finally:
        server.stop(0).wait()


def test_over_grpc_each_call_has_them_as_metadata() -> None:
    with calling() as (noting, port):
        endpoint = Endpoint("127.0.0.1", port, protocol="grpc", client=ClientSettings(HEADERS))
        with client_for(endpoint, PATH) as asked:
            assert asked.predict(b"once", 20.0) == (0, b"once")
        assert loaded(endpoint, b"twice") == (0, b"twice")

    assert [each["authorization"] for each in noting.seen] == ["Bearer the-token"] * 2
    assert [each["x-tenant"] for each in noting.seen] == ["a"] * 2


@pytest.mark.parametrize("value", ["", "q7\r\nw5", "q7\u00fcw5", " q7w5"])
def test_a_value_that_cannot_be_sent_is_refused_unseen(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TFS_TEST_TOKEN", value)

    with pytest.raises(
        ConfigurationError, match=r"^the value of header Authorization in the environment "
    ) as seen:
        header_values(ClientSettings(HEADERS))

    assert "q7" not in str(seen.value)


# --- TLS ---


@pytest.mark.needs("openssl")
def test_over_rest_both_sides_have_certificates(files: Files) -> None:
    with echoing(context=files.server_context()) as server:
        endpoint = Endpoint("127.0.0.1", server.server_port, tls=True, client=files.client)
        with client_for(endpoint, PATH) as asked:
            assert asked.state()[0] == "AVAILABLE"
        assert loaded(endpoint, BODY)[0] == 200


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("lacking", ["CA file", "client certificate", "host"])
def test_without_one_of_them_there_is_no_response(files: Files, lacking: str) -> None:
    without = {
        "CA file": {"ca_file": ""},
        "client certificate": {"certificate": "", "key": ""},
        "host": {"headers": ()},
    }
    client = replace(files.client, **without[lacking])  # type: ignore[arg-type] # fields of several types
    with echoing(context=files.server_context()) as server:
        endpoint = Endpoint("127.0.0.1", server.server_port, tls=True, client=client)
        with client_for(endpoint, PATH) as asked, pytest.raises(LoadError):
            asked.predict(BODY, 20.0)
        with pytest.raises(ExchangeError):
            loaded(endpoint, BODY)

    assert not server.seen


@pytest.mark.needs("openssl")
def test_over_grpc_both_sides_have_certificates(files: Files) -> None:
    pair = ((files.folder / f"{HOST}.key").read_bytes(), (files.folder / f"{HOST}.pem").read_bytes())
    ours = (files.folder / "ours.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([pair], ours, require_client_auth=True)
    with calling(credentials) as (noting, port):
        endpoint = Endpoint("127.0.0.1", port, tls=True, protocol="grpc", client=files.client)
        with client_for(endpoint, PATH) as asked:
            assert asked.predict(b"once", 20.0) == (0, b"once")
        assert loaded(endpoint, b"twice") == (0, b"twice")

    assert [each["x-tenant"] for each in noting.seen] == ["a"] * 2


@pytest.mark.needs("openssl")
def test_a_key_of_another_certificate_is_named(files: Files) -> None:
    other = str(files.folder / f"{HOST}.key")
    client = ClientSettings(HEADERS, "", files.client.certificate, other)

    with pytest.raises(ConfigurationError, match=r"cannot be used: .* is not its key"):
        tls_context(Endpoint("127.0.0.1", 1, tls=True, client=client))


# --- locustfiles ---


@pytest.mark.needs("openssl")
def test_clients_of_a_locustfile_have_them_for_the_target_alone(project: Project, files: Files) -> None:
    with echoing() as other, echoing(context=files.server_context()) as server:
        (project.pytester.path / "users.py").write_text(LOCUSTFILE % {"other": other.url})
        run = project.run(
            *("--tfserving-target=url", f"--tfserving-url={server.url}", "--tfserving-locustfile=users.py"),
            *(f"--tfserving-header={name}: {value}" for name, value in HEADERS),
            f"--tfserving-ca-file={files.client.ca_file}",
            f"--tfserving-client-certificate={files.client.certificate}",
            f"--tfserving-client-key={files.client.key}",
            server=False,
        )

    run.assert_outcomes(passed=1)
    assert server.sent("Authorization", "") == {"Bearer the-token"}
    assert server.sent("Host", "") == {HOST}
    assert server.sent("X-Tenant") == {"a", "own"}
    assert other.sent("X-By", "") == {"Plain", "Fast"}
    assert other.sent("Authorization", "") == other.sent("X-Tenant", "") == {None}
