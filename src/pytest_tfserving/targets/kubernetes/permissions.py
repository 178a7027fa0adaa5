"""Permissions of a run in a cluster: those of the roles of this package, and those that a user lacks."""

from __future__ import annotations

import shlex
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.targets.kubernetes.cluster import (
    ACCESS_REVIEWS,
    NODES,
    USER_REVIEWS,
    PermissionMissingError,
)
from pytest_tfserving.targets.kubernetes.kustomize import files_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfserving.targets.kubernetes.cluster import Cluster
    from pytest_tfserving.targets.kubernetes.objects import (
        AccessReview,
        Binding,
        ResourceAttributes,
        Role,
        UserReview,
    )

_API = "rbac.authorization.k8s.io"
# Bound in the namespace that is deployed into, if there is one.
_DEPLOY, _NAMESPACES = "pytest-tfserving-deploy", "pytest-tfserving-namespaces"
# Permissions for load from Pods of the cluster.
_OF_LOAD_PODS = ("jobs", "pods/attach")
# Without this permission only the figures of kubelets are missing.
_OPTIONAL = "nodes/proxy"
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Permission:
    """Permission for one verb on a kind of objects; an empty ``namespace`` means in all of them."""

    verb: str
    group: str
    resource: str
    namespace: str

    def __str__(self) -> str:
        kind = ".".join(part for part in (self.resource, self.group) if part)
        return f"{self.verb} {kind}" + (f" in namespace {self.namespace!r}" if self.namespace else "")

    def attributes(self) -> ResourceAttributes:
        """Return the permission as an access review asks for it."""
        resource, _, subresource = self.resource.partition("/")
        return {
            "verb": self.verb,
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": self.namespace,
        }


class PermissionsMissingError(PermissionMissingError):
    """Error of a context's user who lacks permissions, with all of them in the message."""


def roles_text() -> str:
    """Return the roles as YAML."""
    return (files_folder() / "rbac" / "roles.yaml").read_text(encoding="utf-8")


def roles(namespace: str) -> list[Role]:
    """Return the roles of a run that deploys into ``namespace``, or into new ones if it is empty."""
    import yaml

    found: list[Role] = list(yaml.safe_load_all(roles_text()))
    return [each for each in found if not namespace or each["metadata"]["name"] != _NAMESPACES]


def bindings(user: str, namespace: str) -> list[Binding]:
    """Return what gives a user the roles of a run that deploys into ``namespace``, or into new ones."""
    return [_binding(role, user, _scope(role, namespace)) for role in roles(namespace)]


def needed(namespace: str, *, load_in_cluster: bool) -> list[Permission]:
    """Return the permissions that a run needs, without those that only add figures to its results."""
    return [
        Permission(verb, group, resource, _scope(role, namespace))
        for role in roles(namespace)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if resource != _OPTIONAL and (load_in_cluster or resource not in _OF_LOAD_PODS)
    ]


def in_words(permissions: Sequence[Permission]) -> str:
    """Return permissions as a text, with the verbs on the same objects together."""
    verbs: dict[Permission, list[str]] = {}
    for each in permissions:
        verbs.setdefault(replace(each, verb=""), []).append(each.verb)
    return ", ".join(str(replace(objects, verb="/".join(names))) for objects, names in verbs.items())


def lacking(cluster: Cluster, permissions: Sequence[Permission]) -> list[Permission]:
    """Return the permissions that the cluster's user lacks."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        granted = list(pool.map(lambda each: _is_granted(cluster, each), permissions))
    return [each for each, is_granted in zip(permissions, granted, strict=True) if not is_granted]


def user_name(cluster: Cluster) -> str:
    """Return the user's name in the cluster; empty if the cluster does not say."""
    review: UserReview = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
        "metadata": {},
    }
    try:
        return cluster.create(USER_REVIEWS, "", review)["status"]["userInfo"]["username"]
    except (TFServingError, KeyError):
        return _name_in_a_refusal(cluster)  # clusters before 1.28 do not have these reviews


def _name_in_a_refusal(cluster: Cluster) -> str:
    try:
        cluster.items(NODES)
    except PermissionMissingError as error:
        return error.user
    return ""


def grant_command(user: str, namespace: str) -> str:
    """Return the command line with which an administrator of the cluster grants what a run needs."""
    options = ["--user", user or "USER", *(["--namespace", namespace] if namespace else [])]
    return f"{shlex.join(['pytest-tfserving', 'rbac', *options])} | kubectl apply --filename -"


@contextmanager
def all_lacking_named(cluster: Cluster, namespace: str, *, load_in_cluster: bool) -> Iterator[None]:
    """Name every missing permission in the error of the first one that is missed inside the context.

    Raises:
        PermissionsMissingError: in place of a `PermissionMissingError`.
    """
    try:
        yield
    except PermissionsMissingError:
        raise
    except PermissionMissingError as error:
        found: list[Permission] = []
        with suppress(TFServingError):  # a cluster may refuse the reviews, too
            found = lacking(cluster, needed(namespace, load_in_cluster=load_in_cluster))
        several = len(found) > 1
        advice = f"an administrator grants what a run needs with `{grant_command(error.user, namespace)}`"
        names = in_words(found) if several else error.permission
        raise PermissionsMissingError(
            cluster.context.name, names, error.user, advice, several=several
        ) from None


def _scope(role: Role, namespace: str) -> str:
    """Return the namespace that a role is bound in; empty for the whole cluster."""
    return role["metadata"].get("namespace", "") or (namespace if role["metadata"]["name"] == _DEPLOY else "")


def _binding(role: Role, user: str, namespace: str) -> Binding:
    name = role["metadata"]["name"]
    return {
        "apiVersion": f"{_API}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": f"{name}-{_name_of(user)}", **({"namespace": namespace} if namespace else {})},
        "roleRef": {"apiGroup": _API, "kind": role["kind"], "name": name},
        "subjects": [{"apiGroup": _API, "kind": "User", "name": user}],
    }


def _name_of(user: str) -> str:
    """Return a user's name as a part of an object's name, which a user's name may not be."""
    return "".join(each if each.isalnum() or each in ".-" else "-" for each in user.lower()).strip("-.")


def _is_granted(cluster: Cluster, permission: Permission) -> bool:
    review: AccessReview = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": permission.attributes()},
    }
    return bool(cluster.create(ACCESS_REVIEWS, "", review)["status"]["allowed"])
