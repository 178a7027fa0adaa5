"""An API server that keeps objects, and where nothing ever starts: no controller looks at what it keeps."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

# The kinds that the plugin deploys, by the path of their group.
_KINDS = {
    "/api/v1": ("Namespace", "Service", "ConfigMap", "Pod"),
    "/apis/apps/v1": ("Deployment", "ReplicaSet"),
    "/apis/batch/v1": ("Job",),
}
_LARGE = {"cpu": "64", "memory": "256Gi", "pods": "110"}
_NODE = {
    "metadata": {"name": "large", "labels": {}},
    "spec": {},
    "status": {
        "allocatable": _LARGE,
        "capacity": _LARGE,
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
    },
}
_OBJECT = re.compile(r"(/api/v1|/apis/[^/]+/v1)(/namespaces/[^/]+)?/[a-z]+/[^/]+")


class IdleCluster:
    """A cluster with one large node.

    Attributes:
        objects: the objects that exist now, by their paths.
        applied: the paths of the objects that were applied, also of those that are deleted by now.
    """

    def __init__(self) -> None:
        self.objects: dict[str, object] = {"/api/v1/nodes/large": _NODE}
        self.applied: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.cluster = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """The address of the API server."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def namespaces(self) -> list[str]:
        """The names of the namespaces that exist now."""
        prefix = "/api/v1/namespaces/"
        return [name for path in self.objects if "/" not in (name := path.removeprefix(prefix))]

    def create_namespace(self, name: str) -> None:
        """Create a namespace, as the cluster's owner does."""
        self.objects[f"/api/v1/namespaces/{name}"] = {"metadata": {"name": name}}

    def found(self, path: str) -> object:
        """Return the object at a path, the list of objects below it, or None."""
        if path in _KINDS:
            names = [{"name": f"{kind.lower()}s", "kind": kind, "namespaced": True} for kind in _KINDS[path]]
            return {"resources": [each | {"namespaced": each["kind"] != "Namespace"} for each in names]}
        if _OBJECT.fullmatch(path):
            return self.objects.get(path)
        return {"items": [each for at, each in self.objects.items() if at.rpartition("/")[0] == path]}


class _Server(ThreadingHTTPServer):
    cluster: IdleCluster


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _cluster(self) -> IdleCluster:
        assert isinstance(self.server, _Server)
        return self.server.cluster

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._send(self._cluster.found(urlsplit(self.path).path))

    def do_POST(self) -> None:
        body = self._body()
        self._keep(f"{urlsplit(self.path).path}/{body['metadata']['name']}", body)

    def do_PUT(self) -> None:
        self._keep(urlsplit(self.path).path, self._body())

    def do_PATCH(self) -> None:
        path = urlsplit(self.path).path
        self._cluster.applied.append(path)
        self._keep(path, self._body())

    def do_DELETE(self) -> None:
        self._body()
        self._send(self._cluster.objects.pop(urlsplit(self.path).path, None))

    def _body(self) -> dict[str, dict[str, str]]:
        body: dict[str, dict[str, str]] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def _keep(self, path: str, body: dict[str, dict[str, str]]) -> None:
        body["metadata"] |= {"resourceVersion": "1", "uid": path}
        self._cluster.objects[path] = body
        self._send(body)

    def _send(self, body: object) -> None:
        data = json.dumps({"message": "not found"} if body is None else body).encode()
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
