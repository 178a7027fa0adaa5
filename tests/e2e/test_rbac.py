"""What a user with just the roles of `pytest-tfserving rbac` can do, and what one is told who lacks some."""

from __future__ import annotations

import os
import secrets
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kubectl import Kubectl
from needs import LIMITED_CONTEXT
from pytest_tfserving.targets.kubernetes.kustomize import files_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Project

pytestmark = pytest.mark.needs("docker", "kubernetes", "limited-context")

ROLES = files_folder() / "rbac" / "roles.yaml"
EXPERIMENTS = """
defaults: {model: ./models/half_plus_two, payload: request.json, profile: tiny}
load_pods: {cpu: 500m, memory: 512Mi}
profiles:
  tiny:
    {users: 2, spawn_rate: 2, run_time_s: 20, think_time_s: 0.01, request_timeout_s: 20, max_lag_ms: 2000,
     max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["rps>=1"]}
"""


class Grants:
    """Copies of the roles under names of this test's own, and who they are bound to."""

    def __init__(self, admin: Kubectl, user: str) -> None:
        self.admin = admin
        self.user = user
        self._suffix = secrets.token_hex(4)
        self._made: list[tuple[str, str, str]] = []
        self.roles = {each["metadata"]["name"]: each for each in yaml.safe_load_all(ROLES.read_text())}

    def bind(self, role: str, namespace: str = "", without: tuple[str, str] = ("", "")) -> None:
        """Bind a role, less one verb on one resource, in a namespace or to the cluster."""
        body = self.roles[role]
        namespace = namespace or body["metadata"].get("namespace", "")
        name = f"{role}-{self._suffix}"
        binding = "RoleBinding" if namespace else "ClusterRoleBinding"
        self._make({**body, "metadata": {**body["metadata"], "name": name}, "rules": _less(body, *without)})
        self._make(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": binding,
                "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": body["kind"], "name": name},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.user}],
            }
        )

    def namespace(self) -> str:
        """A namespace that somebody has made for the tests."""
        name = f"given-{secrets.token_hex(4)}"
        self._make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def take_back(self) -> None:
        """Delete all that was made."""
        for kind, namespace, name in reversed(self._made):
            where = [f"--namespace={namespace}"] if namespace else []
            self.admin("delete", kind, name, "--ignore-not-found", *where)

    def _make(self, manifest: dict[str, Any]) -> None:
        meta = manifest["metadata"]
        self.admin.apply(manifest)
        self._made.append((manifest["kind"], meta.get("namespace", ""), meta["name"]))


def _less(role: dict[str, Any], verb: str, resource: str) -> list[dict[str, Any]]:
    """The role's rules, one resource each, without one verb on one of them."""
    verbs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for rule in role["rules"]:
        for each in rule["resources"]:
            verbs[rule["apiGroups"][0], each] += [v for v in rule["verbs"] if (v, each) != (verb, resource)]
    return [
        {"apiGroups": [group], "resources": [name], "verbs": allowed}
        for (group, name), allowed in verbs.items()
        if allowed
    ]


@pytest.fixture
def grants(cluster: Kubectl) -> Iterator[Grants]:
    context = os.environ[LIMITED_CONTEXT]
    config = yaml.safe_load(cluster("config", "view", "--raw"))
    user = next(each["context"]["user"] for each in config["contexts"] if each["name"] == context)
    found = Grants(cluster, user)
    yield found
    found.take_back()


@pytest.fixture
def limited(grants: Grants, project: Project) -> list[str]:
    """Options that deploy as the user who may do only what is granted."""
    project.write(EXPERIMENTS)
    (project.pytester.path / "request.json").write_text('{"instances": [[1.0], [2.0], [5.0]]}')
    return Kubectl(os.environ[LIMITED_CONTEXT], grants.admin.image).options


@pytest.mark.parametrize(
    ("more", "less"), [([], ("", "")), (["--tfserving-load-in-cluster"], ("get", "nodes/proxy"))]
)
def test_the_roles_for_a_given_namespace_are_enough(
    grants: Grants, limited: list[str], project: Project, more: list[str], less: tuple[str, str]
) -> None:
    namespace = grants.namespace()
    grants.bind("pytest-tfserving-look", without=less)
    grants.bind("pytest-tfserving-turn")
    grants.bind("pytest-tfserving-deploy", namespace)

    run, (result,) = project.results(*limited, f"--tfserving-namespace={namespace}", *more, server=False)

    run.assert_outcomes(passed=1)
    run.stdout.no_fnmatch_line("*not all is deleted*")
    assert result["verdict"] == "PASS"
    if any(less):
        assert result["server"]["cores"] is None
        run.stdout.fnmatch_lines(
            ["the resources used by servers are not shown: * lacks a permission: get nodes/proxy; *"]
        )
    else:
        assert result["server"]["cores"] > 0
    assert [each for each in grants.admin.ours() if each["metadata"]["namespace"] == namespace] == []


def test_the_roles_for_namespaces_of_its_own_are_enough(
    grants: Grants, limited: list[str], project: Project
) -> None:
    for role in grants.roles:
        grants.bind(role)

    run, (result,) = project.results(*limited, server=False)

    run.assert_outcomes(passed=1)
    run.stdout.no_fnmatch_line("*not all is deleted*")
    assert result["verdict"] == "PASS"
    assert grants.admin.left() == []


@pytest.mark.parametrize(
    ("role", "verb", "resource", "told"),
    [
        ("pytest-tfserving-look", "list", "nodes", "list nodes"),
        (
            "pytest-tfserving-turn",
            "create",
            "leases",
            "create leases.coordination.k8s.io in namespace 'default'",
        ),
        ("pytest-tfserving-namespaces", "patch", "namespaces", "patch namespaces in namespace *"),
        ("pytest-tfserving-deploy", "patch", "deployments", "patch deployments.apps in namespace *"),
        ("pytest-tfserving-deploy", "list", "events", "list events in namespace *"),
    ],
)
def test_a_permission_that_is_missing_is_named(  # noqa: PLR0913, PLR0917 - two fixtures beside the table
    grants: Grants, limited: list[str], project: Project, role: str, verb: str, resource: str, told: str
) -> None:
    for each in grants.roles:
        grants.bind(each, without=(verb, resource) if each == role else ("", ""))

    run = project.run(*limited, server=False)

    assert run.ret != 0
    said = pytest.LineMatcher([*run.outlines, *run.errlines])
    said.fnmatch_lines(
        [
            f"*the user of context '{os.environ[LIMITED_CONTEXT]}' lacks a permission: {told}; "
            f"an administrator grants what a run needs with `pytest-tfserving rbac --user {grants.user} | "
            "kubectl apply --filename -`*"
        ]
    )
    said.no_fnmatch_line("*Traceback*")
