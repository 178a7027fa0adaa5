"""Load processes on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.system.ports import free_ports
from pytest_tfserving.system.processes import end_by_closing
from pytest_tfserving.text import secrets
from pytest_tfserving.text.foreign_text import last_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_tfserving.deployment.deployment import Deployment, Endpoint
    from pytest_tfserving.deployment.generator_host import OnEvent
    from pytest_tfserving.deployment.load_messages import FirstMessage, ProcessMessage

WORKER = Path(__file__).parents[1] / "worker" / "worker.py"
STOP_S = 3.0

# Variables that change Locust itself, with which load is measured.
_OF_LOCUST_ITSELF = {"LOCUST_SKIP_MONKEY_PATCH", "LOCUST_SKIP_URLLIB3_PATCH", "LOCUST_PLAYWRIGHT"}
# The process that waits for its load inside `started_ahead`, and its log.
_AHEAD: ContextVar[list[tuple[subprocess.Popen[str], Path]] | None] = ContextVar("ahead", default=None)


class LocalProcess:
    """A load process, started at once; see `LoadProcess`. ``called`` is its name in messages."""

    called = "the load generator"

    def __init__(self, folder: Path, name: str, locustfile: Path | None, hear: OnEvent) -> None:
        self.records = folder / f"records{name}.f64"
        self.sink = str(self.records)
        self.ready = threading.Event()
        self.first: FirstMessage | None = None
        self._hear = hear
        ahead = None if locustfile else _AHEAD.get()
        self.process, self.log = (
            ahead.pop() if ahead else _started(folder / f"generator{name}.log", locustfile)
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def write(self, text: str) -> None:
        """Write one line to the process."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{text}\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # the process has ended; the reader of its lines notices this

    def end(self) -> None:
        """End the process, and read its lines until then."""
        end_by_closing(self.process, STOP_S)
        self._reader.join()

    def death(self) -> str:
        """Return how the process ended; empty while it runs."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return ""
        last = last_line(self.log)
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{self.called} {ended}" + (f": {last}" if last else "")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                message: FirstMessage | ProcessMessage = json.loads(line)
                match message["event"]:
                    case "ready" | "refused":
                        self.first = message
                        self.ready.set()
                    case _:
                        self._hear(message)
        self.ready.set()
        self._hear(None)


@contextmanager
def started_ahead(folder: Path) -> Iterator[None]:
    """Start a load process before its load is known, for the first load inside the context.

    It imports Locust while the caller prepares the load. A load with a locustfile does not use it. If no load
    uses it, it ends with the context.
    """
    waiting = [_started(folder / "generator-ahead.log", None)]
    token = _AHEAD.set(waiting)
    try:
        yield
    finally:
        _AHEAD.reset(token)
        for process, _ in waiting:
            process.kill()  # it has no load to end
            process.communicate()


def _started(log: Path, locustfile: Path | None) -> tuple[subprocess.Popen[str], Path]:
    """Return a new load process and the path of its log."""
    environment = _environment(for_locustfile=locustfile is not None)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), *([str(locustfile)] if locustfile else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            env=environment,
            start_new_session=True,
            text=True,
        )
    return process, log


def _environment(*, for_locustfile: bool) -> dict[str, str]:
    """Return the environment variables of a load process; only locustfiles get those of Locust."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LOCUST_") or (for_locustfile and name not in _OF_LOCUST_ITSELF)
    }
    return {**own, secrets.NAMES: secrets.hidden_names()}


class LocalTeam:
    """Load processes of one run on this machine; see `WorkerPool`."""

    def __init__(
        self, folder: Path, processes: int, locustfile: Path | None, hear: Callable[[int], OnEvent]
    ) -> None:
        self.workers: list[LocalProcess] = []
        self.master: LocalProcess | None = None
        for index in range(processes):
            self.workers.append(LocalProcess(folder, f"{index}", locustfile, hear(index)))
        if processes > 1:
            self.master = LocalProcess(folder, "-master", locustfile, hear(processes))
            self.master.called = "the load generator's master"

    def master_address(self) -> tuple[str, int]:
        """Return a loopback address with a free port."""
        (port,) = free_ports(1)
        return "127.0.0.1", port


class LocalHost:
    """This machine as a host of load processes; see `GeneratorHost`."""

    start_s = 60.0
    silence_s = 15.0
    same_clock = True

    def most_processes(self, deployment: Deployment) -> int:
        """Return the number of the generator's cores: one load process on each."""
        return len(deployment.generator_cores)

    def endpoints(self, deployment: Deployment) -> Sequence[Endpoint]:
        """Return the addresses of the deployment's replicas."""
        return deployment.loaded

    @contextmanager
    def team(
        self, folder: Path, processes: int, locustfile: Path | None, hear: Callable[[int], OnEvent]
    ) -> Iterator[LocalTeam]:
        """Start processes, and end them when the context is left."""
        found = LocalTeam(folder, processes, locustfile, hear)
        try:
            yield found
        finally:
            for process in (*found.workers, *([found.master] if found.master else [])):
                process.end()
