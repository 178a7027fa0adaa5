"""The overlays of k8s/overlays, asked of a real API server without making anything."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from needs import context
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.targets.kubernetes.cluster import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    SERVICES,
    Cluster,
)
from pytest_tfserving.targets.kubernetes.context import kubeconfig_paths, pinned
from pytest_tfserving.targets.kubernetes.kustomize import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.targets.kubernetes.objects import KubernetesObject

pytestmark = pytest.mark.needs("kubernetes")

OVERLAYS = Path(__file__).parents[2] / "k8s" / "overlays"


@pytest.fixture(scope="module")
def api_server() -> Cluster:
    """The cluster of the context that is named, or of the current one if it is a local one."""
    name = context()
    return Cluster(pinned(kubeconfig_paths(None), name, [name]))


@pytest.fixture(scope="module")
def namespace(api_server: Cluster) -> Iterator[str]:
    name = f"overlays-{secrets.token_hex(4)}"
    manifest: KubernetesObject = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    api_server.create(NAMESPACES, "", manifest)
    yield name
    api_server.delete(NAMESPACES, "", name)


@pytest.mark.parametrize("name", sorted(path.name for path in OVERLAYS.iterdir()))
def test_an_overlay_would_be_accepted(api_server: Cluster, namespace: str, name: str) -> None:
    manifests = build(OVERLAYS / name)

    accepted = [api_server.apply(each, namespace, dry_run=True) for each in manifests]

    kinds = [each["kind"] for each in manifests]
    assert [each["kind"] for each in accepted] == kinds
    assert {"Deployment", "Service", "ConfigMap"} == set(kinds)
    for kind in (DEPLOYMENTS, SERVICES, CONFIG_MAPS):
        assert "tfserving" not in str(
            [each["metadata"]["name"] for each in api_server.items(kind, namespace)]
        )


def test_what_is_no_field_would_not_be(api_server: Cluster, namespace: str) -> None:
    deployment: Any = next(each for each in build(next(OVERLAYS.iterdir())) if each["kind"] == "Deployment")
    deployment["spec"]["replicaz"] = 1

    with pytest.raises(ConfigurationError, match="replicaz"):
        api_server.apply(deployment, namespace, dry_run=True)
