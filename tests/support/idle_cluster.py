"""An API server that keeps objects, and where nothing ever starts: no controller looks at what it keeps."""

from __future__ import annotations

import copy
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

# The kinds that the plugin deploys, by the path of their group.
_KINDS = {
    "/api/v1": ("Namespace", "Service", "ConfigMap", "Pod"),
    "/apis/apps/v1": ("Deployment", "ReplicaSet"),
    "/apis/batch/v1": ("Job",),
}
_LARGE = {"cpu": "64", "memory": "256Gi", "pods": "110"}
_NODE = {
    "metadata": {"name": "large", "labels": {"pool": "fast"}},
    "spec": {},
    "status": {
        "allocatable": _LARGE,
        "capacity": _LARGE,
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
    },
}
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_RESOURCE = re.compile(
    r"(?:/api/v1|/apis/(?P<group>[^/]+)/v1)(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?/(?P<resource>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?$"
)
_OBJECT = re.compile(r"(/api/v1|/apis/[^/]+/v1)(/namespaces/[^/]+)?/[a-z]+/[^/]+")


class IdleCluster:
    """A cluster with one large node.

    Attributes:
        objects: the objects that exist now, by their paths.
        applied: the paths of the objects that were applied, also of those that are deleted by now.
        sent: the objects that were applied or created, as they were sent.
        forbidden: a function of a verb and a resource, as ``list`` and ``nodes``: whether the user lacks it.
    """

    def __init__(self) -> None:
        self.objects: dict[str, object] = {"/api/v1/nodes/large": _NODE}
        self.applied: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.forbidden: Callable[[str, str], bool] = lambda _verb, _resource: False
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

    def refusal(self, method: str, path: str) -> dict[str, str] | None:
        """Return what the API server says if the user may not do that, None if the user may."""
        match = _RESOURCE.match(path)
        if not match:
            return None
        verb = _VERBS[method] if method != "GET" or match["name"] else "list"
        if not self.forbidden(verb, match["resource"]):
            return None
        where = f'in the namespace "{match["namespace"]}"' if match["namespace"] else "at the cluster scope"
        asked = f'cannot {verb} resource "{match["resource"]}" in API group "{match["group"] or ""}" {where}'
        return {"message": f'{match["resource"]} is forbidden: User "ann" {asked}'}

    def review(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to an access review."""
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(part for part in (asked["resource"], asked["subresource"]) if part)
        return body | {"status": {"allowed": not self.forbidden(asked["verb"], resource)}}

    def create_namespace(self, name: str) -> None:
        """Create a namespace, as the cluster's owner does."""
        self.objects[f"/api/v1/namespaces/{name}"] = {"metadata": {"name": name}}

    def found(self, path: str) -> object:
        """Return the object at a path, the list of objects below it, or None."""
        if path == "/version":
            return {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
        if path in _KINDS:
            names = [{"name": f"{kind.lower()}s", "kind": kind, "namespaced": True} for kind in _KINDS[path]]
            return {"resources": [each | {"namespaced": each["kind"] != "Namespace"} for each in names]}
        if _OBJECT.fullmatch(path):
            return self.objects.get(path)
        return {"items": [each for at, each in self.objects.items() if at.rpartition("/")[0] == path]}


class _Server(ThreadingHTTPServer):
    """A thread a connection; clients that go away are no error."""

    cluster: IdleCluster

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Report an error, unless the client went away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _cluster(self) -> IdleCluster:
        assert isinstance(self.server, _Server)
        return self.server.cluster

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self._may():
            self._send(self._cluster.found(urlsplit(self.path).path))

    def do_POST(self) -> None:
        body = self._body()
        if not self._may():
            return
        if body.get("kind") == "SelfSubjectAccessReview":
            self._send(self._cluster.review(body))
            return
        self._keep(f"{urlsplit(self.path).path}/{body['metadata']['name']}", body)

    def do_PUT(self) -> None:
        body = self._body()
        if self._may():
            self._keep(urlsplit(self.path).path, body)

    def do_PATCH(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if self._may():
            self._cluster.applied.append(path)
            self._keep(path, body)

    def do_DELETE(self) -> None:
        self._body()
        if self._may():
            self._send(self._cluster.objects.pop(urlsplit(self.path).path, None))

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def _keep(self, path: str, body: dict[str, Any]) -> None:
        self._cluster.sent.append(copy.deepcopy(body))
        body["metadata"] |= {"resourceVersion": "1", "uid": path}
        self._cluster.objects[path] = body
        self._send(body)

    def _may(self) -> bool:
        """Return whether the user has the permission; if not, say so."""
        refused = self._cluster.refusal(self.command, urlsplit(self.path).path)
        if refused:
            self._send(refused, 403)
        return refused is None

    def _send(self, body: object, code: int = 200) -> None:
        data = json.dumps({"message": "not found"} if body is None else body).encode()
        self.send_response(404 if body is None else code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
