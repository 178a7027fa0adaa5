"""Target ``local``: a server process for each node, on cores of its own, on this machine."""

from __future__ import annotations

import platform
import sys
import threading
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psutil

from pytest_tfserving.deployment.deployment import Deployment, Diagnostics, Endpoint, addresses_of
from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.experiments.experiment import BYTES_PER_GB
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.client import wait_until_available
from pytest_tfserving.system.fixed_addresses import fixed_addresses
from pytest_tfserving.system.ports import free_ports
from pytest_tfserving.system.processes import CAN_PIN, ChildProcess, available_cores
from pytest_tfserving.targets.baseline.freeze import Processes, freezable
from pytest_tfserving.targets.baseline.sessions import BaselineSessions
from pytest_tfserving.targets.common.model_folder import check_memory
from pytest_tfserving.targets.common.placement import lacking, lacking_for_two, place
from pytest_tfserving.targets.common.served_model import rest_paths
from pytest_tfserving.targets.common.server_files import write_models_config, write_server_files
from pytest_tfserving.targets.target import Target
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.system.resource_usage import ResourceUsage
    from pytest_tfserving.targets.common.placement import Placement
    from pytest_tfserving.targets.common.request import DeploymentRequest
    from pytest_tfserving.text.json_value import JsonObject

HOST = "127.0.0.1"
_MEMORY_LOOK_S = 0.2
_LOG_LINES = 30


class LocalTarget(Target):
    """Target ``local``: processes of this machine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> str:
        """Return in words the server, the machine's cores, and whether processes cannot be pinned."""
        server = self._settings.server or "the embedded server"
        text = f"{server} on this machine's {len(available_cores())} cores"
        if not CAN_PIN:
            text += (
                f"; {platform.system()} cannot pin processes to cores, so replicas and load share all of them"
            )
        return text

    def unfit(self, experiment: Experiment) -> str:
        """Return what this machine lacks for the experiment; empty if nothing."""
        return lacking(experiment.shape, len(available_cores()), psutil.virtual_memory().total)

    def lacks_for_two(self, experiment: Experiment) -> str:
        """Return how much memory this machine lacks for two servers; empty if none."""
        return lacking_for_two(experiment.shape, psutil.virtual_memory().total)

    def served(self, experiment: Experiment, say: Callable[[str], None]) -> JsonObject:  # noqa: ARG002 - part of Target
        """Return the server's program, and how it serves."""
        return {"server": self._settings.server or "embedded", **experiment.served}

    @contextmanager
    def deploy(self, order: DeploymentRequest) -> Iterator[Deployment]:
        """Start the replicas, wait until each has its models AVAILABLE, and end the replicas afterwards.

        Raises:
            ConfigurationError: if a model's folder has no version, or the models are too large for a node.
            DeploymentError: if a replica ends, or a model is not AVAILABLE in time.
        """
        placement = place(order.experiment.shape, available_cores(), psutil.virtual_memory().total)
        base_paths = order.model_paths()
        check_memory(base_paths, order.experiment.shape)  # before any server is started
        with ExitStack() as stack:
            replicas = [
                _start(order, base_paths, index, cores, stack)
                for index, cores in enumerate(placement.replicas)
            ]
            bare = BaselineSessions(order, placement, lambda: _processes(replicas))
            stack.callback(bare.close)
            watch = stack.enter_context(MemoryWatch(replicas, order.experiment.shape.ram_bytes))
            try:
                _wait(order, placement, replicas, watch)
            except DeploymentError as error:
                for title, text in _evidence(replicas):
                    error.add_note(f"--- {title} ---\n{text}")
                raise
            yield Deployment(
                experiment=order.experiment,
                label=order.experiment.name,
                paths=rest_paths(order.experiment),
                addresses=addresses_of(replica.endpoints for replica in replicas),
                via="loopback, each replica's own port",
                generator_cores=placement.generator if CAN_PIN else frozenset(),
                unfit=placement.unfit,
                environment={
                    "server": replicas[0].command[0] if order.settings.server else "embedded",
                    "server_flags": order.experiment.options.flags("batching_config.txt"),
                    "pinned": CAN_PIN,
                    "replica_cores": [list(replica.cores) for replica in replicas],
                },
                failure=lambda: _failure(replicas, watch),
                evidence=lambda: _evidence(replicas),
                pulses=bare.pulses,
                right_answers=bare.right_answers,
                usage=lambda: _usage(replicas),
                freezer=lambda: freezable(_processes(replicas)),
            )


@dataclass(frozen=True)
class ProcessReplica:
    """A server process.

    Attributes:
        index: the number of the replica, from 0.
        cores: the cores that the process is pinned to.
        endpoints: the addresses, one for each protocol.
        command: the command that was started.
        process: the process.
    """

    index: int
    cores: tuple[int, ...]
    endpoints: tuple[Endpoint, ...]
    command: tuple[str, ...]
    process: ChildProcess

    @property
    def name(self) -> str:
        """Name of the replica in messages."""
        return f"replica {self.index}"


def _start(
    order: DeploymentRequest,
    base_paths: Mapping[str, Path],
    index: int,
    cores: tuple[int, ...],
    stack: ExitStack,
) -> ProcessReplica:
    settings, experiment = order.settings, order.experiment
    program = (
        [settings.server] if settings.server else [sys.executable, "-m", "pytest_tfserving.model_server"]
    )
    ports = dict(zip(SERVING_PROTOCOLS, free_ports(len(SERVING_PROTOCOLS)), strict=True))
    command = (
        *program,
        *(f"--{SERVING_PROTOCOLS[name].port_flag}={port}" for name, port in ports.items()),
        *_model_flags({name: str(path.resolve()) for name, path in base_paths.items()}, order.folder),
        *write_server_files(experiment.options, order.folder),
    )
    # Two servers that are compared should differ in their programs only.
    with fixed_addresses() if settings.against else nullcontext():
        process = ChildProcess(command, order.folder / f"replica{index}.log", cores)
    stack.callback(process.stop)
    endpoints = tuple(Endpoint(HOST, port, protocol=name) for name, port in ports.items())
    return ProcessReplica(index, cores, endpoints, command, process)


def _model_flags(base_paths: Mapping[str, str], folder: Path) -> tuple[str, ...]:
    """Return the server's flags for its models; several are in a file."""
    if len(base_paths) > 1:
        return (write_models_config(base_paths, folder),)
    ((name, base_path),) = base_paths.items()
    return f"--model_name={name}", f"--model_base_path={base_path}"


def _wait(
    order: DeploymentRequest, placement: Placement, replicas: Sequence[ProcessReplica], watch: MemoryWatch
) -> None:
    most_s = len(replicas) * order.settings.ready_timeout_s
    order.progress(f"{order.experiment.name}: starting {placement}, at most {most_s:g} s")
    for replica in replicas:
        wait_until_available(
            replica.endpoints[0],
            *rest_paths(order.experiment).values(),
            timeout_s=order.settings.ready_timeout_s,
            failure=lambda: _failure(replicas, watch),
            advice="raise --tfserving-ready-timeout if it only needs longer",
        )


def _failure(replicas: Sequence[ProcessReplica], watch: MemoryWatch) -> str:
    if watch.exceeded:
        return watch.exceeded
    for replica in replicas:
        if ended := replica.process.exit():
            last = one_line(replica.process.last_lines(1))
            return f"{replica.name} {ended}" + (f" ({last})" if last else "")
    return ""


def _usage(replicas: Sequence[ProcessReplica]) -> ResourceUsage:
    first, *others = [replica.process.usage() for replica in replicas]
    return sum(others, start=first)


def _processes(replicas: Sequence[ProcessReplica]) -> Processes:
    return Processes([-group for replica in replicas for group in replica.process.groups()])


def _evidence(replicas: Sequence[ProcessReplica]) -> Diagnostics:
    return [
        (f"log of {replica.name} (cores {','.join(map(str, replica.cores))})", text)
        for replica in replicas
        if (text := replica.process.last_lines(_LOG_LINES))
    ]


class MemoryWatch:
    """Watcher that kills a replica which uses more RAM than its node has, as an out-of-memory killer does.

    Attributes:
        exceeded: a sentence about the replica that was killed; empty before.
    """

    def __init__(self, replicas: Sequence[ProcessReplica], limit_bytes: int) -> None:
        self._replicas = replicas
        self._limit_bytes = limit_bytes
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.exceeded = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self.exceeded and not self._done.wait(_MEMORY_LOOK_S):
            for replica in self._replicas:
                used = replica.process.resident_bytes()
                if used > self._limit_bytes:
                    self.exceeded = (
                        f"{replica.name} used {used / BYTES_PER_GB:.2f} GB of RAM, more than its node's "
                        f"{self._limit_bytes / BYTES_PER_GB:g} GB, and was stopped as out of memory"
                    )
                    replica.process.kill()
