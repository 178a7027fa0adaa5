"""What a real cluster said of deployments; tests/e2e/test_never_ready.py records it into tests/recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.targets.kubernetes.readiness import Snapshot

if TYPE_CHECKING:
    from pytest_tfserving.targets.kubernetes.objects import DeploymentObject, Event, Node, Pod, ReplicaSet

FOLDER = Path(__file__).parents[1] / "recorded"
# The same recordings, with what newer versions of Kubernetes say in other words or fields.
NEWER = FOLDER / "newer_versions"


@dataclass(frozen=True)
class Said:
    """The objects of a deployment's namespace, and of the cluster it was on."""

    deployments: list[DeploymentObject]
    replicasets: list[ReplicaSet]
    pods: list[Pod]
    events: list[Event]
    nodes: list[Node] = field(default_factory=list)

    @property
    def snapshot(self) -> Snapshot:
        """As readiness takes it."""
        return Snapshot(self.deployments[0], self.pods, self.replicasets, self.events)


@cache
def said(name: str, folder: Path = FOLDER) -> Said:
    """What was recorded under ``name``; not to be changed."""
    return Said(**json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
