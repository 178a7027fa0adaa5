"""Changes of rendered manifests before they are applied, and further manifests. No I/O."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

from pytest_tfserving.targets.kubernetes.names import APP, PORTS, REPLICA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.targets.common.ownership import OwnershipLabels
    from pytest_tfserving.targets.kubernetes.objects import KubernetesObject, Service, WithMetadata

ObjectT = TypeVar("ObjectT", bound="KubernetesObject")


def tagged(manifests: Sequence[ObjectT], tags: OwnershipLabels, namespace: str) -> list[ObjectT]:
    """Return copies of manifests, in ``namespace``, with the labels of ``tags``, also in Pod templates."""
    made = [copy.deepcopy(each) for each in manifests]
    for manifest in made:
        _tag(manifest, tags)
        manifest["metadata"]["namespace"] = namespace
        spec = manifest.get("spec")
        template: WithMetadata | None = spec.get("template") if isinstance(spec, dict) else None
        if template:
            _tag(template, tags)
    return made


def _tag(thing: WithMetadata, tags: OwnershipLabels) -> None:
    metadata = thing.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **tags.labels}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **tags.annotations}


def namespace_manifest(name: str, tags: OwnershipLabels) -> KubernetesObject:
    """Return the manifest of a namespace, which warns of Pods against the strictest security standard."""
    labels = {**tags.labels, "pod-security.kubernetes.io/warn": "restricted"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels, "annotations": tags.annotations},
    }


def replica_service(index: int, tags: OwnershipLabels, namespace: str) -> Service:
    """Return a NodePort Service for one replica, so that its address always leads to the same Pod.

    The Service also leads to a Pod that is not ready: a server may be too busy to respond to its probe, and
    refused connections would then be measured.
    """
    selector = {**tags.labels, REPLICA: str(index)}
    manifest = _service(f"{APP}-replica{index}", "NodePort", selector)
    manifest["spec"]["publishNotReadyAddresses"] = True
    return tagged([manifest], tags, namespace)[0]


def balanced_service(tags: OwnershipLabels, namespace: str) -> Service:
    """Return a Service for all replicas together, behind a load balancer of the cluster's provider."""
    manifest = _service(f"{APP}-balanced", "LoadBalancer", dict(tags.labels))
    return tagged([manifest], tags, namespace)[0]


def _service(name: str, kind: str, selector: dict[str, str]) -> Service:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": kind,
            "selector": selector,
            "ports": [
                {"name": each, "protocol": "TCP", "port": port, "targetPort": port}
                for each, port in PORTS.items()
            ],
        },
    }
