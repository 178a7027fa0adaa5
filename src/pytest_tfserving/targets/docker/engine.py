"""The container engine of this machine, Docker or Podman: its address, its API, its errors as a sentence."""

from __future__ import annotations

import os
import re
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_tfserving.errors import ConfigurationError, DeploymentError, missing_extra
from pytest_tfserving.targets.common.ownership import MANAGED_BY, RUN, US, selector
from pytest_tfserving.text.addresses import without_secrets
from pytest_tfserving.text.foreign_text import LONGEST_REASON, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import docker
    from docker.models.containers import Container
    from docker.models.images import Image

    from pytest_tfserving.targets.common.ownership import OrphanRule

# The label of an image with the names of the models that `bake` put into the image, separated by commas.
MODEL = "pytest-tfserving/model"
# A removal waits for the kernel to end the container's processes.
_TIMEOUT_S = 30
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def address() -> str:
    """Return the engine's address: DOCKER_HOST, Podman's CONTAINER_HOST, docker's context, else Podman's."""
    for variable in ("DOCKER_HOST", "CONTAINER_HOST"):
        if os.environ.get(variable):
            return os.environ[variable]
    from_context = _address_of_context()
    if _exists(from_context):
        return from_context
    folders = [os.environ.get("XDG_RUNTIME_DIR", "/run"), "/run"]
    podman = [Path(folder) / "podman/podman.sock" for folder in folders]
    return next((f"unix://{path}" for path in podman if path.exists()), from_context)


def _address_of_context() -> str:
    """Return the address of the context that the docker command uses."""
    from docker.context import ContextAPI

    try:
        host = ContextAPI.get_current_context().Host
    except Exception:  # noqa: BLE001 - the SDK raises any error on a file that it cannot read
        host = None
    return str(host or "unix:///var/run/docker.sock").replace("http+unix://", "unix://")


def _exists(host: str) -> bool:
    return not host.startswith("unix://") or Path(host.removeprefix("unix://")).exists()


@contextmanager
def connect() -> Iterator[ContainerEngine]:
    """Connect to this machine's engine.

    Raises:
        ConfigurationError: when no engine answers, and when the engine is on another machine.
    """
    try:
        import docker
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "docker", "a container engine") from None
    host = address()
    shown = without_secrets(host)
    parts = urlsplit(host)
    if parts.scheme in ("tcp", "http", "https", "ssh") and parts.hostname not in _LOCAL_HOSTS:
        raise ConfigurationError(
            f"the engine at {shown} is another machine's; containers share cores, files and ports with this "
            "machine, so use one that runs here."
        )
    try:
        client = docker.DockerClient(base_url=host, version="auto", timeout=_TIMEOUT_S)
    except (docker.errors.DockerException, ValueError) as error:
        raise ConfigurationError(
            f"no container engine answers at {shown} ({reason(error)}); start Docker or Podman, or set "
            "DOCKER_HOST to its address."
        ) from None
    with closing(client):
        yield ContainerEngine(client, host)


def reason(error: BaseException) -> str:
    """Return the part of an engine's or a connection's error that a user can act on."""
    explanation = getattr(error, "explanation", None)
    if explanation:
        return one_line(without_secrets(str(explanation)), LONGEST_REASON).rstrip(".")
    text = one_line(without_secrets(str(error)), LONGEST_REASON)
    system = re.search(r"\[Errno \d+\] ([^')\"]+)|Error\(\d+, '([^']+)'\)", text)
    return (system[1] or system[2]) if system else text.rstrip(".")


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """Facts about an engine and its machine.

    Attributes:
        name: the name of the engine, as ``Docker``.
        version: the version of the engine.
        cgroups: the version of the control groups that limit containers; empty if it is not known.
        cores: the number of cores.
        ram_bytes: the RAM in bytes.
        rootless: whether the engine runs without the permissions of root.
    """

    name: str
    version: str
    cgroups: str
    cores: int
    ram_bytes: int
    rootless: bool


class ContainerEngine:
    """A connection to an engine; a refusal by the engine is a `DeploymentError`."""

    def __init__(self, client: docker.DockerClient, host: str) -> None:
        self.client = client
        self.host = host

    def __str__(self) -> str:
        return without_secrets(self.host)

    @contextmanager
    def asked(self, what: str) -> Iterator[None]:
        """Turn errors inside the context into one sentence: ``what`` failed, and why.

        Raises:
            DeploymentError: for any error of the engine or of the connection.
        """
        import docker
        import requests

        try:
            yield
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise DeploymentError(f"{what} failed on the engine at {self}: {reason(error)}") from None

    def facts(self) -> EngineFacts:
        """Return the engine's name and version, its cores and RAM, and how it limits containers."""
        with self.asked("asking for its version"):
            version, info = self.client.version(), self.client.info()
        component = (version.get("Components") or [{}])[0]
        return EngineFacts(
            name=str(component.get("Name", "Engine")).removesuffix(" Engine").replace("Engine", "Docker"),
            version=version["Version"],
            cgroups=str(info.get("CgroupVersion", "")),
            cores=int(info["NCPU"]),
            ram_bytes=int(info["MemTotal"]),
            rootless=any("rootless" in option for option in info.get("SecurityOptions") or ()),
        )

    def image(self, name: str, say: Callable[[str], None]) -> Image:
        """Return the image ``name``; pull the image if it is missing.

        Raises:
            DeploymentError: when the image is missing and cannot be pulled, or ``name`` is not valid.
        """
        import docker
        import requests

        try:
            return self.client.images.get(name)
        except docker.errors.ImageNotFound:
            say(f"pulling {name}")
        except docker.errors.APIError as error:
            raise DeploymentError(f"{name!r} is not the name of an image: {reason(error)}.") from None
        repository, tag = split_name(name)
        try:
            return self.client.images.pull(repository, tag=tag)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise DeploymentError(
                f"the image {name} is not on the engine at {self}, and pulling it failed: {reason(error)}."
            ) from None

    def ours(self, labels: Mapping[str, str]) -> list[Container]:
        """Return the containers with these ``labels``, running or not."""
        wanted = [f"{name}={value}" for name, value in labels.items()]
        with self.asked("listing containers"):
            return self.client.containers.list(all=True, filters={"label": wanted}, ignore_removed=True)

    def remove(self, run: str) -> None:
        """Remove the containers of one deployment."""
        for container in self.ours(selector(run)):
            self._remove(container)

    def sweep(self, leftovers: OrphanRule) -> list[str]:
        """Remove the leftover containers, and return their names with their runs."""
        left = [each for each in self.ours({MANAGED_BY: US}) if leftovers.include(each.labels)]
        for container in left:
            self._remove(container)
        return [f"container {each.name} of run {each.labels[RUN]}" for each in left]

    def _remove(self, container: Container) -> None:
        import docker

        with self.asked(f"removing container {container.name}"):
            try:
                container.remove(force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != 409:  # noqa: PLR2004 - another client is removing the container
                    raise


def split_name(image: str) -> tuple[str, str]:
    """Return an image's repository, and its tag or digest; the tag ``latest`` if the name has none."""
    if "@" in image:
        repository, _, digest = image.partition("@")
        return repository, digest
    repository, colon, tag = image.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (image, "latest")


def models_in(image: Image) -> set[str]:
    """Return the names of the models in an image."""
    config = image.attrs.get("Config") or {}
    variables = dict(each.partition("=")[::2] for each in config.get("Env") or ())
    named = variables.get("MODEL_NAME", "")
    # tensorflow/serving itself sets "model", and has no model.
    labelled = (config.get("Labels") or {}).get(MODEL, "")
    return {*filter(None, labelled.split(","))} or ({named} - {"", "model"})
