"""``pytest-tfserving rbac``: the roles for a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kubernetes_validate
import yaml

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
    for role in roles:
        kubernetes_validate.validate(role, kubernetes_validate.latest_version(), strict=True)
