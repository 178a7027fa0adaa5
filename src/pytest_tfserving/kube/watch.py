"""Looks at a deployment again and again while it is loaded: what became of it, what it used."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.kube.access import restore
from pytest_tfserving.kube.cluster import (
    DEPLOYMENTS,
    EVENTS,
    PODS,
    REPLICA_SETS,
    PermissionMissingError,
    UnreachableError,
)
from pytest_tfserving.kube.names import APP
from pytest_tfserving.kube.readiness import Doomed, Snapshot, current_pods, doomed, restarts
from pytest_tfserving.kube.statistics import usage_of
from pytest_tfserving.targets.usage import Usage

if TYPE_CHECKING:
    from pytest_tfserving.kube.cluster import Cluster, Object
    from pytest_tfserving.targets.labels import Tags

_LOOK_S = 0.5


def look(cluster: Cluster, namespace: str, tags: Tags) -> Snapshot:
    """What the cluster says of a deployment now."""
    deployment = cluster.get(DEPLOYMENTS.path(namespace, APP))
    return Snapshot(
        deployment=deployment,
        pods=cluster.items(PODS, namespace, tags.labels),
        replica_sets=cluster.items(REPLICA_SETS, namespace, tags.labels),
        events=cluster.items(EVENTS, namespace),
    )


class Watch:
    """Sees what happens to a deployment that was ready with ``pods``.

    An API server that is away changes nothing: what was seen last stays, and is looked for again.
    """

    def __init__(self, cluster: Cluster, namespace: str, tags: Tags, pods: tuple[Object, ...]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._tags = tags
        self._replicas = len(pods)
        self._first = {pod["metadata"]["uid"]: restarts(pod) for pod in pods}
        self._restarts = dict(self._first)
        self._nodes_are_seen = True
        self._used: dict[str, Usage] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.follow = False
        self.failure: Doomed | None = None
        self.usage: Usage | None = None
        self.remarks: list[str] = []

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

    def _look(self) -> None:
        # Whatever goes wrong here is looked at again; the run's own errors are the load's to tell.
        with suppress(TFServingError):
            snapshot = look(self._cluster, self._namespace, self._tags)
            alive = current_pods(snapshot)
            self._see_restarts(alive)
            self._see_failure(snapshot)
            if self.follow:
                restore(self._cluster, alive, self._replicas, self.remarks.append)
            self._see_usage(alive)

    def _see_restarts(self, alive: list[Object]) -> None:
        at = time.strftime("%H:%M:%S", time.gmtime())
        uids = {pod["metadata"]["uid"] for pod in alive}
        for pod in alive:
            meta, count = pod["metadata"], restarts(pod)
            known = self._restarts.get(meta["uid"])
            if known is None:
                self.remarks.append(f"Pod {meta['name']} replaced one that was lost, seen at {at} UTC")
                self._restarts[meta["uid"]] = count
            elif count > known:
                self.remarks.append(f"Pod {meta['name']} was restarted, seen at {at} UTC")
                self._restarts[meta["uid"]] = count
        self.gone = len(set(self._restarts) - uids)

    def _see_failure(self, snapshot: Snapshot) -> None:
        if found := doomed(snapshot):
            self.failure = self.failure or found

    def _see_usage(self, alive: list[Object]) -> None:
        self._see_nodes(alive)
        counted = [usage for usage in self._used.values() if usage.cpu_s is not None]
        total = sum(counted[1:], start=counted[0]) if counted else Usage()
        self.usage = replace(total, restarts=self._disruptions())

    def _disruptions(self) -> int:
        """Containers started again and Pods replaced since the deployment was ready."""
        again: int = sum(count - self._first.get(uid, 0) for uid, count in self._restarts.items())
        return again + len(self._restarts) - len(self._first)

    def _see_nodes(self, alive: list[Object]) -> None:
        """Ask the kubelets, unless this user may not; a Pod's share stays counted when it is gone."""
        if not self._nodes_are_seen:
            return
        nodes = {pod["spec"].get("nodeName") for pod in alive} - {None}
        try:
            for node in nodes:
                summary = self._cluster.get(f"/api/v1/nodes/{node}/proxy/stats/summary")
                for pod in alive:
                    if pod["spec"].get("nodeName") == node:
                        self._count(pod, usage_of(summary, pod["metadata"]["uid"]))
        except PermissionMissingError:
            self._nodes_are_seen = False
        except UnreachableError:
            return

    def _count(self, pod: Object, usage: Usage | None) -> None:
        """Take in what a Pod has used; a container that was restarted counts on from there."""
        if usage is None or usage.cpu_s is None:
            return
        key = f"{pod['metadata']['uid']} {restarts(pod)}"
        self._used[key] = usage
