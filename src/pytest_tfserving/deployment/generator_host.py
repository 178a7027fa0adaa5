"""Protocols for the hosts that run load processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment, Endpoint
    from pytest_tfserving.deployment.load_messages import FirstMessage, ProcessMessage

# Called with each message of a process after its first one, then with None.
OnEvent: TypeAlias = "Callable[[ProcessMessage | None], None]"


class LoadProcess(Protocol):
    """A load process that was started.

    Attributes:
        records: the local file that gets the process's records.
        sink: the file that the process writes its records to. Empty: it writes them into its lines.
        ready: set once the process has written its first line, or has ended without one.
        first: the first message; None before.
    """

    records: Path
    sink: str
    ready: threading.Event
    first: FirstMessage | None

    def write(self, text: str) -> None:
        """Write one line to the process."""

    def end(self) -> None:
        """End the process, and read its lines until then."""

    def death(self) -> str:
        """Return how the process ended; empty while it runs."""


class WorkerPool(Protocol):
    """The processes of one run of load: one process, or several workers and Locust's master."""

    @property
    def workers(self) -> Sequence[LoadProcess]:
        """Processes that send requests."""

    @property
    def master(self) -> LoadProcess | None:
        """Locust's master; None with a single worker."""

    def master_address(self) -> tuple[str, int]:
        """Return the host and the port at which workers reach the master."""


class GeneratorHost(Protocol):
    """A host that can run load processes."""

    @property
    def start_s(self) -> float:
        """Seconds that processes may take to write their first line."""

    @property
    def silence_s(self) -> float:
        """Seconds that processes may be silent after their first line."""

    @property
    def same_clock(self) -> bool:
        """True if the processes share this machine's clock."""

    def most_processes(self, deployment: Deployment) -> int:
        """Return how many processes may run beside a deployment."""

    def endpoints(self, deployment: Deployment) -> Sequence[Endpoint]:
        """Return the addresses of a deployment's replicas as seen from this host."""

    def team(
        self, folder: Path, processes: int, locustfile: Path | None, hear: Callable[[int], OnEvent]
    ) -> AbstractContextManager[WorkerPool]:
        """Start processes; leaving the context ends those that still run.

        Args:
            folder: the folder for records and logs.
            processes: the number of workers.
            locustfile: the locustfile; None without one.
            hear: called with the index of each process, returns the listener for its lines. The master's
                index follows that of the last worker.
        """
