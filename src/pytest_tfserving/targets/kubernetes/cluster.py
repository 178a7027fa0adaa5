"""Client of a cluster's API server, with plain objects, and errors of one sentence."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar
from urllib.parse import urlencode

from pytest_tfserving.errors import ConfigurationError, DeploymentError
from pytest_tfserving.targets.kubernetes.credentials import Credentials
from pytest_tfserving.targets.kubernetes.names import FIELD_MANAGER
from pytest_tfserving.text.addresses import without_secrets
from pytest_tfserving.text.foreign_text import LONGEST_REASON, one_line

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    import urllib3

    from pytest_tfserving.targets.kubernetes.context import Context
    from pytest_tfserving.targets.kubernetes.objects import (
        AccessReview,
        ApiResource,
        ConfigMap,
        DeploymentObject,
        Event,
        Job,
        KubernetesObject,
        Lease,
        Node,
        Pod,
        ReplicaSet,
        Service,
        UserReview,
    )
    from pytest_tfserving.text.json_value import JsonObject

T = TypeVar("T")
ObjectT = TypeVar("ObjectT", bound="KubernetesObject")
ObjectT_co = TypeVar("ObjectT_co", bound="KubernetesObject", covariant=True)

CONNECT_S = 3.0
ANSWER_S = 15.0
_FIRST_ERROR = 400
_LONGEST_MESSAGE = 200
_PART_BYTES = 1 << 16
_AGAIN_S = 0.5
_SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([^')\"]+)")
_FORBIDDEN_TEXT = re.compile(
    r'(?:User "(?P<user>[^"]*)" )?cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"'
    r' in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]*)")?'
)


class UnreachableError(DeploymentError):
    """Error of an API server that does not respond now, but may respond later."""


class NotFoundError(DeploymentError):
    """Error of an object that does not exist."""


class ConflictError(DeploymentError):
    """Error of a request that conflicts with another client's."""


class PermissionMissingError(ConfigurationError):
    """Error of a context's user who lacks permissions.

    Attributes:
        permission: the permission that was missed, as ``list nodes``, or all of them.
        user: the name of the user in the cluster; empty if it is not known.
    """

    def __init__(
        self, context: str, permission: str, user: str, advice: str, *, several: bool = False
    ) -> None:
        what = "permissions" if several else "a permission"
        super().__init__(f"the user of context {context!r} lacks {what}: {permission}; {advice}")
        self.permission = permission
        self.user = user


_ERRORS: dict[int, type[DeploymentError]] = {404: NotFoundError, 409: ConflictError}
# The API server is too busy, or a proxy does not reach the API server.
_AWAY = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class ResourceKind(Generic[ObjectT_co]):
    """Location of the objects of a kind in the API.

    Attributes:
        prefix: the path of the API group, as ``/apis/apps/v1``.
        plural: the name in paths, as ``deployments``.
        namespaced: whether these objects are in namespaces.
    """

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of an object, or of all objects in a namespace if ``name`` is empty."""
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.prefix}{within}/{self.plural}" + (f"/{name}" if name else "")


NAMESPACES: ResourceKind[KubernetesObject] = ResourceKind("/api/v1", "namespaces", namespaced=False)
NODES: ResourceKind[Node] = ResourceKind("/api/v1", "nodes", namespaced=False)
PODS: ResourceKind[Pod] = ResourceKind("/api/v1", "pods", namespaced=True)
EVENTS: ResourceKind[Event] = ResourceKind("/api/v1", "events", namespaced=True)
SERVICES: ResourceKind[Service] = ResourceKind("/api/v1", "services", namespaced=True)
CONFIG_MAPS: ResourceKind[ConfigMap] = ResourceKind("/api/v1", "configmaps", namespaced=True)
DEPLOYMENTS: ResourceKind[DeploymentObject] = ResourceKind("/apis/apps/v1", "deployments", namespaced=True)
REPLICA_SETS: ResourceKind[ReplicaSet] = ResourceKind("/apis/apps/v1", "replicasets", namespaced=True)
JOBS: ResourceKind[Job] = ResourceKind("/apis/batch/v1", "jobs", namespaced=True)
ACCESS_REVIEWS: ResourceKind[AccessReview] = ResourceKind(
    "/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False
)
USER_REVIEWS: ResourceKind[UserReview] = ResourceKind(
    "/apis/authentication.k8s.io/v1", "selfsubjectreviews", namespaced=False
)
LEASES: ResourceKind[Lease] = ResourceKind("/apis/coordination.k8s.io/v1", "leases", namespaced=True)


class Cluster:
    """Client of an API server, as the user of a context.

    All requests raise the same errors:

    - `UnreachableError` if the API server does not respond
    - `NotFoundError` if the object does not exist
    - `ConflictError` if another client changed or created the object
    - `PermissionMissingError` if the user lacks the permission
    - `ConfigurationError` if the API server refuses the user or the request

    Args:
        context: the context.
        answer_s: the longest wait for a response.
    """

    def __init__(self, context: Context, answer_s: float = ANSWER_S) -> None:
        self.context = context
        self._answer_s = answer_s
        self._credentials = Credentials(context)
        self._pool = _pool(self._credentials)
        self._kinds: dict[str, dict[str, ResourceKind[KubernetesObject]]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    # --- objects ---

    def get(self, path: str) -> JsonObject:
        """Return the JSON at ``path``."""
        found: JsonObject = json.loads(self.text(path))
        return found

    def items(
        self, kind: ResourceKind[ObjectT], namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[ObjectT]:
        """Return all objects of a kind, or only those with ``labels``; an empty namespace means all."""
        selector = ",".join(f"{name}={value}" for name, value in (labels or {}).items())
        query = {"labelSelector": selector} if selector else {}
        found: list[ObjectT] = json.loads(self.text(kind.path(namespace), **query))["items"]
        return found

    def text(self, path: str, **query: str) -> str:
        """Return the text at ``path``."""
        return self._request("GET", path, query=query)

    def read(self, kind: ResourceKind[ObjectT], namespace: str, name: str) -> ObjectT:
        """Return an object."""
        found: ObjectT = json.loads(self.text(kind.path(namespace, name)))
        return found

    def find(self, kind: ResourceKind[ObjectT], namespace: str, name: str) -> ObjectT | None:
        """Return an object, None if it does not exist."""
        try:
            return self.read(kind, namespace, name)
        except NotFoundError:
            return None

    def create(self, kind: ResourceKind[ObjectT], namespace: str, body: ObjectT) -> ObjectT:
        """Create an object; return it as it was created."""
        made: ObjectT = json.loads(self._request("POST", kind.path(namespace), body=body))
        return made

    def replace(self, kind: ResourceKind[ObjectT], namespace: str, body: ObjectT) -> ObjectT:
        """Replace an object, if it still has the version in ``body``; return it."""
        path = kind.path(namespace, body["metadata"]["name"])
        made: ObjectT = json.loads(self._request("PUT", path, body=body))
        return made

    def patch(self, kind: ResourceKind[ObjectT], namespace: str, name: str, body: ObjectT) -> None:
        """Change parts of an object, by a merge patch."""
        self._request("PATCH", kind.path(namespace, name), body=body, content="application/merge-patch+json")

    def apply(self, manifest: ObjectT, namespace: str, *, dry_run: bool = False) -> ObjectT:
        """Apply an object by server-side apply; return it."""
        kind = self.kind(manifest["apiVersion"], manifest["kind"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        path = kind.path(namespace, manifest["metadata"]["name"])
        content = "application/apply-patch+yaml"
        made: ObjectT = json.loads(self._request("PATCH", path, query=query, body=manifest, content=content))
        return made

    def delete(
        self,
        kind: ResourceKind[KubernetesObject],
        namespace: str,
        name: str,
        *,
        version: str = "",
        grace_s: int | None = None,
    ) -> bool:
        """Delete an object and the objects that it owns; return whether it existed.

        Args:
            kind: the kind of the object.
            namespace: the namespace of the object.
            name: the name of the object.
            version: delete only this resource version; empty for any.
            grace_s: the grace period in seconds; None for the object's own.
        """
        body: JsonObject = {"propagationPolicy": "Background"}
        if version:
            body["preconditions"] = {"resourceVersion": version}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            self._request("DELETE", kind.path(namespace, name), body=body)
        except NotFoundError:
            return False
        return True

    def kind(self, api_version: str, name: str) -> ResourceKind[KubernetesObject]:
        """Return the location of objects with a manifest's ``apiVersion`` and ``kind``.

        Raises:
            ConfigurationError: if the cluster does not have this kind.
        """
        if api_version not in self._kinds:
            prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            try:
                resources: list[ApiResource] = json.loads(self.text(prefix))["resources"]
            except NotFoundError:
                resources = []
            self._kinds[api_version] = {
                each["kind"]: ResourceKind(prefix, each["name"], each["namespaced"])
                for each in resources
                if "/" not in each["name"]
            }
        try:
            return self._kinds[api_version][name]
        except KeyError:
            raise ConfigurationError(
                f"the cluster of context {self.context.name!r} has no kind {name!r} of {api_version}."
            ) from None

    # --- the wire ---

    def follow(self, path: str, quiet_s: float = ANSWER_S, **query: str) -> Iterator[str]:
        """Yield the lines at ``path`` as they come, until the end of the stream.

        Raises:
            UnreachableError: if the connection breaks, or no line comes for ``quiet_s`` seconds.
        """
        import urllib3

        answer = self._answer("GET", path, query=query, answer_s=quiet_s)
        left = b""
        try:
            for part in answer.stream(_PART_BYTES):
                *lines, left = (left + part).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None
        finally:
            answer.close()

    def websocket(self, path: str) -> tuple[str, dict[str, str], dict[str, object]]:
        """Return the URL, the headers and the TLS options of a WebSocket at ``path``."""
        own = self._credentials
        url = own.host.replace("http", "ws", 1) + path
        tls = {"context": own.tls(), "server_hostname": own.server_name}
        return url, own.authorization(), {key: value for key, value in tls.items() if value}

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        content: str = "application/json",
    ) -> str:
        import urllib3

        answer = self._answer(method, path, query, body, content)
        try:
            return answer.data.decode("utf-8", "replace")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None

    def _answer(  # noqa: PLR0913, PLR0917 - what a request is made of
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        content: str = "application/json",
        answer_s: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Return the response, before its body is read."""
        import urllib3

        url = self._credentials.host + path + (f"?{urlencode(query)}" if query else "")
        headers = {
            "Accept": "application/json, */*",
            "Content-Type": content,
            **self._credentials.authorization(),
        }
        try:
            answer = self._pool.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=answer_s or self._answer_s),
                retries=False,
                preload_content=False,
            )
            if answer.status >= _FIRST_ERROR:
                text = answer.data.decode("utf-8", "replace")
                raise self._refusal(answer.status, _message(text), path)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from None
        return answer

    def _unreachable(self, error: BaseException) -> UnreachableError:
        return UnreachableError(
            f"the API server of context {self.context} does not answer: {_innermost(error)}"
        )

    def _refusal(self, status: int, text: str, path: str) -> Exception:
        if status in _ERRORS:
            return _ERRORS[status](text)
        if status in _AWAY:
            return UnreachableError(f"the API server of context {self.context} answers: {text}")
        if status == HTTPStatus.UNAUTHORIZED:
            return ConfigurationError(
                f"the API server of context {self.context} refuses its user: {text}; log in to the cluster "
                f"again, until this command works: kubectl --context {self.context.name} get nodes"
            )
        if status == HTTPStatus.FORBIDDEN and (match := _FORBIDDEN_TEXT.search(text)):
            return _missing(self.context.name, match)
        return ConfigurationError(f"the cluster refuses {path.rsplit('/', 1)[-1]!r}: {text}")


class _PoolOptions(TypedDict, total=False):
    maxsize: int
    ssl_context: ssl.SSLContext
    server_hostname: str


def _pool(credentials: Credentials) -> urllib3.PoolManager:
    import urllib3

    own: _PoolOptions = {"maxsize": 8}
    if tls := credentials.tls():
        own["ssl_context"] = tls
    if credentials.server_name:
        own["server_hostname"] = credentials.server_name
    if not credentials.is_verified:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    if not (proxy := credentials.proxy):
        return urllib3.PoolManager(**own)
    try:
        return urllib3.ProxyManager(proxy, **own)
    except urllib3.exceptions.HTTPError:
        raise credentials.unusable("its proxy-url is not the address of a proxy") from None


def _missing(context: str, match: re.Match[str]) -> PermissionMissingError:
    resource = ".".join(part for part in (match["resource"], match["group"]) if part)
    where = f" in namespace {match['namespace']!r}" if match["namespace"] else ""
    advice = "`pytest-tfserving rbac` prints roles that have what is needed."
    return PermissionMissingError(context, f"{match['verb']} {resource}{where}", match["user"] or "", advice)


def _message(body: str) -> str:
    try:
        return one_line(str(json.loads(body)["message"]), LONGEST_REASON)
    except (ValueError, KeyError, TypeError, RecursionError):
        return one_line(body, _LONGEST_MESSAGE)


def _innermost(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    while isinstance(reason, BaseException):
        error, reason = reason, getattr(reason, "reason", None)
    text = without_secrets(str(error))
    system = _SYSTEM_ERROR.search(text)
    return system[1] if system else text


def persistently(action: Callable[[], T], within_s: float) -> T:
    """Return the result of ``action``, repeated for up to ``within_s`` while the API server is unreachable.

    Raises:
        UnreachableError: if the API server is still unreachable then.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            return action()
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_S)
