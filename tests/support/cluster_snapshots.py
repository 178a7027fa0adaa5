"""What a real cluster said of deployments; tests/e2e/test_never_ready.py records it into tests/recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pytest_tfserving.targets.kubernetes.readiness import Snapshot

FOLDER = Path(__file__).parents[1] / "recorded"


@dataclass(frozen=True)
class Said:
    """The objects of a deployment's namespace, and of the cluster it was on."""

    deployments: list[dict[str, Any]]
    replicasets: list[dict[str, Any]]
    pods: list[dict[str, Any]]
    events: list[dict[str, Any]]
    nodes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def snapshot(self) -> Snapshot:
        """As readiness takes it."""
        return Snapshot(self.deployments[0], self.pods, self.replicasets, self.events)


@cache
def said(name: str) -> Said:
    """What was recorded under ``name``; not to be changed."""
    return Said(**json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))
