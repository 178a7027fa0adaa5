"""The load generator, as its parent has it: started, told its plan, heard, ended."""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.load.chorus import Chorus
from pytest_tfserving.load.clock import LoadClock
from pytest_tfserving.load.local import Local, LocalProcess
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.load.answer import ExpectedAnswer
    from pytest_tfserving.load.place import Hear, Place, Process, Team
    from pytest_tfserving.load.profile import LoadProfile
    from pytest_tfserving.targets.deployment import Deployment

READ_THE_PLAN_S = 0.1
FIND_EACH_OTHER_S = 1.5


@dataclass(frozen=True)
class Plan:
    """What the child is to do; times in seconds, ``body`` is sent with every request.

    Where ``clock`` has a file, all times of the load are on that clock.
    """

    profile: LoadProfile
    body: bytes
    path: str
    expected: ExpectedAnswer
    stall_s: float
    whole_run_counts: bool = False
    clock: LoadClock = field(default_factory=LoadClock)


class LoadChild:
    """The load generator: a process, or several and Locust's master, started on entering the context.

    Leaving it ends them, however it was left. They import Locust first, which takes most of a second, and
    then wait for their plan. ``lines`` is what they say, merged, and None once one of them has ended.
    """

    def __init__(
        self, folder: Path, processes: int = 1, locustfile: Path | None = None, place: Place | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.place: Place = place or Local()
        self._folder = folder
        self._count = processes
        self._locustfile = locustfile
        self._chorus = Chorus(processes)
        self._unfinished = set(range(processes))
        self._was_told_to_end = False
        self._to_end = set(range(processes))
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._team: Team

    def __enter__(self) -> Self:
        hears: Callable[[int], Hear] = partial(partial, self._hear)
        team = self.place.team(self._folder, self._count, self._locustfile, hears)
        self._team = self._stack.enter_context(team)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def records(self) -> list[Path]:
        """The files that requests are recorded in, one a process."""
        return [worker.records for worker in self._team.workers]

    @property
    def pids(self) -> list[int]:
        """The process ids of those on this machine."""
        return [each.process.pid for each in self._all if isinstance(each, LocalProcess)]

    def wait_until_ready(self) -> None:
        """Wait until all do nothing but wait for their plan, or are gone, which `run` finds out.

        Raises:
            ConfigurationError: when one cannot be used, as for its locustfile, whose traceback is a note.
        """
        deadline = time.monotonic() + self.place.start_s
        for process in self._all:
            process.ready.wait(max(deadline - time.monotonic(), 0.0))
        for process in self._all:
            if process.first.get("event") == "refused":
                error = ConfigurationError(process.first["text"])
                if details := process.first.get("details"):
                    error.add_note(details)
                raise error
            version = process.first.get("version", __version__)
            if version != __version__:
                raise ConfigurationError(
                    f"load comes from pytest-tfserving {version}, and this is {__version__}; both have to be "
                    "the same: build the image of the load processes anew."
                )

    @property
    def count(self) -> int:
        """How many processes send requests."""
        return self._count

    @property
    def has_own_users(self) -> bool:
        """Whether the users are those of a locustfile."""
        return self._locustfile is not None

    @property
    def has_own_shape(self) -> bool:
        """Whether the locustfile says how the level of load goes over time."""
        return bool(self._team.workers[0].first.get("has_shape"))

    def send(self, plan: Plan, deployment: Deployment) -> datetime:
        """Give all their plan, and tell when they begin: as soon as they are sure to have read it."""
        master = self._team.master
        spec = {
            "profile": asdict(plan.profile),
            "stages": [asdict(stage) for stage in plan.profile.stages],
            "judged_from_s": plan.profile.judged_from_s,
            "processes": self._count,
            "endpoints": [
                {**asdict(endpoint), "path": plan.path} for endpoint in self.place.endpoints(deployment)
            ],
            "expected": asdict(plan.expected),
            "stall_s": plan.stall_s,
            "clock": str(plan.clock.path or ""),
            "master": self._team.master_address() if master else None,
        }
        body = base64.b64encode(plan.body).decode("ascii")
        cores = sorted(deployment.generator_cores)
        own_cores = [[core] for core in cores] if 1 < self._count <= len(cores) else [cores] * self._count
        if master:
            master.write(json.dumps({**spec, "role": "master", "cores": cores}))
        role = "worker" if master else "alone"
        for index, worker in enumerate(self._team.workers):
            own = {"role": role, "index": index, "records": worker.sink, "cores": own_cores[index]}
            worker.write(json.dumps({**spec, **own, "body": body}))
        now = time.time()
        origin = now + (FIND_EACH_OTHER_S if master else READ_THE_PLAN_S)
        plan.clock.begin(origin)
        begin = {"origin": origin, "now": now, "same_clock": self.place.same_clock}
        for process in self._all:
            process.write(json.dumps(begin))
        return datetime.fromtimestamp(origin, UTC)

    def end(self) -> None:
        """End all; what they said until then can still be read from ``lines``."""
        self._was_told_to_end = True
        for process in self._all:
            process.end()

    def stop(self, order: str = "stop") -> None:
        """Ask all to end their run and say their last line; ``decided`` ends it as its time would."""
        self._was_told_to_end = True
        for process in self._all:
            process.write(order)

    def death(self) -> str:
        """How the first of them to be found dead has died; empty when all live."""
        return next(filter(None, (process.death() for process in self._all)), "")

    @property
    def _all(self) -> list[Process]:
        return [*self._team.workers, *([self._team.master] if self._team.master else [])]

    def _hear(self, index: int, line: dict[str, Any] | None) -> None:
        """Merge a line of a worker, or of the master, whose index comes after theirs.

        The first worker to end without its last line ends the lines of all, and so does the master while
        it leads: load is not what was asked for any more.
        """
        with self._lock:
            if line is not None:
                for each in self._chorus.hear(index, line):
                    self.lines.put(each)
            elif index == self._count:
                if self._unfinished and not self._was_told_to_end:
                    self.lines.put(None)
            else:
                self._to_end.discard(index)
                if index in self._unfinished or not self._to_end:
                    self.lines.put(None)
        if line and line["event"] == "fault" and self._count > 1 and self._unfinished:
            self.stop()
        if line and line["event"] == "end":
            self._unfinished.discard(index)
            if line["reason"] in ("failures", "stalled") and self._count > 1:
                self.stop()
