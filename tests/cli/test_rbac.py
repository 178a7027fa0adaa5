"""``pytest-tfserving rbac``: the roles for a cluster, and what binds them to a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from kubernetes_schemas import problems
from pytest_tfserving.cli import main

if TYPE_CHECKING:
    import pytest


def test_the_roles_are_printed_for_kubectl(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rbac"]) == 0

    roles = list(yaml.safe_load_all(capsys.readouterr().out))
    assert {role["metadata"]["name"] for role in roles} == {
        "pytest-tfserving-look",
        "pytest-tfserving-turn",
        "pytest-tfserving-deploy",
        "pytest-tfserving-namespaces",
    }
    assert problems(roles) == []


def bound(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, tuple[str, str]]:
    """The kind and the namespace of the binding of each role that is printed."""
    assert main(["rbac", "--user", "system:serviceaccount:ci:Perf", *arguments]) == 0
    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    assert problems(printed) == []
    bindings = [each for each in printed if each["kind"].endswith("Binding")]
    roles = {each["metadata"]["name"] for each in printed} - {each["metadata"]["name"] for each in bindings}
    assert roles == {each["roleRef"]["name"] for each in bindings}
    assert {each["subjects"][0]["name"] for each in bindings} == {"system:serviceaccount:ci:Perf"}
    return {
        each["roleRef"]["name"]: (each["kind"], each["metadata"].get("namespace", "")) for each in bindings
    }


def test_a_user_gets_the_roles_for_namespaces_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert bound(capsys) == {
        "pytest-tfserving-look": ("ClusterRoleBinding", ""),
        "pytest-tfserving-turn": ("RoleBinding", "default"),
        "pytest-tfserving-deploy": ("ClusterRoleBinding", ""),
        "pytest-tfserving-namespaces": ("ClusterRoleBinding", ""),
    }


def test_a_user_gets_the_roles_for_one_namespace(capsys: pytest.CaptureFixture[str]) -> None:
    assert bound(capsys, "--namespace", "perf") == {
        "pytest-tfserving-look": ("ClusterRoleBinding", ""),
        "pytest-tfserving-turn": ("RoleBinding", "default"),
        "pytest-tfserving-deploy": ("RoleBinding", "perf"),
    }
