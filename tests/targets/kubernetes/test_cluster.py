"""Errors of a cluster's API server, each one sentence."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.targets.kubernetes.cluster import NODES, PODS, Cluster, PermissionMissingError
from pytest_tfserving.targets.kubernetes.context import Context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.targets.kubernetes.context import Kubeconfig


class _Refusal(BaseHTTPRequestHandler):
    """Answers as an API server answers a user who may not list nodes, or who is unknown to it."""

    def do_GET(self) -> None:
        reason = 'User "me" cannot list resource "nodes" in API group "" at the cluster scope'
        is_known = "/nodes" in self.path
        message = f"nodes is forbidden: {reason}" if is_known else "Unauthorized"
        body = json.dumps({"message": message}).encode()
        self.send_response(403 if is_known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[Cluster]:
    with HTTPServer(("127.0.0.1", 0), _Refusal) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
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


def test_a_user_whom_the_cluster_does_not_know_gets_a_command_to_try(refusing: Cluster) -> None:
    with pytest.raises(ConfigurationError) as caught:
        refusing.items(PODS)

    assert str(caught.value) == (
        f"the API server of context {refusing.context} refuses its user: Unauthorized; log in to the cluster "
        "again, until this command works: kubectl --context fake get nodes"
    )
