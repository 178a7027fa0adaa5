"""Errors of a cluster's API server, each one sentence."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.targets.kubernetes.cluster import NODES, Cluster, PermissionMissingError
from pytest_tfserving.targets.kubernetes.context import Context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.targets.kubernetes.context import Kubeconfig


class _Refusal(BaseHTTPRequestHandler):
    """Answers as an API server answers a user who may not list nodes."""

    def do_GET(self) -> None:
        reason = 'User "me" cannot list resource "nodes" in API group "" at the cluster scope'
        body = json.dumps({"message": f"nodes is forbidden: {reason}"}).encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[Cluster]:
    with HTTPServer(("127.0.0.1", 0), _Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        config: Kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
            "clusters": [{"name": "fake", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {}}],
        }
        cluster = Cluster(Context("fake", url, config))
        yield cluster
        cluster.close()
        server.shutdown()


def test_a_missing_permission_names_the_command(refusing: Cluster) -> None:
    with pytest.raises(PermissionMissingError) as caught:
        refusing.items(NODES)

    assert str(caught.value) == (
        "the user of context 'fake' lacks a permission: list nodes; "
        "`pytest-tfserving rbac` prints roles that have what is needed."
    )
