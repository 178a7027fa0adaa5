"""Target ``local``: a server process for each node, on cores of its own, on this machine."""

from __future__ import annotations

import platform
import socket
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psutil

from pytest_tfserving.deployment.deployment import Deployment, Diagnostics, Endpoint, addresses_of
from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.experiments.experiment import BYTES_PER_GB
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.client import wait_until_available
from pytest_tfserving.system.processes import CAN_PIN, ChildProcess, available_cores
from pytest_tfserving.targets.baseline.freeze import Processes, freezable
from pytest_tfserving.targets.baseline.sessions import BaselineSessions
from pytest_tfserving.targets.common.placement import lacking, lacking_for_two, place
from pytest_tfserving.targets.common.served_model import latest_version, model_name
from pytest_tfserving.targets.common.server_files import write_server_files
from pytest_tfserving.targets.target import Target
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.system.resource_usage import ResourceUsage
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
        """Start the replicas, wait until each has its model AVAILABLE, and end the replicas afterwards.

        Raises:
            ConfigurationError: if the model's folder has no version.
            DeploymentError: if a replica ends, or its model is not AVAILABLE in time.
        """
        placement = place(order.experiment.shape, available_cores(), psutil.virtual_memory().total)
        base_path = order.model_path()
        latest_version(base_path)  # reports a folder without a version before any server is started
        with ExitStack() as stack:
            replicas = [
                _start(order, base_path, index, cores, stack)
                for index, cores in enumerate(placement.replicas)
            ]
            bare = BaselineSessions(order, placement, lambda: _processes(replicas))
            stack.callback(bare.close)
            watch = stack.enter_context(MemoryWatch(replicas, order.experiment.shape.ram_bytes))
            try:
                _wait(order, replicas, watch)
            except DeploymentError as error:
                for title, text in _evidence(replicas):
                    error.add_note(f"--- {title} ---\n{text}")
                raise
            yield Deployment(
                experiment=order.experiment,
                label=order.experiment.name,
                model=replicas[0].model,
                path=f"/v1/models/{replicas[0].model}",
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
                right_answer=bare.right_answer,
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
        model: the name under which the model is served.
        command: the command that was started.
        process: the process.
    """

    index: int
    cores: tuple[int, ...]
    endpoints: tuple[Endpoint, ...]
    model: str
    command: tuple[str, ...]
    process: ChildProcess

    @property
    def name(self) -> str:
        """Name of the replica in messages."""
        return f"replica {self.index}"


def _start(
    order: DeploymentRequest, base_path: Path, index: int, cores: tuple[int, ...], stack: ExitStack
) -> ProcessReplica:
    settings, experiment = order.settings, order.experiment
    program = (
        [settings.server] if settings.server else [sys.executable, "-m", "pytest_tfserving.model_server"]
    )
    ports = dict(zip(SERVING_PROTOCOLS, _free_ports(len(SERVING_PROTOCOLS)), strict=True))
    model = model_name(experiment.model)
    command = (
        *program,
        *(f"--{SERVING_PROTOCOLS[name].port_flag}={port}" for name, port in ports.items()),
        f"--model_name={model}",
        f"--model_base_path={base_path.resolve()}",
        *write_server_files(experiment.options, order.folder),
    )
    process = ChildProcess(command, order.folder / f"replica{index}.log", cores)
    stack.callback(process.stop)
    endpoints = tuple(Endpoint(HOST, port, protocol=name) for name, port in ports.items())
    return ProcessReplica(index, cores, endpoints, model, command, process)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _wait(order: DeploymentRequest, replicas: Sequence[ProcessReplica], watch: MemoryWatch) -> None:
    order.progress(
        f"{order.experiment.name}: starting {len(replicas)} x {order.experiment.shape.vcpus} vCPUs, "
        f"at most {len(replicas) * order.settings.ready_timeout_s:g} s"
    )
    for replica in replicas:
        wait_until_available(
            replica.endpoints[0],
            f"/v1/models/{replica.model}",
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
