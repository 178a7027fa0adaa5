"""Manifests of the Jobs that make load. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.targets.kubernetes.names import APP, LOAD, LOCUSTFILE_FOLDER

if TYPE_CHECKING:
    from pytest_tfserving.experiments.experiment import LoadPods
    from pytest_tfserving.targets.common.ownership import OwnershipLabels
    from pytest_tfserving.targets.kubernetes.objects import (
        ConfigMap,
        Container,
        ContainerResources,
        Job,
        JobSpec,
        Metadata,
        PodSpec,
    )
    from pytest_tfserving.text.json_value import JsonObject

WORKERS = f"{APP}-load"
MASTER = f"{APP}-load-master"
LOCUSTFILE_MAP = f"{APP}-load-locustfile"
CONTAINER = "load"
# Program of the container: the same load process as on this machine, wherever the image has this package.
_PROGRAM = (
    "import os, sys; from pytest_tfserving.load.generator.local_host import WORKER; "
    "os.execv(sys.executable, [sys.executable, '-P', str(WORKER), *sys.argv[1:]])"
)


@dataclass(frozen=True, slots=True)
class LoadJobs:
    """Settings of the Jobs of a run of load.

    Attributes:
        image: the image of load Pods.
        workers: the number of workers.
        pods: the resources and the nodes of load Pods.
        indexed: whether the cluster has indexed Jobs.
        locustfile: the file name of the locustfile; empty without one.
    """

    image: str
    workers: int
    pods: LoadPods
    indexed: bool
    locustfile: str = ""

    def manifests(self, tags: OwnershipLabels) -> list[Job]:
        """Return the Job of the workers, and with several workers the Job of the master."""
        made = [self._job(WORKERS, self.workers, tags)]
        return [*made, self._job(MASTER, 1, tags)] if self.workers > 1 else made

    def _job(self, name: str, count: int, tags: OwnershipLabels) -> Job:
        spec: JobSpec = {
            "parallelism": count,
            "completions": count,
            "backoffLimit": 0,
            "activeDeadlineSeconds": round(tags.lifetime.total_seconds()),
            "template": {
                "metadata": {"labels": labels(name, tags), "annotations": tags.annotations},
                "spec": self._pod(tags),
            },
        }
        if self.indexed:
            spec["completionMode"] = "Indexed"
        meta: Metadata = {"name": name, "labels": tags.labels, "annotations": tags.annotations}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}

    def _pod(self, tags: OwnershipLabels) -> PodSpec:
        path = [f"{LOCUSTFILE_FOLDER}/{self.locustfile}"] if self.locustfile else []
        own = {"cpu": self.pods.cpu, "memory": self.pods.memory}
        size: ContainerResources = {"requests": own, "limits": own}
        container: Container = {
            "name": CONTAINER,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", _PROGRAM, *path],
            "stdin": True,
            "resources": size,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the container's own
        }
        pod: PodSpec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "affinity": _away_from_servers(tags),
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        }
        if self.pods.nodes.selector:
            pod["nodeSelector"] = dict(self.pods.nodes.selector)
        if self.pods.nodes.tolerations:
            pod["tolerations"] = [dict(each) for each in self.pods.nodes.tolerations]
        if self.locustfile:
            container["volumeMounts"].append({"name": "locustfile", "mountPath": LOCUSTFILE_FOLDER})
            pod["volumes"].append({"name": "locustfile", "configMap": {"name": LOCUSTFILE_MAP}})
        return pod


def labels(job: str, tags: OwnershipLabels) -> dict[str, str]:
    """Return the labels of load Pods; they differ from the labels of the run's servers."""
    return {LOAD: tags.run, "job": job}


def locustfile_map(name: str, text: str, tags: OwnershipLabels) -> ConfigMap:
    """Return the ConfigMap with a locustfile."""
    meta: Metadata = {"name": LOCUSTFILE_MAP, "labels": tags.labels, "annotations": tags.annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {name: text}}


def _away_from_servers(tags: OwnershipLabels) -> JsonObject:
    """Return an affinity for nodes without servers: processes on a node share its memory bandwidth."""
    servers: JsonObject = {"matchLabels": {**tags.labels}}
    term: JsonObject = {"topologyKey": "kubernetes.io/hostname", "labelSelector": servers}
    preferred: JsonObject = {"weight": 100, "podAffinityTerm": term}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}
