"""Target ``docker``: a container for each node, on cores of its own, on this machine's engine."""

from __future__ import annotations

import os
import stat
import time
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from pytest_tfserving.deployment.deployment import Deployment, Diagnostics, Endpoint, addresses_of
from pytest_tfserving.errors import ConfigurationError, DeploymentError, TFServingError, TFServingWarning
from pytest_tfserving.experiments.experiment import BYTES_PER_GB
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.client import wait_until_available
from pytest_tfserving.system.processes import CAN_PIN, available_cores
from pytest_tfserving.system.resource_usage import CpuReading, ResourceUsage
from pytest_tfserving.system.signals import without_interruption
from pytest_tfserving.targets.baseline.freeze import Containers, Processes, freezable
from pytest_tfserving.targets.baseline.sessions import BaselineSessions
from pytest_tfserving.targets.common.model_folder import check_memory
from pytest_tfserving.targets.common.ownership import OrphanRule, OwnershipLabels
from pytest_tfserving.targets.common.placement import lacking, lacking_for_two, place
from pytest_tfserving.targets.common.served_model import check_mounted, in_the_image, rest_paths
from pytest_tfserving.targets.common.server_files import (
    MODELS_FOLDER,
    model_place,
    write_models_config,
    write_server_files,
)
from pytest_tfserving.targets.docker.engine import ContainerEngine, address, connect, models_in, reason
from pytest_tfserving.targets.target import Target
from pytest_tfserving.text.addresses import without_secrets
from pytest_tfserving.text.foreign_text import lines, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from docker.models.containers import Container
    from docker.models.images import Image

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.targets.baseline.freeze import ServerFreezer
    from pytest_tfserving.targets.common.placement import Placement
    from pytest_tfserving.targets.common.request import DeploymentRequest
    from pytest_tfserving.targets.docker.answers import (
        EngineContainerState,
        EngineContainerStatistics,
        Network,
    )
    from pytest_tfserving.targets.docker.engine import EngineFacts
    from pytest_tfserving.text.json_value import JsonObject

_HOST = "127.0.0.1"
_PORTS = {name: each.server_port for name, each in SERVING_PROTOCOLS.items()}
_FILES = "/etc/pytest-tfserving"
_LOG_LINES = 30
_SIGNALLED = 128


def _machine(facts: EngineFacts) -> tuple[list[int], int]:
    """Return the cores, and the bytes of RAM, that both this process and the engine can use."""
    cores = available_cores() if CAN_PIN else list(range(facts.cores))
    return cores, min(psutil.virtual_memory().total, facts.ram_bytes)


class DockerTarget(Target):
    """Target ``docker``: containers of an engine on this machine."""

    leaves_objects = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> str:
        """Return the image, and the engine that runs it, in words."""
        try:
            return f"{self._settings.image} on the engine at {without_secrets(address())}"
        except ModuleNotFoundError:
            return self._settings.image  # the first test says what is missing

    def unfit(self, experiment: Experiment) -> str:
        """Return what this machine, or its engine, lacks for the experiment; empty if nothing."""
        with connect() as engine:
            cores, ram_bytes = _machine(engine.facts())
        return lacking(experiment.shape, len(cores), ram_bytes)

    def lacks_for_two(self, experiment: Experiment) -> str:
        """Return how much memory the engine's machine lacks for two servers; empty if none."""
        with connect() as engine:
            return lacking_for_two(experiment.shape, _machine(engine.facts())[1])

    def served(self, experiment: Experiment, say: Callable[[str], None]) -> JsonObject:
        """Return the image's id, how the server serves, and the models if the image has them."""
        with connect() as engine:
            image = engine.image(self._settings.image, say)
        found = {"server": str(image.id), **experiment.served}
        names = experiment.model_names
        return {**found, "model": in_the_image(names)} if {*names} <= models_in(image) else found

    @contextmanager
    def deploy(self, order: DeploymentRequest) -> Iterator[Deployment]:
        """Start the containers, wait until each has its models AVAILABLE, and remove them afterwards.

        Raises:
            ConfigurationError: if a model cannot be mounted, or the models are too large for a node.
            DeploymentError: if a container ends, or a model is not AVAILABLE in time.
        """
        experiment, settings = order.experiment, order.settings
        with connect() as engine, ExitStack() as stack:
            engine.sweep(OrphanRule())
            facts = engine.facts()
            image = engine.image(settings.image, order.progress)
            placement = place(experiment.shape, *_machine(facts))
            plan = _plan(order, image, facts)
            stack.enter_context(_Containers(engine, order, plan.tags))
            most_s = len(placement.replicas) * settings.ready_timeout_s
            order.progress(f"{experiment.name}: starting {placement}, at most {most_s:g} s")
            replicas = [_start(engine, plan, index, cores) for index, cores in enumerate(placement.replicas)]
            bare = BaselineSessions(order, placement, lambda: _freezer(replicas))
            stack.callback(bare.close)
            _wait(order, replicas)
            yield Deployment(
                experiment=experiment,
                label=experiment.name,
                paths=rest_paths(experiment),
                addresses=addresses_of(replica.endpoints for replica in replicas),
                via=replicas[0].via,
                generator_cores=placement.generator if CAN_PIN else frozenset(),
                unfit=placement.unfit,
                environment=_environment(plan, image, facts, placement),
                failure=lambda: _failure(replicas),
                evidence=lambda: _evidence(replicas),
                pulses=bare.pulses,
                right_answers=bare.right_answers,
                usage=lambda: _usage(replicas),
                freezer=lambda: freezable(_freezer(replicas)),
            )

    def sweep(self, leftovers: OrphanRule, say: Callable[[str], None]) -> None:
        """Remove the containers that are left over, and say so with a line for each."""
        with connect() as engine:
            for each in engine.sweep(leftovers):
                say(f"deleted {each}")


@dataclass(frozen=True)
class ContainerPlan:
    """Values that all containers of a deployment share.

    Attributes:
        tags: the labels of the containers.
        image: the id of the image.
        model: the name of the model that is served, unless flags name several.
        mounts: the path of each mounted folder on this machine, and its path in the container.
        flags: the flags of the server.
        ram_bytes: the memory limit of a container in bytes.
        user: the user that the server runs as, as ``UID:GID``; None for the image's own.
    """

    tags: OwnershipLabels
    image: str
    model: str
    mounts: Sequence[tuple[str, str]]
    flags: tuple[str, ...]
    ram_bytes: int
    user: str | None


def _plan(order: DeploymentRequest, image: Image, facts: EngineFacts) -> ContainerPlan:
    experiment = order.experiment
    files = order.folder / "server"
    base_paths = _mounted(order, image)
    flags = write_server_files(experiment.options, files, _FILES)
    if len(experiment.model_names) > 1:
        inside = {name: model_place(name) for name in experiment.model_names}
        flags = (write_models_config(inside, files, _FILES), *flags)
    return ContainerPlan(
        tags=OwnershipLabels(experiment.name, order.settings.keep),
        image=str(image.id),
        model=experiment.model_names[0],
        mounts=[
            (str(files), _FILES),
            *((str(path), model_place(name)) for name, path in base_paths.items()),
        ],
        flags=flags,
        ram_bytes=experiment.shape.ram_bytes,
        user=_who_can_read_all(base_paths.values(), rootless=facts.rootless),
    )


def _mounted(order: DeploymentRequest, image: Image) -> dict[str, Path]:
    """Return the base folders of the models that the image lacks, by the models' names.

    Raises:
        ConfigurationError: if a folder cannot be mounted, or the models are too large for a node.
    """
    missing = [name for name in order.experiment.model_names if name not in models_in(image)]
    if not missing:
        return {}
    known = order.model_paths()
    base_paths = {name: known[name].resolve() for name in missing}
    check_memory(base_paths, order.experiment.shape)
    for path in base_paths.values():
        check_mounted(path)  # reports a wrong folder before any container is started
    return base_paths


def _who_can_read_all(base_paths: Iterable[Path], *, rootless: bool) -> str | None:
    """Return a user that can read all folders; None, for the image's own, if every user can.

    Raises:
        ConfigurationError: if no single user can.
    """
    users = {user: path for path in base_paths if (user := _who_can_read(path, rootless=rootless))}
    if len(users) > 1:
        places = " and ".join(map(str, users.values()))
        raise ConfigurationError(
            f"{places} are folders that only their different owners may read, and a server runs as one user; "
            "let all users read them: chmod -R a+rX."
        )
    return next(iter(users), None)


def _who_can_read(base_path: Path, *, rootless: bool) -> str | None:
    """Return a user that can read ``base_path``; None, for the image's own, if every user can.

    The root of a rootless engine is the user that runs the engine.
    """
    found = [path for path in (base_path, *base_path.rglob("*")) if path.exists()]
    if all(path.stat().st_mode & stat.S_IROTH for path in found):
        return None
    owner = base_path.stat()
    return "0:0" if rootless else f"{owner.st_uid}:{owner.st_gid}"


def _environment(plan: ContainerPlan, image: Image, facts: EngineFacts, placement: Placement) -> JsonObject:
    return {
        "server": "container",
        "image": {"id": image.id, "tags": [*image.tags], "digests": image.attrs.get("RepoDigests") or []},
        "engine": {"name": facts.name, "version": facts.version, "cgroups": facts.cgroups},
        "run": plan.tags.run,
        "server_flags": [*plan.flags],
        "model": "mounted" if len(plan.mounts) > 1 else "in the image",
        "pinned": True,
        "replica_cores": [[*cores] for cores in placement.replicas],
    }


class _Containers:
    """Context that removes a deployment's containers, or keeps them on request.

    The context is entered before the first container is created.
    """

    def __init__(self, engine: ContainerEngine, order: DeploymentRequest, tags: OwnershipLabels) -> None:
        self._engine = engine
        self._order = order
        self._tags = tags

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        failed = isinstance(error, Exception) or self._order.failed()
        try:
            if self._tags.keep == "always" or (self._tags.keep == "on-failure" and failed):
                self._tell_that_it_is_kept()
                return
            with without_interruption():
                self._engine.remove(self._tags.run)
        except TFServingError as problem:
            warnings.warn(f"{problem}; remove it with {self._how_to_delete}", TFServingWarning, stacklevel=2)

    @property
    def _how_to_delete(self) -> str:
        return f"`pytest-tfserving cleanup --run {self._tags.run}`"

    def _tell_that_it_is_kept(self) -> None:
        names = [str(each.name) for each in self._engine.ours(self._tags.labels)]
        self._order.note(
            f"kept {self._order.experiment.name}: look at it with "
            f"{', '.join(f'`docker logs {name}`' for name in sorted(names))}; "
            f"delete it with {self._how_to_delete}"
        )


@dataclass(frozen=True)
class ContainerReplica:
    """A container that was started.

    Attributes:
        index: the number of the replica, from 0.
        cores: the cores that the container is pinned to.
        engine: the container engine.
        container: the container.
        endpoints: the addresses, one for each protocol.
        via: the way from the load generator to the container, in words.
        ram_bytes: the memory limit of the container in bytes.
    """

    index: int
    cores: tuple[int, ...]
    engine: ContainerEngine
    container: Container
    endpoints: tuple[Endpoint, ...]
    via: str
    ram_bytes: int

    @property
    def name(self) -> str:
        """Name of the replica in messages."""
        return f"replica {self.index}"

    def state(self) -> EngineContainerState:
        """Return the container's state from the engine."""
        self.container.reload()
        found: EngineContainerState = self.container.attrs["State"]
        return found

    def last_lines(self, count: int = _LOG_LINES) -> str:
        """Return the last ``count`` lines of the container's log."""
        return lines(self.container.logs(tail=count).decode(errors="replace")).strip()


def _start(
    engine: ContainerEngine, plan: ContainerPlan, index: int, cores: tuple[int, ...]
) -> ContainerReplica:
    from docker.types import Mount

    with engine.asked(f"starting replica {index}"):
        container = engine.client.containers.create(
            plan.image,
            list(plan.flags),
            name=f"tfserving-{plan.tags.run}-{index}",
            labels={**plan.tags.labels, **plan.tags.annotations},
            environment={"MODEL_NAME": plan.model, "MODEL_BASE_PATH": MODELS_FOLDER},
            mounts=[Mount(seen, here, type="bind", read_only=True) for here, seen in plan.mounts],
            ports={f"{port}/tcp": (_HOST, 0) for port in _PORTS.values()},  # 0: any free one
            user=plan.user,
            cpuset_cpus=",".join(map(str, cores)),
            mem_limit=plan.ram_bytes,
            memswap_limit=plan.ram_bytes,
            # The image's own health check would run beside the load.
            healthcheck={"test": ["NONE"]},
        )
        container.start()
        container.reload()
        endpoints, via = _addresses(container)
    return ContainerReplica(index, cores, engine, container, endpoints, via, plan.ram_bytes)


def _addresses(container: Container) -> tuple[tuple[Endpoint, ...], str]:
    """Return the addresses of a container, one for each protocol, and the way to them in words.

    The container's own address has no proxy between load and server. It is used if the engine's bridge is an
    interface of this machine. Otherwise, for example if the engine runs in a virtual machine, the addresses
    are ports that the engine forwards.
    """
    networks: dict[str, Network] = container.attrs["NetworkSettings"]["Networks"]
    ours = {address.address for each in psutil.net_if_addrs().values() for address in each}
    for network in networks.values():
        if network.get("IPAddress") and network.get("Gateway") in ours:
            host = network["IPAddress"]
            inside = tuple(Endpoint(host, port, protocol=name) for name, port in _PORTS.items())
            return inside, "each container's own address"
    outside = tuple(replace(_published(container, port), protocol=name) for name, port in _PORTS.items())
    return outside, f"ports of {_HOST} that the engine forwards"


def _published(container: Container, port: int) -> Endpoint:
    bindings = container.attrs["NetworkSettings"]["Ports"].get(f"{port}/tcp") or []
    if not bindings:
        return Endpoint(_HOST, port)  # the container has ended already; `failure` reports it
    return Endpoint(_HOST, int(bindings[0]["HostPort"]))


def _wait(order: DeploymentRequest, replicas: Sequence[ContainerReplica]) -> None:
    try:
        for replica in replicas:
            wait_until_available(
                replica.endpoints[0],
                *rest_paths(order.experiment).values(),
                timeout_s=order.settings.ready_timeout_s,
                failure=lambda: _failure(replicas),
                advice="raise --tfserving-ready-timeout if it only needs longer",
            )
    except DeploymentError as error:
        for title, text in _evidence(replicas):
            error.add_note(f"--- {title} ---\n{text}")
        raise


def _failure(replicas: Sequence[ContainerReplica]) -> str:
    import docker
    import requests

    for replica in replicas:
        try:
            state = replica.state()
            if not state["Running"]:
                return _end_of(replica, state)
        except docker.errors.NotFound:
            return f"{replica.name} is gone: its container was removed by someone else"
        except (docker.errors.DockerException, requests.RequestException) as error:
            return f"the engine does not answer any more: {reason(error)}"
    return ""


def _end_of(replica: ContainerReplica, state: EngineContainerState) -> str:
    if state.get("OOMKilled"):
        limit = f"{replica.ram_bytes / BYTES_PER_GB:g} GB"
        return f"{replica.name} needed more RAM than its node's {limit} and was killed (OOMKilled)"
    code = int(state["ExitCode"])
    ended = f"was killed by signal {code - _SIGNALLED}" if code > _SIGNALLED else f"exited with code {code}"
    last = one_line(state.get("Error") or replica.last_lines(1))
    return f"{replica.name} {ended}" + (f" ({last})" if last else "")


def _evidence(replicas: Sequence[ContainerReplica]) -> Diagnostics:
    import docker
    import requests

    found = []
    for replica in replicas:
        try:
            text = replica.last_lines()
        except (docker.errors.DockerException, requests.RequestException) as error:
            text = f"cannot be read: {reason(error)}"
        if text:
            found.append((f"log of {replica.name} (cores {','.join(map(str, replica.cores))})", text))
    return found


def _freezer(replicas: Sequence[ContainerReplica]) -> ServerFreezer:
    """Return the object that freezes the containers: by signals if possible, else by the slower engine."""
    engine = replicas[0].engine
    with engine.asked("asking for a container's processes"):
        pids = [_pids(replica.container) for replica in replicas]
    ids = [str(replica.container.id) for replica in replicas]
    if all(found and all(_takes_our_signals(pid, ids) for pid in found) for found in pids):
        return Processes([pid for found in pids for pid in found])
    return Containers(engine.host, ids)


def _pids(container: Container) -> list[int]:
    """Return the ids of a container's processes on the engine's machine."""
    table = container.top()
    column = table["Titles"].index("PID")
    return [int(row[column]) for row in table["Processes"]]


def _takes_our_signals(pid: int, ids: Sequence[str]) -> bool:
    """Return whether ``pid`` is, on this machine too, a process of a container and accepts our signals."""
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")
        os.kill(pid, 0)
    except OSError:
        return False
    return any(each in groups for each in ids)


def _usage(replicas: Sequence[ContainerReplica]) -> ResourceUsage:
    first, *others = [_used(replica) for replica in replicas]
    return sum(others, start=first)


def _used(replica: ContainerReplica) -> ResourceUsage:
    import docker
    import requests

    try:
        api = replica.engine.client.api
        asked_s = time.time()
        stats: EngineContainerStatistics = api.stats(str(replica.container.id), stream=False, one_shot=True)
        cpu, memory = stats["cpu_stats"], stats["memory_stats"]
        throttling, pages = cpu.get("throttling_data") or {}, memory.get("stats") or {}
        cpu_s = cpu["cpu_usage"]["total_usage"] / 1e9
        cache_bytes = pages.get("total_inactive_file", pages.get("inactive_file", 0))
        return ResourceUsage(
            cpu_s=cpu_s,
            rss_bytes=memory["usage"] - cache_bytes,
            periods=throttling.get("periods"),
            throttled_periods=throttling.get("throttled_periods"),
            throttled_s=throttling["throttled_time"] / 1e9 if "throttled_time" in throttling else None,
            major_faults=pages.get("total_pgmajfault", pages.get("pgmajfault")),
            restarts=0,
            cpu=(CpuReading(str(replica.container.id), (asked_s + time.time()) / 2, cpu_s),),
        )
    except (docker.errors.DockerException, requests.RequestException, KeyError):
        return ResourceUsage()  # the container has ended, so nothing is known
