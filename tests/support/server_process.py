"""A server process and how it is asked."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import requests

from harness import until
from pytest_tfserving.load.generator.generator import LoadPlan
from pytest_tfserving.protocols.answer import ExpectedAnswer
from pytest_tfserving.protocols.prepared_requests import PreparedRequests
from pytest_tfserving.system.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.experiments.load_profile import LoadProfile


def free_port() -> int:
    """A port nobody listens on."""
    (port,) = free_ports(1)
    return port


def half_plus_two_plan(profile: LoadProfile) -> LoadPlan:
    """Load on a server of half_plus_two, as a profile has it."""
    return LoadPlan(
        profile=profile,
        requests=PreparedRequests.of(b'{"instances": [1.0, 2.0, 5.0]}'),
        paths=("/v1/models/half_plus_two:predict",),
        expected={0: ExpectedAnswer("predictions", [3], [2.5, 3.0, 4.5])},
        stall_s=20.0,
    )


class Server:
    """One embedded server; inside the context its model is AVAILABLE unless ``ready`` is False.

    Without a ``folder`` the flags say what is served, and ``name`` is the model that is asked.
    """

    def __init__(self, name: str, folder: Path | None, *flags: str, ready: bool = True) -> None:
        self.name = name
        self.port, self.grpc_port = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.model = f"{self.address}/v1/models/{name}"
        self._ready = ready
        self._log = Path(tempfile.mkstemp(prefix="server-", suffix=".log")[1])
        self.command = [
            *(sys.executable, "-m", "pytest_tfserving.model_server", f"--rest_api_port={self.port}"),
            *(f"--port={self.grpc_port}", "--max_num_load_retries=0"),
            *([f"--model_name={name}", f"--model_base_path={folder}"] if folder else []),
            *flags,
        ]

    def __enter__(self) -> Self:
        self.session = requests.Session()
        self.session.trust_env = False
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT)
        if self._ready:
            until(lambda: self.serves() or self.process.poll() is not None, "a server")
            assert self.process.poll() is None, self.log()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.process.kill()
        self.process.wait()
        self._log.unlink()

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(errors="replace")

    def serves(self) -> bool:
        """Whether its port answers."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def predict(
        self, body: object, path: str = "", headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send a predict request; ``body`` is JSON unless it is bytes."""
        return self.post(body, f"{path}:predict", headers)

    def post(self, body: object, path: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Send JSON, or bytes, to a path below the model's."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.session.post(f"{self.model}{path}", data=data, timeout=60, headers=headers)

    def states(self, name: str = "") -> dict[str, str]:
        """The state of each version of a model, the highest first; empty when none was ever seen."""
        found = self.get(f"/v1/models/{name or self.name}").json().get("model_version_status", [])
        return {each["version"]: each["state"] for each in found}

    def get(self, path: str) -> requests.Response:
        """Get a path of the server."""
        return self.session.get(f"{self.address}{path}", timeout=60)

    def raw(self, data: bytes) -> bytes:
        """Send bytes over a connection of their own and read to its end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(1 << 16):
                parts.append(part)
        return b"".join(parts)
