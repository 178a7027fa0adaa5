"""Objects of a deployment, which are created and deleted together."""

from __future__ import annotations

import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

from pytest_tfserving.errors import ConfigurationError, DeploymentError, TFServingError, TFServingWarning
from pytest_tfserving.system.signals import without_interruption
from pytest_tfserving.targets.common.ownership import EXPERIMENT, MANAGED_BY, RUN, US
from pytest_tfserving.targets.kubernetes.cluster import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    NotFoundError,
    PermissionMissingError,
    persistently,
)
from pytest_tfserving.targets.kubernetes.manifests import namespace_manifest, tagged
from pytest_tfserving.targets.kubernetes.names import APP, LOAD
from pytest_tfserving.targets.kubernetes.readiness import has_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_tfserving.targets.common.ownership import OrphanRule, OwnershipLabels
    from pytest_tfserving.targets.common.request import DeploymentRequest
    from pytest_tfserving.targets.kubernetes.cluster import Cluster, ResourceKind
    from pytest_tfserving.targets.kubernetes.objects import KubernetesObject, Pod

ObjectT = TypeVar("ObjectT", bound="KubernetesObject")

# Longest wait for an API server that does not respond.
AWAY_S = 60.0
# Longest wait for Pods to end. A kubelet that missed the end of a Pod checks again after about a minute.
_GONE_S = 120.0
_LOOK_S = 0.25
_OURS = {MANAGED_BY: US}
# Kinds of objects that are created during a run, and kinds that a killed run can leave behind.
_MADE_MEANWHILE: tuple[ResourceKind[KubernetesObject], ...] = (JOBS, SERVICES, CONFIG_MAPS)
_SWEPT: tuple[ResourceKind[KubernetesObject], ...] = (DEPLOYMENTS, JOBS, SERVICES, CONFIG_MAPS)


class DeployedObjects:
    """Context that deletes a deployment's objects, or keeps them on request.

    The context is entered before the first object is created.

    Raises:
        ConfigurationError: on entering, if the given namespace cannot be used.
    """

    def __init__(self, cluster: Cluster, order: DeploymentRequest, tags: OwnershipLabels) -> None:
        self._cluster = cluster
        self._order = order
        self._tags = tags
        self._own = not order.namespace
        self._applied: list[tuple[ResourceKind[KubernetesObject], str]] = []
        self.namespace = order.namespace or f"{US}-{tags.run}"

    def __enter__(self) -> Self:
        if not self._own:
            self._check_given()
        return self

    def apply(self, manifests: Sequence[KubernetesObject]) -> None:
        """Create the namespace, unless one is given, and all objects in it.

        Raises:
            ConfigurationError: if a given namespace has an object of the same kind and name.
        """
        made = tagged(manifests, self._tags, self.namespace)
        if self._own:
            self._cluster.apply(namespace_manifest(self.namespace, self._tags), "")
        for manifest in made:
            self._refuse_strangers(manifest)
        for manifest in made:
            kind = self._cluster.kind(manifest["apiVersion"], manifest["kind"])
            self._applied.append((kind, manifest["metadata"]["name"]))
            self._cluster.apply(manifest, self.namespace)

    def _check_given(self) -> None:
        """Check that the given namespace exists, and was not created by another run.

        Raises:
            ConfigurationError: if it does not exist, or was created by another run.
        """
        name = self.namespace
        try:
            found = self._cluster.find(NAMESPACES, "", name)
        except PermissionMissingError:
            return  # a user of a namespace may lack the permission to read the namespace itself
        if found is None:
            raise ConfigurationError(
                f"there is no namespace {name!r} in context {self._cluster.context.name!r}; leave "
                "--tfserving-namespace out, and the run creates its own, or create it: "
                f"kubectl --context {self._cluster.context.name} create namespace {name}"
            )
        if (found["metadata"].get("labels") or {}).get(MANAGED_BY) == US:
            raise ConfigurationError(
                f"namespace {name!r} belongs to another run, which will delete it; give another one with "
                "--tfserving-namespace, or none."
            )

    def _refuse_strangers(self, manifest: KubernetesObject) -> None:
        if self._own:
            return
        kind = self._cluster.kind(manifest["apiVersion"], manifest["kind"])
        found = self._cluster.find(kind, self.namespace, manifest["metadata"]["name"])
        if found and (found["metadata"].get("labels") or {}).get(RUN) != self._tags.run:
            raise ConfigurationError(
                f"namespace {self.namespace!r} has a {manifest['kind']} {manifest['metadata']['name']!r} "
                "that this run did not make; give another with --tfserving-namespace, or none."
            )

    # --- the end ---

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        failed = isinstance(error, Exception) or self._order.failed()
        if self._tags.keep == "always" or (self._tags.keep == "on-failure" and failed):
            self._tell_that_it_is_kept()
            return
        try:
            self._delete()
        except TFServingError as problem:
            text = f"{self._order.experiment.name}: not all is deleted: {problem}; {self._how_to_delete}"
            warnings.warn(TFServingWarning(text), stacklevel=2)

    def _delete(self) -> None:
        """Delete Pods first: a namespace deleted while Pods exist is only re-checked much later.

        The rest uses no resources, and the cluster deletes it, so this method does not wait for it.
        """
        try:
            with without_interruption():
                persistently(self._delete_applied, AWAY_S)
            wait_until_gone(self._remaining)
        finally:
            if self._own:
                with without_interruption():
                    persistently(lambda: self._cluster.delete(NAMESPACES, "", self.namespace), AWAY_S)

    def _delete_applied(self) -> None:
        for kind, name in reversed(self._applied):
            self._cluster.delete(kind, self.namespace, name)
        for kind in _MADE_MEANWHILE:
            for each in self._cluster.items(kind, self.namespace, self._tags.labels):
                self._cluster.delete(kind, self.namespace, each["metadata"]["name"])

    def _remaining(self) -> list[str]:
        """Return the names of all that still runs, servers and load.

        ReplicaSets are listed before Pods, because they can create more.
        """
        cluster, namespace, labels = self._cluster, self.namespace, self._tags.labels
        makers = list(map(_name, cluster.items(REPLICA_SETS, namespace, labels)))
        servers = cluster.items(PODS, namespace, labels)
        load = cluster.items(PODS, namespace, {LOAD: self._tags.run})
        return [*makers, *running(cluster, [*servers, *load])]

    @property
    def _how_to_delete(self) -> str:
        return f"delete it with `pytest-tfserving cleanup --run {self._tags.run}`"

    def _tell_that_it_is_kept(self) -> None:
        look = f"kubectl --context {self._cluster.context.name} --namespace {self.namespace}"
        self._order.note(
            f"kept {self._order.experiment.name}: look at it with `{look} get all,events` and "
            f"`{look} logs deployment/{APP}`; {self._how_to_delete}"
        )


def wait_until_gone(remaining: Callable[[], list[str]]) -> None:
    """Wait until nothing is ``remaining``, because it would disturb the next measurement.

    Args:
        remaining: returns the names of the objects that still exist.

    Raises:
        DeploymentError: if objects still exist after two minutes.
    """
    deadline = time.monotonic() + _GONE_S
    while names := persistently(remaining, AWAY_S):
        if time.monotonic() > deadline:
            raise DeploymentError(f"still present after {_GONE_S:g} s: {', '.join(names)}")
        time.sleep(_LOOK_S)


def running(cluster: Cluster, pods: Sequence[Pod]) -> list[str]:
    """Return the names of the Pods that run, and delete the objects of Pods that have ended."""
    ended = [pod for pod in pods if has_ended(pod)]
    for pod in ended:
        cluster.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], grace_s=0)
    return [_name(pod) for pod in pods if pod not in ended]


def _name(thing: KubernetesObject) -> str:
    return str(thing["metadata"]["name"])


def sweep(
    cluster: Cluster,
    leftovers: OrphanRule,
    namespace: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Delete the leftovers of runs: objects in one namespace or in all, then the namespaces of runs.

    Before namespaces are deleted, Pods must have ended: Pods would disturb the next measurement, and a
    namespace deleted while Pods exist is only re-checked much later. Kinds of objects that the user may not
    list are skipped, which ``say`` reports.

    Args:
        cluster: the cluster.
        leftovers: the rule for objects that are left over.
        namespace: the only namespace to look into; empty for all.
        say: called with a line for each deleted object.

    Raises:
        DeploymentError: if Pods do not end.
    """
    runs: set[str] = set()
    for kind in _SWEPT:
        runs |= _sweep_kind(cluster, kind, namespace, leftovers, say)
    try:
        wait_until_gone(lambda: _remaining(cluster, namespace, leftovers, runs))
    finally:
        _sweep_kind(cluster, NAMESPACES, namespace, leftovers, say)


def _sweep_kind(
    cluster: Cluster,
    kind: ResourceKind[KubernetesObject],
    namespace: str,
    leftovers: OrphanRule,
    say: Callable[[str], None],
) -> set[str]:
    """Delete the objects of a kind that are left over; return the ids of their runs.

    The ids include those of objects that are being deleted already.
    """
    try:
        found = _left(cluster, kind, namespace, leftovers)
    except PermissionMissingError as error:
        if kind is not NAMESPACES or not namespace:
            say(f"not looked at: {kind.plural}: {error}")
        return set()
    for each in found:
        meta = each["metadata"]
        where = meta.get("namespace", "")
        goes = "deletionTimestamp" not in meta and cluster.delete(kind, where, meta["name"])
        if goes and where != f"{US}-{meta['labels'][RUN]}":  # the line on a namespace includes its objects
            within = f" in {where}" if where else ""
            say(f"deleted {kind.plural}/{meta['name']} of {_experiment(each)}{within}")
    return {each["metadata"]["labels"][RUN] for each in found}


def _remaining(cluster: Cluster, namespace: str, leftovers: OrphanRule, runs: set[str]) -> list[str]:
    """Return the names of leftovers that still run, and of Pods that make load for ``runs``."""
    try:
        makers = list(map(_name, _left(cluster, REPLICA_SETS, namespace, leftovers)))
        pods = cluster.items(PODS, namespace)
    except PermissionMissingError:
        return []
    left = [pod for pod in pods if leftovers.include(_carried(pod)) or _carried(pod).get(LOAD) in runs]
    return [*makers, *running(cluster, left)]


def _left(
    cluster: Cluster, kind: ResourceKind[ObjectT], namespace: str, leftovers: OrphanRule
) -> list[ObjectT]:
    """Return the objects of a kind that are left over."""
    with suppress(NotFoundError):
        found = cluster.items(kind, namespace, _OURS)
        return [each for each in found if leftovers.include(_carried(each))]
    return []


def _carried(thing: KubernetesObject) -> Mapping[str, str]:
    return {**(thing["metadata"].get("labels") or {}), **(thing["metadata"].get("annotations") or {})}


def _experiment(thing: KubernetesObject) -> str:
    return str((thing["metadata"].get("labels") or {}).get(EXPERIMENT, "an experiment"))
