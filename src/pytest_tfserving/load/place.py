"""Where load comes from: what a place gives of each process, and of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_tfserving.targets.deployment import Deployment, Endpoint

# Called with each line that a process says, and with None at their end.
Hear: TypeAlias = "Callable[[dict[str, Any] | None], None]"


class Process(Protocol):
    """One load process, which was started.

    ``ready`` is set once it has said its ``first`` line, or never will. What it records comes to the file
    ``records``; it is told to write it to ``sink``, or to say it where that is empty.
    """

    records: Path
    sink: str
    ready: threading.Event
    first: dict[str, Any]

    def write(self, text: str) -> None:
        """Write one line to it."""

    def end(self) -> None:
        """End it, and hear what it said until then."""

    def death(self) -> str:
        """How it ended, empty while it runs."""


class Team(Protocol):
    """The processes of one run of load: one, or several workers and a master of Locust's."""

    @property
    def workers(self) -> Sequence[Process]:
        """Those that send requests."""

    @property
    def master(self) -> Process | None:
        """Who leads them, where there are several."""

    def master_address(self) -> tuple[str, int]:
        """Where the workers reach the master."""


class Place(Protocol):
    """Somewhere that load processes can run."""

    @property
    def start_s(self) -> float:
        """How long they may take to say their first line."""

    @property
    def silence_s(self) -> float:
        """How long they may say nothing later on."""

    @property
    def same_clock(self) -> bool:
        """Whether their clock is this machine's."""

    def most_processes(self, deployment: Deployment) -> int:
        """How many there is room for beside a deployment."""

    def endpoints(self, deployment: Deployment) -> Sequence[Endpoint]:
        """The addresses of its replicas, as they are seen from there."""

    def team(
        self, folder: Path, processes: int, locustfile: Path | None, hear: Callable[[int], Hear]
    ) -> AbstractContextManager[Team]:
        """Start processes; leaving the context ends what is left of them.

        ``hear(index)`` is what hears the lines of a worker, and of the master as of the one after the last.
        """
