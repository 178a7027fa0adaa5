"""The cluster that the tests of tests/e2e run on, as kubectl sees it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from pytest_tfserving.targets.common.ownership import MANAGED_BY, OWNER, US, OrphanRule
from pytest_tfserving.targets.kubernetes.kustomize import kubectl

# What runs make.
_KINDS = "namespaces,pods,deployments,replicasets,services,configmaps,jobs"
# Of these something is left while there is one, even in a namespace that goes.
_RUNNING = ("Pod", "Deployment", "Job")


@dataclass(frozen=True)
class Kubectl:
    """One context of the user's kubeconfig, and the image with models that its nodes have."""

    context: str
    image: str = ""

    @property
    def options(self) -> list[str]:
        """What pytest is given to deploy to it."""
        return [
            "--tfserving-target=kubernetes",
            f"--tfserving-context={self.context}",
            f"--tfserving-image={self.image}",
            f"-otfserving_allowed_contexts={self.context}",
        ]

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints."""
        command = [kubectl(), f"--context={self.context}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def items(self, kinds: str, *arguments: str) -> list[dict[str, Any]]:
        """The objects of some kinds."""
        found: list[dict[str, Any]] = json.loads(self("get", kinds, *arguments, "--output=json"))["items"]
        return found

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Make objects."""
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def drop(self, namespace: str) -> None:
        """Delete a namespace without waiting for it; a namespace that finds Pods looks again much later."""
        where = f"--namespace={namespace}"
        # Who makes Pods goes before them, or it would replace them.
        self("delete", "deployments,replicasets", "--all", "--cascade=orphan", where)
        self("delete", "pods", "--all", "--grace-period=0", "--force", where)
        self("delete", "namespace", namespace, "--wait=false")

    def ours(self) -> list[dict[str, Any]]:
        """What runs of this package have made in the cluster, but namespaces that go."""
        found = self.items(_KINDS, "--all-namespaces", f"--selector={MANAGED_BY}={US}")
        going = {each["metadata"]["name"] for each in found if _goes(each)}
        return [
            each
            for each in found
            if not _goes(each)
            and (each["kind"] in _RUNNING or each["metadata"].get("namespace") not in going)
        ]

    def of_process(self, pid: int) -> list[dict[str, Any]]:
        """What a run in the process ``pid`` has made."""
        return [
            each for each in self.ours() if json.loads(carried(each).get(OWNER, '{"pid": 0}'))["pid"] == pid
        ]

    def left(self) -> list[str]:
        """What runs that are over have made, as Kind/name."""
        return [
            f"{each['kind']}/{each['metadata']['name']}"
            for each in self.ours()
            if OrphanRule(kept=True).include(carried(each))
        ]


def _goes(thing: dict[str, Any]) -> bool:
    return thing["kind"] == "Namespace" and "deletionTimestamp" in thing["metadata"]


def carried(thing: dict[str, Any]) -> dict[str, str]:
    """An object's labels and annotations."""
    metadata = thing["metadata"]
    return {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
