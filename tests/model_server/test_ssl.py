"""SSL for gRPC, as an SSLConfig asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from certificates import Pair, authority, certified
from grpc_client import Client
from harness import until
from server_process import Server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("openssl")

ONE = np.array([1], np.float32)


@dataclass(frozen=True)
class Certificates:
    """An authority, a server and a client with its certificates, and a client of another authority."""

    ours: Pair
    server: Pair
    client: Pair
    stranger: Pair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    ours, _ = authority(folder, "ours"), authority(folder, "theirs")
    named = {"localhost": "ours", "client": "ours", "stranger": "theirs"}
    return Certificates(ours, *(certified(folder, name, by) for name, by in named.items()))


def configured(folder: Path, pairs: Certificates, more: str) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\n", "\\n") + '"'

    config = folder / "ssl.txt"
    config.write_text(
        f"server_key: {quoted(pairs.server.key)}\nserver_cert: {quoted(pairs.server.certificate)}\n"
        f"custom_ca: {quoted(pairs.ours.certificate)}\n{more}"
    )
    return f"--ssl_config_file={config}"


def client(server: Server, pairs: Certificates, own: Pair | None) -> Client:
    key, certificate = (own.key.encode(), own.certificate.encode()) if own else (None, None)
    credentials = grpc.ssl_channel_credentials(pairs.ours.certificate.encode(), key, certificate)
    return Client(f"localhost:{server.grpc_port}", credentials)


def refused(asked: Client) -> bool:
    """Whether the connection is: no answer comes, not even an error of the server."""
    with asked:
        call = asked.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=30)
    failed: Any = caught.value
    return bool(failed.code() is grpc.StatusCode.UNAVAILABLE)


def test_a_server_with_a_certificate(models: Path, tmp_path: Path, pairs: Certificates) -> None:
    flag = configured(tmp_path, pairs, "client_verify: false\n")
    with Server("kinds", models / "kinds", flag) as server:
        with client(server, pairs, None) as asked:
            assert asked.predict("kinds", {"x": ONE})["y"].tolist() == [2.5]
        assert refused(Client(f"localhost:{server.grpc_port}"))
        assert server.predict({"instances": [1]}).json() == {"predictions": [2.5]}


def test_clients_are_verified_by_the_custom_authority(
    models: Path, tmp_path: Path, pairs: Certificates
) -> None:
    flag = configured(tmp_path, pairs, "client_verify: true\n")
    with Server("kinds", models / "kinds", flag) as server:
        with client(server, pairs, pairs.client) as asked:
            assert asked.predict("kinds", {"x": ONE})["y"].tolist() == [2.5]
        for unknown in (None, pairs.stranger):
            assert refused(client(server, pairs, unknown))
        with client(server, pairs, pairs.client) as asked:
            assert asked.predict("kinds", {"x": ONE})["y"].tolist() == [2.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "NOT_FOUND: {file}; No such file or directory"),
        ("nonsense", "INVALID_ARGUMENT: Invalid protobuf file: '{file}'"),
        ("client_verify: true", "{file} needs server_key and server_cert, both PEM"),
        ('server_key: "a" server_cert: "b"', "{file} needs server_key and server_cert, both PEM"),
        (
            'server_key: "{key}" server_cert: "{cert}" client_verify: true',
            "{file}: client_verify needs custom_ca, the PEM certificate of who certifies clients",
        ),
    ],
)
def test_configurations_that_do_not_fit(
    models: Path, tmp_path: Path, pairs: Certificates, text: str | None, message: str
) -> None:
    file = tmp_path / "ssl.txt"
    if text is not None:
        key, cert = (part.replace("\n", "\\n") for part in (pairs.server.key, pairs.server.certificate))
        file.write_text(text.replace("{key}", key).replace("{cert}", cert))
    with Server("kinds", models / "kinds", f"--ssl_config_file={file}", ready=False) as server:
        until(lambda: server.process.poll() is not None, "the end")

        assert server.process.returncode == 1
        assert server.log().rstrip().endswith(message.replace("{file}", str(file)))
        assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    "text",
    [
        'server_key: "{raw}" server_cert: "{cert}"',
        'server_keys: "{key}"',
    ],
    ids=["with line ends", "an unknown field"],
)
def test_a_mistake_in_a_configuration_shows_no_key(
    models: Path, tmp_path: Path, pairs: Certificates, text: str
) -> None:
    file = tmp_path / "ssl.txt"
    key, cert = (part.replace("\n", "\\n") for part in (pairs.server.key, pairs.server.certificate))
    text = text.replace("{raw}", pairs.server.key).replace("{key}", key).replace("{cert}", cert)
    file.write_text(text)
    unknown = "--unknown=http://alice:hunter2@host"
    with Server("kinds", models / "kinds", f"--ssl_config_file={file}", unknown, ready=False) as server:
        until(lambda: server.process.poll() is not None, "the end")
        log = server.log()

    assert "Error parsing text-format tensorflow.serving.SSLConfig: 1:" in log
    assert "hunter2" not in log
    assert not [line for line in pairs.server.key.splitlines() if line in log]
