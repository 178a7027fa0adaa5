"""Monitoring of a deployment while it is loaded: its incidents, its failure, its resources."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.system.resource_usage import ResourceUsage
from pytest_tfserving.targets.kubernetes.access import restore
from pytest_tfserving.targets.kubernetes.cluster import (
    DEPLOYMENTS,
    EVENTS,
    PODS,
    REPLICA_SETS,
    PermissionMissingError,
    UnreachableError,
)
from pytest_tfserving.targets.kubernetes.diagnostics import container_log
from pytest_tfserving.targets.kubernetes.kubelet import by_node, container_key, seen_by_kubelets
from pytest_tfserving.targets.kubernetes.kubelet_statistics import usage_of
from pytest_tfserving.targets.kubernetes.names import APP, CONTAINER
from pytest_tfserving.targets.kubernetes.readiness import (
    Doomed,
    Snapshot,
    current_pods,
    doomed,
    is_starting,
    restarts,
)

if TYPE_CHECKING:
    from pytest_tfserving.system.resource_usage import CpuReading
    from pytest_tfserving.targets.common.ownership import OwnershipLabels
    from pytest_tfserving.targets.kubernetes.cluster import Cluster
    from pytest_tfserving.targets.kubernetes.kubelet_statistics import Throttling
    from pytest_tfserving.targets.kubernetes.objects import Pod, StatisticsSummary

_LOOK_S = 0.5
# Kubelets update their counts about every ten seconds, and their pages are long.
_KUBELETS_S = 5.0


def look(cluster: Cluster, namespace: str, tags: OwnershipLabels) -> Snapshot:
    """Return the current state of a deployment in the cluster."""
    deployment = cluster.read(DEPLOYMENTS, namespace, APP)
    pods = cluster.items(PODS, namespace, tags.labels)
    starting = [pod["metadata"]["name"] for pod in pods if is_starting(pod)]
    return Snapshot(
        deployment=deployment,
        pods=pods,
        replica_sets=cluster.items(REPLICA_SETS, namespace, tags.labels),
        events=cluster.items(EVENTS, namespace),
        logs={name: container_log(cluster, namespace, name, CONTAINER) for name in starting},
    )


class DeploymentMonitor:
    """Monitor of a deployment, polled in a thread inside the context.

    While the API server does not respond, all attributes keep their values.

    Args:
        cluster: the cluster.
        namespace: the namespace of the deployment.
        tags: the labels of the deployment's objects.
        pods: the Pods that were ready, one for each replica.

    Attributes:
        throttling: the throttling of each container, by `container_key`.
        follow: whether to lead the Services of replicas to Pods that replace lost ones.
        unseen: why the resources used cannot be seen; empty if they can.
        failure: why the deployment can never become ready; None while it can.
        usage: the resources used so far; None before the first poll.
        happened: a sentence for each incident, oldest first.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, tags: OwnershipLabels, pods: tuple[Pod, ...]
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._tags = tags
        self._replicas = len(pods)
        self._first = {pod["metadata"]["uid"]: restarts(pod) for pod in pods}
        self._restarts = dict(self._first)
        self._names = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in pods}
        self._lost: set[str] = set()
        self._used: dict[str, ResourceUsage] = {}
        self.throttling: dict[str, Throttling] = {}
        self._cpu: dict[str, CpuReading] = {}
        self._kubelets_seen_at = 0.0
        self._done = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.follow = False
        self.unseen = ""
        self.failure: Doomed | None = None
        self.usage: ResourceUsage | None = None
        self.incidents: list[str] = []

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(_LOOK_S):
            self._look()

    def events(self) -> tuple[str, ...]:
        """Poll the deployment; return a sentence for each incident of a replica so far, oldest first."""
        self._look()
        return tuple(self.incidents)

    def _look(self) -> None:
        # An error here is not reported: the next poll tries again, and load reports the run's errors.
        with self._looking, suppress(TFServingError):
            snapshot = look(self._cluster, self._namespace, self._tags)
            alive = current_pods(snapshot)
            self._see_restarts(alive)
            self._see_failure(snapshot)
            if self.follow:
                restore(self._cluster, alive, self._replicas, self.incidents.append)
            self._see_usage(alive)

    def _see_restarts(self, alive: list[Pod]) -> None:
        at = time.strftime("%H:%M:%S UTC", time.gmtime())
        present = {pod["metadata"]["uid"] for pod in alive}
        for uid in self._restarts.keys() - present - self._lost:
            self._lost.add(uid)
            self.incidents.append(f"Pod {self._names[uid]} was lost, seen at {at}")
        for pod in alive:
            name, uid, count = pod["metadata"]["name"], pod["metadata"]["uid"], restarts(pod)
            if count > self._restarts.get(uid, 0):
                self.incidents.append(f"Pod {name} was restarted, seen at {at}")
            self._restarts[uid], self._names[uid] = count, name

    def _see_failure(self, snapshot: Snapshot) -> None:
        if found := doomed(snapshot):
            self.failure = self.failure or found

    def _see_usage(self, alive: list[Pod]) -> None:
        self._see_nodes(alive)
        counted = [self._with_throttling(key) for key, usage in self._used.items() if usage.cpu_s is not None]
        total = sum(counted[1:], start=counted[0]) if counted else ResourceUsage()
        self.usage = replace(
            total, restarts=self._disruptions(), cpu=tuple(self._cpu.values()), unseen=self.unseen
        )

    def _with_throttling(self, key: str) -> ResourceUsage:
        """Return the usage of a container with its periods; its throttled seconds are too old for windows."""
        found, used = self.throttling.get(key), self._used[key]
        if found is None:
            return used
        return replace(used, periods=found.periods, throttled_periods=found.throttled_periods)

    def _disruptions(self) -> int:
        """Return the number of restarted containers and lost Pods since the deployment was ready."""
        again = sum(count - self._first.get(uid, 0) for uid, count in self._restarts.items())
        return again + len(self._lost)

    def _see_nodes(self, alive: list[Pod]) -> None:
        """Read the kubelets' metrics, if the user may; the usage of a Pod that is gone still counts."""
        if self.unseen:
            return
        try:
            for node, pods in by_node(alive).items():
                page = self._cluster.text(f"/api/v1/nodes/{node}/proxy/stats/summary")
                summary: StatisticsSummary = json.loads(page)
                for pod in pods:
                    self._count(pod, usage_of(summary, pod["metadata"]["uid"]))
            if time.monotonic() > self._kubelets_seen_at + _KUBELETS_S:
                self._kubelets_seen_at = time.monotonic()
                limited, used = seen_by_kubelets(self._cluster, alive)
                self.throttling |= limited
                self._cpu |= used
        except PermissionMissingError as error:
            self.unseen = str(error)
        except UnreachableError:
            return

    def _count(self, pod: Pod, usage: ResourceUsage | None) -> None:
        """Keep the usage of a Pod's container; containers before a restart keep theirs."""
        if usage is None or usage.cpu_s is None:
            return
        self._used[container_key(pod)] = usage
