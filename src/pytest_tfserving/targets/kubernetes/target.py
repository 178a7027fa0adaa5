"""Target ``kubernetes``: a Pod for each node of the shape, in a cluster of a kubeconfig."""

from __future__ import annotations

import json
import time
import warnings
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_tfserving.deployment.deployment import Deployment
from pytest_tfserving.errors import ConfigurationError, DeploymentError, TFServingError, TFServingWarning
from pytest_tfserving.experiments import DEFAULT_IMAGE
from pytest_tfserving.protocols import REST
from pytest_tfserving.protocols.client import wait_until_available
from pytest_tfserving.protocols.model_state import best_state
from pytest_tfserving.targets.common.ownership import OWNER, OrphanRule, OwnershipLabels, owner_of
from pytest_tfserving.targets.common.served_model import in_the_image, rest_paths
from pytest_tfserving.targets.kubernetes import diagnostics as seen
from pytest_tfserving.targets.kubernetes.access import ReadyDeployment, expose
from pytest_tfserving.targets.kubernetes.capacity import Allocation, allocate
from pytest_tfserving.targets.kubernetes.cluster import (
    NODES,
    PODS,
    Cluster,
    NotFoundError,
    UnreachableError,
    persistently,
)
from pytest_tfserving.targets.kubernetes.cluster_lock import ClusterLock
from pytest_tfserving.targets.kubernetes.context import kubeconfig_paths, pinned
from pytest_tfserving.targets.kubernetes.kustomize import Variant, check_deployment, own_base, render
from pytest_tfserving.targets.kubernetes.lifecycle import AWAY_S, DeployedObjects
from pytest_tfserving.targets.kubernetes.lifecycle import sweep as sweep_cluster
from pytest_tfserving.targets.kubernetes.load_pods import PodHost
from pytest_tfserving.targets.kubernetes.model_image import check_brings_models, how_to_bring
from pytest_tfserving.targets.kubernetes.monitor import DeploymentMonitor, look
from pytest_tfserving.targets.kubernetes.names import CONTAINER, REST_PORT
from pytest_tfserving.targets.kubernetes.permissions import all_lacking_named
from pytest_tfserving.targets.kubernetes.readiness import Doomed, Ready, Waiting, current_pods, state_of
from pytest_tfserving.targets.target import Target
from pytest_tfserving.text.addresses import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.targets.common.request import DeploymentRequest
    from pytest_tfserving.targets.kubernetes.access import Exposure
    from pytest_tfserving.targets.kubernetes.context import Context
    from pytest_tfserving.targets.kubernetes.kubelet_statistics import Throttling
    from pytest_tfserving.targets.kubernetes.objects import KubernetesObject, Pod
    from pytest_tfserving.text.json_value import JsonObject

_LOOK_S = 0.25
# A kubelet checks its containers once a second and then reports; this process reads twice a second.
_KNOWN_AFTER_S = 3.0
_ADVICE = "raise --tfserving-ready-timeout if it only needs longer"


class KubernetesTarget(Target):
    """Target ``kubernetes``: Pods of a cluster that a kubeconfig reaches.

    The context is read once a session: later changes of the kubeconfig have no effect.
    """

    leaves_objects = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_unseen_told = False

    @cached_property
    def context(self) -> Context:
        """The session's cluster."""
        return self._pinned(self._settings.contexts[0] if self._settings.contexts else "")

    @cached_property
    def cluster(self) -> Cluster:
        """Connection to the cluster."""
        return Cluster(self.context)

    def describe(self) -> str:
        """Return in words the image, and each context with its server."""
        where = " and ".join(map(str, self._contexts()))
        return f"{self._settings.image} in context {where}"

    def unfit(self, experiment: Experiment) -> str:
        """Return what the cluster lacks for the experiment; empty if nothing."""
        return self._room(experiment).unfit

    def refusal(self, experiment: Experiment) -> str:
        """Return that an experiment has no shape; empty if it has one."""
        return experiment.lacks_for_a_cluster

    def lacks_for_two(self, experiment: Experiment) -> str:
        """Return why the cluster has no room for two servers on the same nodes; empty if it has."""
        return self._room(experiment, for_two=True).unfit

    def served(self, experiment: Experiment, say: Callable[[str], None]) -> JsonObject:  # noqa: ARG002 - part of Target
        """Return the image, which contains the models, how the server serves, and on which nodes."""
        hooks = experiment.home.manifest_hooks
        return {
            "server": self._settings.image,
            "model": in_the_image(experiment.model_names),
            "context": self.context.name,
            "base": str(self._settings.base or ""),
            "nodes": asdict(experiment.nodes),
            "load_pods": asdict(experiment.load_pods) if self._settings.load_in_cluster else None,
            # The changes that a hook makes to manifests can depend on every argument of the hook.
            "manifests": [experiment.name, *hooks] if hooks else None,
            **experiment.served,
        }

    @contextmanager
    def held(self, purpose: str, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the cluster's lock; the session that acquires it deletes the leftovers in the cluster."""
        with self._lacking_named(self._settings.namespace), self._lock.held(purpose, say):
            yield

    @contextmanager
    def deploy(self, order: DeploymentRequest) -> Iterator[Deployment]:
        """Apply the manifests, wait until each replica has its models AVAILABLE, and delete all afterwards.

        Raises:
            ConfigurationError: if the experiment has no shape, if one namespace is to hold the candidate and
                the baseline server, if the image cannot have the models, or if the user lacks permissions.
            DeploymentError: if the cluster has no node for the shape, or a replica does not become ready.
        """
        if problem := self.refusal(order.experiment):
            raise ConfigurationError(problem)
        cluster = self.cluster
        _refuse_two_in(order.namespace, order.settings)
        tags = OwnershipLabels(order.experiment.name, order.settings.keep)
        space = self._room(order.experiment, for_two=order.settings.against is not None)
        if not space.replicas:
            raise DeploymentError(space.unfit)
        manifests = _manifests(order, space)
        check_brings_models(manifests, order.experiment.served_models, self.context.name)
        with self._lacking_named(order.namespace), ExitStack() as stack:
            objects = stack.enter_context(DeployedObjects(cluster, order, tags))
            try:
                objects.apply(manifests)
                most_s = order.settings.ready_timeout_s
                about = f"{space.replicas} x {_given(space)}, at most {most_s:g} s"
                order.progress(f"{order.experiment.name}: starting {about}")
                placed = _placed(order, cluster, objects.namespace, tags)
                reached = expose(order.settings.access, placed)
                _wait_for_models(order, placed, reached)
            except DeploymentError as error:
                for title, text in _evidence(cluster, objects.namespace, tags, {}, str(error)):
                    error.add_note(f"--- {title} ---\n{text}")
                raise
            watch = stack.enter_context(DeploymentMonitor(cluster, objects.namespace, tags, placed.pods))
            watch.follow = reached.one_a_replica
            stack.callback(self._tell_unseen, order, watch)
            yield _deployment(order, placed, space, reached, watch)

    def sweep(self, leftovers: OrphanRule, say: Callable[[str], None]) -> None:
        """Delete the leftovers of runs of this package in the clusters of all contexts."""
        for context in self._contexts():
            sweep_cluster(Cluster(context), leftovers, self._settings.namespace, say)

    @cached_property
    def _lock(self) -> ClusterLock:
        return ClusterLock(self.cluster, self._tidy)

    def _tidy(self) -> None:
        try:
            sweep_cluster(self.cluster, OrphanRule(), self._settings.namespace)
        except DeploymentError as problem:
            text = f"leftovers of a killed run are still there: {problem}"
            warnings.warn(TFServingWarning(text), stacklevel=2)

    def _contexts(self) -> list[Context]:
        return [self.context, *map(self._pinned, self._settings.contexts[1:])]

    def _pinned(self, name: str) -> Context:
        return pinned(kubeconfig_paths(self._settings.kubeconfig), name, self._settings.allowed_contexts)

    def _room(self, experiment: Experiment, *, for_two: bool = False) -> Allocation:
        cluster = self.cluster
        with self._lacking_named(self._settings.namespace):
            nodes, pods = cluster.items(NODES), cluster.items(PODS)
        return allocate(experiment.shape, experiment.nodes, nodes, pods, _is_ours, for_two=for_two)

    def _lacking_named(self, namespace: str) -> AbstractContextManager[None]:
        """Return a context whose error on a missing permission names all that are missing."""
        in_cluster = self._settings.load_in_cluster
        return all_lacking_named(self.cluster, namespace, load_in_cluster=in_cluster)

    def _tell_unseen(self, order: DeploymentRequest, watch: DeploymentMonitor) -> None:
        """Say once a session why the server's side of results is empty, if it is."""
        if watch.unseen and not self._is_unseen_told:
            self._is_unseen_told = True
            order.note(f"the resources used by servers are not shown: {watch.unseen}")


def _refuse_two_in(namespace: str, settings: Settings) -> None:
    """Raise a ConfigurationError if one namespace is to hold the candidate and the baseline server."""
    if namespace and settings.against:
        raise ConfigurationError(
            f"--tfserving-against={settings.against}: the namespace {namespace!r} cannot hold two servers, "
            "whose objects have the same names; leave --tfserving-namespace out, and each server gets a "
            "namespace of its own."
        )


def _is_ours(pod: Pod) -> bool:
    """Return whether this process created a Pod."""
    annotations = pod["metadata"].get("annotations") or {}
    return OWNER in annotations and owner_of(annotations) == OwnershipLabels("").owner


def _manifests(order: DeploymentRequest, space: Allocation) -> list[KubernetesObject]:
    settings = order.settings
    base = settings.base or own_base()
    # A user's own base may name its image; the option's default belongs to the base of this package.
    image = "" if settings.base and settings.image == DEFAULT_IMAGE else settings.image
    variant = Variant(
        base,
        image,
        space.replicas,
        space.resources,
        startup_s=max(round(settings.ready_timeout_s), 1),
        nodes=order.nodes or space.nodes,
        for_two=settings.against is not None,
    )
    manifests = render(order.experiment, variant, order.folder / "overlay")
    order.adjust(manifests)
    check_deployment(manifests, "the result of the hook pytest_tfserving_manifests")
    return manifests


def _given(space: Allocation) -> str:
    quantities = space.resources.quantities()
    return f"{quantities['cpu']} CPU and {quantities['memory']}"


def _placed(
    order: DeploymentRequest, cluster: Cluster, namespace: str, tags: OwnershipLabels
) -> ReadyDeployment:
    """Wait until all Pods are ready; return the deployment.

    Raises:
        DeploymentError: if a Pod can never become ready, or the Pods are not ready in time.
    """
    deadline, said = time.monotonic() + order.settings.ready_timeout_s, ""
    while True:
        snapshot = persistently(lambda: look(cluster, namespace, tags), AWAY_S)
        state = state_of(snapshot)
        if isinstance(state, Ready):
            pods = tuple(pod for pod in current_pods(snapshot))
            return ReadyDeployment(cluster, namespace, tags, pods, order.settings.ready_timeout_s)
        if isinstance(state, Doomed):
            raise DeploymentError(_with_remedy(cluster, namespace, state))
        if time.monotonic() > deadline:
            raise DeploymentError(_too_late(state, order.settings.ready_timeout_s))
        if state.reason != said:
            left_s = max(deadline - time.monotonic(), 0)
            order.progress(f"{order.experiment.name}: {state.reason}, at most {left_s:.0f} s more")
            said = state.reason
        time.sleep(_LOOK_S)


def _with_remedy(cluster: Cluster, namespace: str, state: Doomed) -> str:
    """Return why a deployment is doomed, with the command that brings a missing image to the nodes."""
    reason = seen.with_last_words(cluster, namespace, state)
    return f"{reason}; {how_to_bring(state.image, cluster.context.name)}" if state.image else reason


def _too_late(state: Waiting, timeout_s: float) -> str:
    return f"the deployment was not ready after {timeout_s:g} s (last: {state.reason}); {_ADVICE}"


def _wait_for_models(order: DeploymentRequest, placed: ReadyDeployment, reached: Exposure) -> None:
    """Wait until each model is AVAILABLE in each Pod, and at each address that gets load.

    A Pod can be ready before its models are.

    Raises:
        DeploymentError: if a model does not become AVAILABLE in time.
    """
    paths = rest_paths(order.experiment)
    deadline = time.monotonic() + order.settings.ready_timeout_s
    for pod in placed.pods:
        for model in paths:
            _wait_for_model(placed, pod["metadata"]["name"], model, deadline)
    for endpoint in reached.addresses[REST.name]:
        wait_until_available(
            endpoint,
            *paths.values(),
            timeout_s=max(deadline - time.monotonic(), 1.0),
            failure=lambda: "",
            advice=f"it was reached by {reached.how}; --tfserving-access chooses another way",
        )


def _wait_for_model(placed: ReadyDeployment, pod: str, model: str, deadline: float) -> None:
    path = f"{PODS.path(placed.namespace, pod)}:{REST_PORT}/proxy/v1/models/{model}"
    state, error = "no response", ""
    while time.monotonic() < deadline:
        try:
            state, error = best_state(json.loads(placed.cluster.text(path)))
        except (UnreachableError, NotFoundError, ValueError, RecursionError) as problem:
            error = str(problem)
        if state == "AVAILABLE":
            return
        if state == "END":
            raise DeploymentError(f"the model {model} in Pod {pod} did not load: {error}")
        time.sleep(_LOOK_S)
    raise DeploymentError(
        f"the model {model} in Pod {pod} was not AVAILABLE after {placed.timeout_s:g} s "
        f"(last: {state}{': ' + error if error else ''}); {_ADVICE}"
    )


# --- what came of it ---


def _deployment(
    order: DeploymentRequest,
    placed: ReadyDeployment,
    space: Allocation,
    reached: Exposure,
    watch: DeploymentMonitor,
) -> Deployment:
    cluster, namespace, tags = placed.cluster, placed.namespace, placed.tags
    place = _load_place(order, placed, reached) if order.settings.load_in_cluster else None

    def failure() -> str:
        return seen.with_last_words(cluster, namespace, watch.failure) if watch.failure else ""

    return Deployment(
        experiment=order.experiment,
        label=order.experiment.name,
        paths=rest_paths(order.experiment),
        addresses=reached.addresses,
        via=f"{reached.how}, load from Pods of the cluster" if place else reached.how,
        load_place=place,
        unfit=space.unfit,
        nodes=tuple(pod["spec"]["nodeName"] for pod in placed.pods),
        environment=_environment(order, placed, space),
        failure=failure,
        known_after_s=_KNOWN_AFTER_S,
        incidents=watch.events,
        evidence=lambda: _evidence(cluster, namespace, tags, watch.throttling),
        usage=lambda: watch.usage,
    )


def _load_place(order: DeploymentRequest, placed: ReadyDeployment, reached: Exposure) -> PodHost:
    settings = order.settings
    return PodHost(
        cluster=placed.cluster,
        namespace=placed.namespace,
        tags=placed.tags,
        inside=reached.inside,
        image=settings.load_image or settings.image,
        pods=order.experiment.load_pods,
        start_s=settings.ready_timeout_s,
    )


def _environment(order: DeploymentRequest, placed: ReadyDeployment, space: Allocation) -> JsonObject:
    version = placed.cluster.get("/version")
    status = placed.pods[0]["status"]["containerStatuses"]
    image = next(each for each in status if each["name"] == CONTAINER)
    return {
        "server": "Pod",
        "context": placed.cluster.context.name,
        "kubernetes": version["gitVersion"],
        "image": {"name": order.settings.image, "id": image.get("imageID", "")},
        "run": placed.tags.run,
        "namespace": placed.namespace,
        "replica_resources": {**space.resources.quantities()},
        "replica_nodes": [pod["spec"]["nodeName"] for pod in placed.pods],
        "server_flags": [without_secrets(flag) for flag in _flags(placed.pods[0])],
        "pinned": False,
    }


def _flags(pod: Pod) -> list[str]:
    container = next(each for each in pod["spec"]["containers"] if each["name"] == CONTAINER)
    return list(container.get("args") or ())


def _evidence(
    cluster: Cluster, namespace: str, tags: OwnershipLabels, limits: dict[str, Throttling], told: str = ""
) -> list[tuple[str, str]]:
    with suppress(TFServingError):
        return seen.evidence(cluster, namespace, look(cluster, namespace, tags), limits, told)
    return []
