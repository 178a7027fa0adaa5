"""Standard input of a container, written by Kubernetes' attach over a WebSocket."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from pytest_tfserving.errors import missing_extra
from pytest_tfserving.targets.kubernetes.cluster import CONNECT_S, PODS, UnreachableError
from pytest_tfserving.text.addresses import without_secrets

if TYPE_CHECKING:
    import websocket

    from pytest_tfserving.targets.kubernetes.cluster import Cluster

# The first byte of a message is the number of its stream.
_STDIN = b"\x00"
_PROTOCOL = "v4.channel.k8s.io"
_MOST_BYTES = 1 << 15


class StandardInput:
    """Standard input of a running container; the first write opens the connection."""

    def __init__(self, cluster: Cluster, namespace: str, pod: str, container: str) -> None:
        self._cluster = cluster
        self._path = f"{PODS.path(namespace, pod)}/attach"
        self._query = {"container": container, "stdin": "true", "stdout": "false", "stderr": "false"}
        self._socket: websocket.WebSocket | None = None

    def write(self, data: bytes) -> None:
        """Write ``data``; open a connection if there is none.

        Raises:
            UnreachableError: if ``data`` cannot be written; a part of it may have been written.
            ConfigurationError: if the library for WebSockets is not installed.
        """
        try:
            self._send(data)
        except UnreachableError:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection; the container's standard input stays open."""
        if self._socket is not None:
            with suppress(Exception):
                self._socket.close(timeout=CONNECT_S)
        self._socket = None

    def _send(self, data: bytes) -> None:
        import websocket

        try:
            self._socket = self._socket or self._connected()
            for start in range(0, len(data), _MOST_BYTES):
                self._socket.send_binary(_STDIN + data[start : start + _MOST_BYTES])
        except (websocket.WebSocketException, OSError) as error:
            where = self._path.split("/")[-2]
            raise UnreachableError(
                f"cannot write to the stdin of load Pod {where}: {without_secrets(str(error))}"
            ) from None

    def _connected(self) -> websocket.WebSocket:
        try:
            import websocket
        except ModuleNotFoundError as error:
            raise missing_extra(str(error.name), "kubernetes", "load inside the cluster") from None

        url, headers, tls = self._cluster.websocket(f"{self._path}?{urlencode(self._query)}")
        return websocket.create_connection(
            url,
            timeout=CONNECT_S,
            header=[f"{name}: {value}" for name, value in headers.items()],
            subprotocols=[_PROTOCOL],
            sslopt=tls,
            http_no_proxy=["*"],
            enable_multithread=True,
        )
