"""Parent-side handle of the load generator: start it, send the plan, receive its lines, stop it."""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Self

from pytest_tfserving.deployment.load_clock import LoadClock
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.load.generator.event_merger import EventMerger
from pytest_tfserving.load.generator.local_host import LocalHost, LocalProcess
from pytest_tfserving.load.kinds import Kinds
from pytest_tfserving.load.process_plan import ProcessPlan
from pytest_tfserving.protocols.reading import MOST_BYTES
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.deployment.generator_host import GeneratorHost, LoadProcess, OnEvent, WorkerPool
    from pytest_tfserving.deployment.load_messages import (
        Begin,
        FirstMessage,
        MergedMessage,
        Order,
        ProcessMessage,
        RunMessage,
    )
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.experiments.trace import ReplaySchedule
    from pytest_tfserving.protocols.answer import ExpectedAnswer
    from pytest_tfserving.protocols.prepared_requests import PreparedRequests

# Seconds from sending the plan to the start of load: one process reads its plan, several also connect.
READ_THE_PLAN_S = 0.1
FIND_EACH_OTHER_S = 1.5
# Far below the speed at which a process maps requests into its memory.
_MAPPED_BYTES_PER_S = 1e9
# Largest payload set, and longest schedule of a trace, for processes that get both through the API server of
# a cluster.
_MOST_REQUESTS_BYTES = 1 << 28
_MOST_SCHEDULED = 10_000_000
# Far below the speed at which a process decodes a schedule.
_SCHEDULED_PER_S = 3e6


@dataclass(frozen=True)
class LoadPlan:
    """Plan of one run of load.

    Attributes:
        profile: the load.
        requests: the requests, of which load sends one at a time, chosen by their weights.
        paths: the paths of requests, as ``/v1/models/NAME:predict``, by the ``path_numbers`` of ``requests``.
        expected: the content of a right response, by the index of the request, where it is known.
        stall_s: a run without any response for this many seconds is stopped.
        whole_run_counts: the window is the whole run, not only its steady part.
        clock: the clock of the load. With a file, all load processes share it.
        kinds: the kinds of the requests.
        schedule: the requests of a trace that is replayed, and when they are due; None without one.
    """

    profile: LoadProfile
    requests: PreparedRequests
    paths: tuple[str, ...]
    expected: Mapping[int, ExpectedAnswer]
    stall_s: float
    whole_run_counts: bool = False
    clock: LoadClock = field(default_factory=LoadClock)
    kinds: Kinds = field(default_factory=Kinds)
    schedule: ReplaySchedule | None = None

    @property
    def scheduled(self) -> int:
        """Number of requests of a trace that is replayed; 0 without one."""
        return len(self.schedule.due_s) if self.schedule else 0

    def due_times(self) -> Iterator[float]:
        """Yield when each request of an open loop is due, in seconds of the run."""
        return iter(self.schedule.due_s) if self.schedule else self.profile.due_times()


class LoadGenerator:
    """The load generator: one load process, or several and Locust's master.

    Entering the context starts the processes, and leaving the context always ends them. The processes import
    Locust first, which takes most of a second, and then wait for their plan.

    Args:
        folder: the folder for records and logs; it is created.
        processes: how many load processes send requests.
        locustfile: the locustfile whose users make the load; None for the users of this package.
        place: where the processes run; None for this machine.

    Attributes:
        lines: the merged lines of all processes, then None once one of them has ended.
    """

    def __init__(
        self,
        folder: Path,
        processes: int = 1,
        locustfile: Path | None = None,
        place: GeneratorHost | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lines: queue.Queue[MergedMessage | None] = queue.Queue()
        self.place: GeneratorHost = place or LocalHost()
        self._folder = folder
        self._count = processes
        self._locustfile = locustfile
        self._merger = EventMerger(processes)
        self._reached: queue.Queue[Mapping[str, str]] = queue.Queue()
        self._unfinished = set(range(processes))
        self._was_told_to_end = False
        self._to_end = set(range(processes))
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._team: WorkerPool

    def __enter__(self) -> Self:
        hears: Callable[[int], OnEvent] = partial(partial, self._hear)
        team = self.place.team(self._folder, self._count, self._locustfile, hears)
        self._team = self._stack.enter_context(team)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def records(self) -> list[Path]:
        """Files with the records of requests, one for each process."""
        return [worker.records for worker in self._team.workers]

    @property
    def pids(self) -> list[int]:
        """Ids of the load processes on this machine; empty if load comes from elsewhere."""
        return [each.process.pid for each in self._all if isinstance(each, LocalProcess)]

    def wait_until_ready(self) -> None:
        """Wait until every process is ready for its plan. A process that exited is reported by `run`.

        Raises:
            ConfigurationError: if a process cannot be used, for example because of its locustfile, whose
                traceback is a note; or if its version of this package is another one.
        """
        deadline = time.monotonic() + self.place.start_s
        for process in self._all:
            process.ready.wait(max(deadline - time.monotonic(), 0.0))
        for process in self._all:
            if process.first:
                _refuse_unusable(process.first)

    def unreachable(self, deployment: Deployment) -> dict[str, str]:
        """Return how each of the replicas' addresses fails that a load process cannot connect to.

        A process that does not answer is reported by `run`.
        """
        addresses = [[each.host, each.port] for each in self.place.endpoints(deployment)]
        for worker in self._team.workers:
            worker.write(f"reach {json.dumps(addresses)}")
        found: dict[str, str] = {}
        for _ in self._team.workers:
            with suppress(queue.Empty):
                found |= self._reached.get(timeout=self.place.silence_s)
        return found

    @property
    def count(self) -> int:
        """Number of processes that send requests."""
        return self._count

    @property
    def has_own_users(self) -> bool:
        """True if the users are those of a locustfile."""
        return self._locustfile is not None

    @property
    def has_own_shape(self) -> bool:
        """True if the locustfile has a shape, which sets the level of load over time."""
        first = self._team.workers[0].first
        return first is not None and first["event"] == "ready" and first["has_shape"]

    def send(self, plan: LoadPlan, deployment: Deployment) -> datetime:
        """Send the plan to all processes; return when load begins.

        Load begins once all processes have had the time to read the plan and to find each other.
        """
        master = self._team.master
        cores = tuple(sorted(deployment.generator_cores))
        own_cores = [(core,) for core in cores] if 1 < self._count <= len(cores) else [cores] * self._count
        common = self._common(plan, deployment)
        if master:
            master.write(replace(common, role="master", cores=cores, schedule=None).to_json())
        file = self._file_of(plan.requests)
        for index, worker in enumerate(self._team.workers):
            requests = file if worker.sink else _sent(worker, plan)
            own = replace(common, index=index, records=worker.sink, cores=own_cores[index], requests=requests)
            worker.write(own.to_json())
        now = time.time()
        origin = now + (FIND_EACH_OTHER_S if master else READ_THE_PLAN_S)
        origin += plan.requests.size_bytes / _MAPPED_BYTES_PER_S + plan.scheduled / _SCHEDULED_PER_S
        plan.clock.begin(origin)
        begin: Begin = {"origin": origin, "now": now, "same_clock": self.place.same_clock}
        for process in self._all:
            process.write(json.dumps(begin))
        return datetime.fromtimestamp(origin, UTC)

    def _file_of(self, requests: PreparedRequests) -> str:
        """Return the path of the file with requests; write requests that are only in memory to one."""
        path = requests.path or self._folder / "requests"
        if not requests.path:
            path.write_bytes(b"".join(requests.parts()))
        return str(path)

    def _common(self, plan: LoadPlan, deployment: Deployment) -> ProcessPlan:
        """Return the part of a plan that all processes have in common, as the plan of a worker."""
        return ProcessPlan(
            role="worker" if self._team.master else "alone",
            index=self._count,
            processes=self._count,
            profile=plan.profile,
            endpoints=tuple(self.place.endpoints(deployment)),
            paths=plan.paths,
            expected=plan.expected,
            most_bytes=_most_bytes(plan),
            stall_s=plan.stall_s,
            schedule=plan.schedule,
            clock=str(plan.clock.path or ""),
            master=self._team.master_address() if self._team.master else None,
        )

    def end(self) -> None:
        """End all processes; their lines until then can still be read from ``lines``."""
        self._was_told_to_end = True
        for process in self._all:
            process.end()

    def stop(self, order: Order = "stop") -> None:
        """Ask all processes to end their run and to write their last line.

        Args:
            order: ``stop``, or ``decided`` to end the run as its run time would.
        """
        self._was_told_to_end = True
        for process in self._all:
            process.write(order)

    def death(self) -> str:
        """Return how the first dead process ended; empty if all are alive."""
        return next(filter(None, (process.death() for process in self._all)), "")

    @property
    def _all(self) -> list[LoadProcess]:
        return [*self._team.workers, *([self._team.master] if self._team.master else [])]

    def _hear(self, index: int, message: ProcessMessage | None) -> None:
        """Keep the answer to `unreachable`, and merge every other message; None is the end of messages."""
        if message is not None and message["event"] == "reached":
            self._reached.put(message["unreachable"])
            return
        if message is None:
            self._reached.put({})
        self._merge(index, message)

    def _merge(self, index: int, message: RunMessage | None) -> None:
        """Merge a message of a process; None is the end of its messages.

        The master's index follows those of the workers. A worker that ends without its last message ends the
        lines of all, and so does a master that ends while workers run: load is no longer as requested.
        """
        with self._lock:
            if message is not None:
                for each in self._merger.hear(index, message):
                    self.lines.put(each)
            elif index == self._count:
                if self._unfinished and not self._was_told_to_end:
                    self.lines.put(None)
            else:
                self._to_end.discard(index)
                if index in self._unfinished or not self._to_end:
                    self.lines.put(None)
        if message and message["event"] == "fault" and self._count > 1 and self._unfinished:
            self.stop()
        if message and message["event"] == "end":
            self._unfinished.discard(index)
            if message["reason"] in ("failures", "stalled") and self._count > 1:
                self.stop()


def _sent(worker: LoadProcess, plan: LoadPlan) -> str:
    """Write the requests to a process on another machine, in parts; return an empty path.

    Raises:
        ConfigurationError: if they are too large, or the trace has too many of them.
    """
    requests = plan.requests
    if plan.scheduled > _MOST_SCHEDULED:
        raise ConfigurationError(
            f"the run replays {plan.scheduled:,} requests of a trace, and load Pods take at most "
            f"{_MOST_SCHEDULED:,}; send load from this machine, or shorten the run (--tfserving-run-time)."
        )
    if requests.size_bytes > _MOST_REQUESTS_BYTES:
        raise ConfigurationError(
            f"the payload set has {requests.size_bytes >> 20} MB, and load Pods take at most "
            f"{_MOST_REQUESTS_BYTES >> 20} MB; send load from this machine, or shorten the set."
        )
    place = 0
    for part in requests.parts():
        worker.write(f"part {place} {base64.b64encode(part).decode('ascii')}")
        place += len(part)
    return ""


def _most_bytes(plan: LoadPlan) -> int:
    """Return the largest size of a response; any size is right if some bodies have had no response yet."""
    if len(plan.expected) < len(plan.requests):
        return MOST_BYTES
    return max(each.most_bytes for each in plan.expected.values())


def _refuse_unusable(first: FirstMessage) -> None:
    """Raise a ConfigurationError if a process cannot be used, or is of another version."""
    if first["event"] == "refused":
        error = ConfigurationError(first["text"])
        if first["details"]:
            error.add_note(first["details"])
        raise error
    if first["version"] != __version__:
        raise ConfigurationError(
            f"load comes from pytest-tfserving {first['version']}, and this is {__version__}; "
            "both have to be the same: rebuild the image of the load processes."
        )
