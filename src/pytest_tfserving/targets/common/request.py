"""Request for a deployment, which a target gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.protocols.payload_set import PayloadSet
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.targets.kubernetes.objects import KubernetesObject


@dataclass(frozen=True, slots=True)
class DeploymentRequest:
    """Request for a deployment.

    Attributes:
        experiment: the experiment to deploy.
        settings: the settings of the session.
        model_paths: returns the SavedModel base folder of each model by the model's name; called only if and
            when the target needs the folders.
        payloads: returns the requests that will be sent; called only if and when the target needs them.
        folder: the folder of the deployment, for logs and generated files.
        progress: shows a line of text now.
        note: shows a line of text at the end of the pytest run.
        failed: returns whether a test of the experiment has failed so far.
        bare: whether a baseline is needed.
        namespace: the Kubernetes namespace to deploy into; empty for a new one.
        nodes: the names of the cluster's nodes that replicas may run on; empty for all.
        adjust: changes Kubernetes manifests in place.
    """

    experiment: Experiment
    settings: Settings
    model_paths: Callable[[], Mapping[str, Path]]
    payloads: Callable[[], PayloadSet]
    folder: Path
    progress: Callable[[str], None]
    note: Callable[[str], None]
    failed: Callable[[], bool]
    bare: bool = True
    namespace: str = ""
    nodes: tuple[str, ...] = ()
    adjust: Callable[[list[KubernetesObject]], object] = lambda _: None
