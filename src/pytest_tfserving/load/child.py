"""The Locust processes, as their parent has them: started, told their plan, heard, ended."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.load.chorus import Chorus
from pytest_tfserving.processes import end_by_closing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfserving.load.answer import ExpectedAnswer
    from pytest_tfserving.load.profile import LoadProfile
    from pytest_tfserving.targets.deployment import Deployment

WORKER = Path(__file__).with_name("worker.py")
START_S = 60.0
READ_THE_PLAN = timedelta(seconds=0.1)
FIND_EACH_OTHER = timedelta(seconds=1.5)
STOP_S = 3.0


@dataclass(frozen=True)
class Plan:
    """What the child is to do; times in seconds, ``body`` is sent with every request."""

    profile: LoadProfile
    body: bytes
    path: str
    expected: ExpectedAnswer
    stall_s: float
    whole_run_counts: bool = False


class LoadProcess:
    """One process, started at once; ``hear`` is called with each of its lines, and with None at their end."""

    def __init__(
        self, folder: Path, name: str, locustfile: Path | None, hear: Callable[[dict[str, Any] | None], None]
    ) -> None:
        self.records = folder / f"records{name}.f64"
        self.log = folder / f"generator{name}.log"
        self.ready = threading.Event()
        self.first: dict[str, Any] = {}
        self._hear = hear
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER), *([str(locustfile)] if locustfile else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def write(self, text: str) -> None:
        """Write one line to it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{text}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is seen where its lines are read

    def end(self) -> None:
        """End it, and hear what it said until then."""
        end_by_closing(self.process, STOP_S)
        self._reader.join()

    def death(self) -> str:
        """How it ended, empty while it runs."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return ""
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"the load generator {ended}" + (f": {last[0]}" if last else "")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                if said["event"] in ("ready", "refused"):
                    self.first = said
                    self.ready.set()
                else:
                    self._hear(said)
        self.ready.set()
        self._hear(None)


class LoadChild:
    """The load generator: a process, or several and Locust's master, started on entering the context.

    Leaving it ends them, however it was left. They import Locust first, which takes most of a second, and
    then wait for their plan. ``lines`` is what they say, merged, and None once one of them has ended.
    """

    def __init__(self, folder: Path, processes: int = 1, locustfile: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._folder = folder
        self._count = processes
        self._locustfile = locustfile
        self._chorus = Chorus(processes)
        self._unfinished = set(range(processes))
        self._to_end = set(range(processes))
        self._lock = threading.Lock()
        self._workers: list[LoadProcess] = []
        self._master: LoadProcess | None = None

    def __enter__(self) -> Self:
        for index in range(self._count):
            hear = partial(self._hear, index)
            self._workers.append(LoadProcess(self._folder, f"{index}", self._locustfile, hear))
        if self._count > 1:
            self._master = LoadProcess(self._folder, "-master", self._locustfile, lambda _: None)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def records(self) -> list[Path]:
        """The files that requests are recorded in, one a process."""
        return [worker.records for worker in self._workers]

    def wait_until_ready(self) -> None:
        """Wait until all do nothing but wait for their plan, or are gone, which `run` finds out.

        Raises:
            ConfigurationError: when the locustfile cannot be used; its own traceback is a note.
        """
        for process in self._all:
            process.ready.wait(START_S)
        first = self._workers[0].first
        if first.get("event") == "refused":
            error = ConfigurationError(first["text"])
            error.add_note(first["details"])
            raise error

    @property
    def has_own_shape(self) -> bool:
        """Whether the locustfile says how the level of load goes over time."""
        return bool(self._workers[0].first.get("has_shape"))

    def send(self, plan: Plan, deployment: Deployment) -> datetime:
        """Give all their plan, and tell when they begin: as soon as they are sure to have read it."""
        begins = datetime.now(UTC) + (READ_THE_PLAN if self._count == 1 else FIND_EACH_OTHER)
        body = self._folder / "body"
        body.write_bytes(plan.body)
        spec = {
            "profile": asdict(plan.profile),
            "stages": [asdict(stage) for stage in plan.profile.stages],
            "judged_from_s": plan.profile.judged_from_s,
            "origin": begins.timestamp(),
            "processes": self._count,
            "endpoints": [{**asdict(endpoint), "path": plan.path} for endpoint in deployment.endpoints],
            "expected": asdict(plan.expected),
            "body": str(body),
            "stall_s": plan.stall_s,
            "master": ["127.0.0.1", free_port()] if self._master else None,
        }
        cores = sorted(deployment.generator_cores)
        own_cores = [[core] for core in cores] if 1 < self._count <= len(cores) else [cores] * self._count
        if self._master:
            self._master.write(json.dumps({**spec, "role": "master", "cores": cores}))
        role = "worker" if self._master else "alone"
        for index, worker in enumerate(self._workers):
            own = {"role": role, "index": index, "records": str(worker.records), "cores": own_cores[index]}
            worker.write(json.dumps({**spec, **own}))
        return begins

    def end(self) -> None:
        """End all; what they said until then can still be read from ``lines``."""
        for process in self._all:
            process.end()

    def stop(self, order: str = "stop") -> None:
        """Ask all to end their run and say their last line; ``decided`` ends it as its time would."""
        for process in self._all:
            process.write(order)

    def death(self) -> str:
        """How the first of them to be found dead has died; empty when all live."""
        return next(filter(None, (process.death() for process in self._all)), "")

    @property
    def _all(self) -> list[LoadProcess]:
        return [*self._workers, *([self._master] if self._master else [])]

    def _hear(self, index: int, line: dict[str, Any] | None) -> None:
        """Merge a line; the first process to end without its last line ends the lines of all."""
        with self._lock:
            if line is None:
                self._to_end.discard(index)
                if index in self._unfinished or not self._to_end:
                    self.lines.put(None)
            elif merged := self._chorus.hear(index, line):
                self.lines.put(merged)
        if line and line["event"] == "end":
            self._unfinished.discard(index)
            if line["reason"] in ("failures", "stalled") and self._count > 1:
                self.stop()


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
