"""Images with models in them: the check that one can have them, and the commands that make and bring one."""

from __future__ import annotations

import shlex
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.models.store import MODELS
from pytest_tfserving.targets.kubernetes.context import LOCAL_CONTEXTS
from pytest_tfserving.targets.kubernetes.kustomize import MODELS_CONFIG_FLAG, check_deployment
from pytest_tfserving.targets.kubernetes.names import BATCHING_FOLDER, MODELS_CONFIG_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.experiments.model_mix import MixedModel
    from pytest_tfserving.targets.kubernetes.objects import Container, KubernetesObject

# TensorFlow Serving's own images, which have no model, and their copies at mirrors of Docker Hub.
_WITHOUT_MODEL = "tensorflow/serving"
_HUBS = ("", "docker.io/", "index.docker.io/", "registry-1.docker.io/", "mirror.gcr.io/")
# What this package itself puts into the container: no volume with a model, no other place of models.
_OUR_VOLUMES = ("/tmp", "/etc/tfs-monitoring", BATCHING_FOLDER, MODELS_CONFIG_FOLDER)  # noqa: S108 - the container's own
_OUR_VARIABLE = "MODEL_NAME"
_PLACES_OF_MODELS = ("--model_base_path", "--model_config_file")


def check_brings_models(
    manifests: Sequence[KubernetesObject], models: Sequence[MixedModel], context: str
) -> None:
    """Check that the served image can have the models in it, or that the manifests bring the models.

    Raises:
        ConfigurationError: if neither can be. The message ends with the command that makes an image.
    """
    container = check_deployment(manifests, "the deployment")
    image = container.get("image", "")
    if _has_no_model(image) and not _brings_model(container):
        made = example_image([each.name for each in models], context)
        command = bake_command(image, [each.model for each in models], made)
        what = "model" if len(models) == 1 else "models"
        raise ConfigurationError(
            f"the image {image} has no model in it, and nothing in the manifests brings one; make an image "
            f"with the {what} and name it with --tfserving-image={made}: {command}"
        )


def bake_command(image: str, models: Sequence[str], made: str) -> str:
    """Return the command line that makes the image ``made`` from ``image`` and models."""
    return shlex.join(["pytest-tfserving", "bake", image, *map(_as_typed, models), made])


def example_image(names: Sequence[str], context: str) -> str:
    """Return a name for an image with models, which nodes of a context can get."""
    name = f"{'-'.join(names).lower()}:1"
    return name if is_local(context) else f"REGISTRY/{name}"


def how_to_bring(image: str, context: str) -> str:
    """Return in words how an image of this machine's engine comes to the nodes of a context."""
    command = bring_command(image, context)
    if is_local(context):
        return f"if it is an image of this machine's engine, bring it to the nodes: {command}"
    return f"push it, and give the namespace an imagePullSecret if the registry asks for one: {command}"


def bring_command(image: str, context: str) -> str:
    """Return the command line that brings an image of this machine's engine to the nodes of a context.

    It is empty if the nodes share the images of the engine.
    """
    kind, _, cluster = context.partition("-")
    if context == "docker-desktop":
        return ""
    if context == "minikube":
        return shlex.join(["minikube", "image", "load", image])
    if kind == "kind" and cluster:
        return shlex.join(["kind", "load", "docker-image", image, "--name", cluster])
    if kind == "k3d" and cluster:
        return shlex.join(["k3d", "image", "import", image, "--cluster", cluster])
    return shlex.join(["docker", "push", image])


def is_local(context: str) -> bool:
    """Return whether a context has the name of a local cluster's."""
    return any(fnmatchcase(context, pattern) for pattern in LOCAL_CONTEXTS)


def _as_typed(model: str) -> str:
    """Return a model as a command takes it: the name of a bundled one, else its path from here."""
    path = Path(model)
    if model in MODELS or not path.is_absolute():
        return model
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else model


def _has_no_model(image: str) -> bool:
    name = image.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    repository = repository if colon and "/" not in tag else name
    return any(repository == f"{hub}{_WITHOUT_MODEL}" for hub in _HUBS)


def _brings_model(container: Container) -> bool:
    """Return whether a base, a hook or a flag could bring the model by other means than the image."""
    volumes = [each.get("mountPath") for each in container.get("volumeMounts") or ()]
    variables = [each.get("name") for each in container.get("env") or ()]
    flags = [flag for flag in container.get("args") or () if flag != MODELS_CONFIG_FLAG]
    return (
        bool(container.get("command") or container.get("lifecycle"))
        or any(path not in _OUR_VOLUMES for path in volumes)
        or any(name != _OUR_VARIABLE for name in variables)
        or any(flag.partition("=")[0] in _PLACES_OF_MODELS for flag in flags)
    )
