"""The load process: reads its plan from standard input, makes load, records, and writes JSON lines.

This program is started by its path and never imported: Locust patches the process that imports it, and must
do so before anything else is loaded. `deployment.load_messages` has the lines that it reads and writes.
"""

# ruff: noqa: I001 - Locust comes first: importing it patches the standard library
from __future__ import annotations

import locust  # noqa: F401
import base64
import contextlib
import itertools
import json
import math
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
from gevent.os import make_nonblocking, nb_read
from locust import LoadTestShape
from locust.env import Environment

from pytest_tfserving.deployment.load_clock import LoadClock
from pytest_tfserving.load.worker.lag_probe import LagProbe
from pytest_tfserving.load.worker.reach import unreachable
from pytest_tfserving.load.process_plan import ProcessPlan
from pytest_tfserving.load.recorder import Recorder, Sink
from pytest_tfserving.protocols.prepared_requests import PreparedRequests
from pytest_tfserving.load.worker.replay_buffer import ReplayBuffer
from pytest_tfserving.experiments.load_shape import level_at
from pytest_tfserving.load.worker.users.closed import ClosedLoop, ClosedUser
from pytest_tfserving.load.worker.users.exceptions import CONTROL, own_traceback, typed_cause_of
from pytest_tfserving.load.worker.users.locustfile import Locustfile, LocustfileError
from pytest_tfserving.load.worker.users.open import OpenLoop, OpenUser
from pytest_tfserving.load.worker.users.locustfile_users import LocustfileUsers, address
from pytest_tfserving.text import secrets
from pytest_tfserving.text.foreign_text import one_line
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Literal, TypeAlias

    from locust.runners import Runner

    from pytest_tfserving.deployment.load_messages import Begin, EndReason, Usage, WrittenMessage
    from pytest_tfserving.experiments.load_shape import Stage
    from pytest_tfserving.load.worker.users.sender import LoadLoop

    # What a load shape requests: users, spawn rate, and perhaps the classes of users; None ends the run.
    ShapeLevel: TypeAlias = tuple[int, float] | tuple[int, float, Sequence[type]] | None

TICK_S = 0.5
# Message of Locust's master to its workers once every user of the profile has been started.
LEVEL = "tfserving-level"
# Below this many requests a failure ratio says little about the server.
FEWEST_TO_GIVE_UP_ON = 10
_LATENCIES_SHOWN = 2000
_LOOK_S = 0.02
# The last due requests may be sent as late as this after the end of a run.
_CATCH_UP_S = 1.0
_NS = 10**9
_READ_BYTES = 1 << 16
# As long as the parent waits for an API server that does not respond.
_STAY_S = 60.0
_AGAIN = b"again "
# The begin of a line with a part of the requests: the place of the part follows, and its bytes in base64.
PART = b"part "
_REACH = b"reach "

_numbers = itertools.count(1)
_said = ReplayBuffer()
# Bytes of standard input that were read and not used yet.
_unread = bytearray()
# Lines for the parent. The output of a locustfile's prints goes to standard error.
_lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


def say(message: WrittenMessage) -> None:
    """Write one line to the parent."""
    line = json.dumps({"event": message["event"], "n": next(_numbers), **message}) + "\n"
    _said.add(line)
    _lines.write(line)
    _lines.flush()


def say_again(number: int) -> None:
    """Repeat the lines from ``number`` on."""
    lines = _said.since(number)
    if lines is None:
        say({"event": "forgotten"})
    else:
        _lines.writelines(lines)
        _lines.flush()


class SaidRecords:
    """Sink that writes records into the lines, for a parent on another machine."""

    def write(self, data: array[float], /) -> None:
        """Write records as a line, if there are any."""
        if len(data):
            say({"event": "records", "data": base64.b64encode(data).decode("ascii")})

    def close(self) -> None:
        """Do nothing: all records were written."""


def sink(path: str) -> Sink:
    """Return the sink of records: the file at ``path``, or the lines if ``path`` is empty."""
    return Path(path).open("ab", buffering=0) if path else SaidRecords()


def used(cores: Sequence[int]) -> Usage:
    """Return in seconds the CPU time, the waiting for a core, and the host's steal of ``cores``, so far.

    Waiting and steal come from Linux (schedstat(7) and proc(5)); on other systems they are 0. Steal is the
    mean of the cores.
    """
    wait_s = steal_s = 0.0
    with contextlib.suppress(OSError, IndexError):
        wait_s = int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / _NS
        names = {f"cpu{core}" for core in cores}
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        stolen = [int(line.split()[8]) for line in lines if line.partition(" ")[0] in names]
        steal_s = sum(stolen) / os.sysconf("SC_CLK_TCK") / max(len(stolen), 1)
    return {"cpu_s": time.process_time(), "wait_s": wait_s, "steal_s": steal_s}


def staged(stages: tuple[Stage, ...], spawn_rate: float, now_s: Callable[[], float]) -> LoadTestShape:
    """Return a load shape for Locust that follows ``stages``."""

    class Staged(LoadTestShape):  # type: ignore[misc] # Locust has no types for it
        def tick(self) -> tuple[int, float]:
            return math.ceil(level_at(stages, now_s())), spawn_rate

    return Staged()


def new_environment(plan: ProcessPlan, file: Locustfile | None, *ours: type) -> Environment:
    """Return Locust's environment for a run: that of the locustfile, else one with the users ``ours``."""
    if not file:
        return Environment(user_classes=list(ours))
    file.prepare(plan, address(plan.endpoints[0]))
    return file.environment


def new_runner(environment: Environment, plan: ProcessPlan) -> Runner:
    """Return Locust's runner for this process's role in the plan."""
    if plan.master is None:
        return environment.create_local_runner()
    if plan.role == "master":
        return environment.create_master_runner(*plan.master)
    return environment.create_worker_runner(*plan.master)


def told(tick: Callable[[], ShapeLevel], now_s: Callable[[], float]) -> Callable[[], ShapeLevel]:
    """Return the `tick` of a shape, extended by a line ``asked`` whenever the requested level changes."""
    last: tuple[int, float, str] | None = None

    def tell(users: int, spawn_rate: float, failed: str = "") -> None:
        nonlocal last
        if (users, spawn_rate, failed) != last:
            last = users, spawn_rate, failed
            say(
                {
                    "event": "asked",
                    "at_s": now_s(),
                    "users": users,
                    "spawn_rate": spawn_rate,
                    "failed": failed,
                }
            )

    def tick_and_tell() -> ShapeLevel:
        try:
            found = tick()
            asked = (int(found[0]), float(found[1])) if found else (0, 0.0)
        except Exception as error:
            tell(0, 0.0, one_line(f"{type(error).__name__}: {error}"))
            raise
        tell(*asked)
        return found

    return tick_and_tell


def start(runner: Runner, plan: ProcessPlan, file: Locustfile | None, now_s: Callable[[], float]) -> None:
    """Start the users of the plan: those of this process, or as Locust's master those of all workers."""
    profile = plan.profile
    if file and file.shape:
        runner.environment.shape_class = file.shape
        file.shape.runner = runner
        file.shape.get_run_time = now_s
        file.shape.tick = told(file.shape.tick, now_s)
        runner.start_shape()
    elif profile.is_open:
        runner.start(plan.processes, plan.processes)
    elif profile.is_constant:
        runner.start(profile.users, profile.spawn_rate)
    else:
        runner.environment.shape_class = staged(profile.stages, profile.spawn_rate, now_s)
        runner.environment.shape_class.runner = runner
        runner.start_shape()


def load_clock(plan: ProcessPlan, origin: float) -> LoadClock:
    """Return the clock of the run: the clock that the plan names, else a clock of this process."""
    if plan.clock:
        return LoadClock(Path(plan.clock))
    clock = LoadClock()
    clock.begin(origin)
    return clock


def lead(plan: ProcessPlan, file: Locustfile | None, clock: LoadClock) -> None:
    """Run as Locust's master: spread users over the workers, and tell the workers once all users run."""
    environment = new_environment(plan, file, OpenUser if plan.profile.is_open else ClosedUser)
    runner = new_runner(environment, plan)
    if file:
        file.hooks.on_exception = partial(leave, file)
        file.hooks.watch(environment)
        file.begin(runner)
    environment.events.spawning_complete.add_listener(lambda **_: runner.send_message(LEVEL))
    while len(runner.clients.ready) < plan.processes:
        gevent.sleep(_LOOK_S)
    now_s = clock.now_s
    probe = LagProbe(now_s)
    gevent.spawn(probe.run)
    speaking = gevent.spawn(say_leading, probe, now_s)
    gevent.sleep(max(-now_s(), 0.0))
    start(runner, plan, file, now_s)
    while next_order() == b"decided":
        pass  # the workers end first
    speaking.kill()
    say_stops("led", probe, now_s)
    while next_order():
        pass  # some workers may not have ended yet
    if file:
        file.end_leading()
        if file.exit_fault:
            say({"event": "fault", "text": file.exit_fault})


def say_leading(probe: LagProbe, now_s: Callable[[], float]) -> None:
    """Say without end that the master leads, and when it stood still."""
    while True:
        gevent.sleep(TICK_S)
        say_stops("leads", probe, now_s)


def say_stops(event: Literal["leads", "led"], probe: LagProbe, now_s: Callable[[], float]) -> None:
    """Say when the master stood still since the last time."""
    probe.look()
    probe.take()  # the master sends no requests, so none of them is late
    say({"event": event, "at_s": now_s(), "stops": probe.take_stops()})


def leave(file: Locustfile, error: BaseException, _: object, trace: TracebackType | None) -> None:
    """Fail the run for an exception in Locust's master, which has no requests to count the exception in."""
    if not isinstance(error, CONTROL):
        text = f"the locustfile {file.path} raised {typed_cause_of(error)} in Locust's master"
        say({"event": "traceback", "text": own_traceback(error, trace or error.__traceback__)})
        say({"event": "fault", "text": text})
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
        os._exit(1)


class LoadRun:
    """A run of load, from the first user to the last line."""

    def __init__(
        self, plan: ProcessPlan, requests: PreparedRequests, file: Locustfile | None, clock: LoadClock
    ) -> None:
        self.plan = plan
        self.file = file
        self.profile = plan.profile
        self.recorder = Recorder(
            sink(plan.records), lambda index, text: say({"event": "cause", "index": index, "text": text})
        )
        self.loop = self._new_loop(requests, clock)
        self.cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.level_since = self.profile.judged_from_s
        shape = not self.profile.is_constant or bool(file and file.shape)
        self.has_level = isinstance(self.loop, OpenLoop) or shape
        self.reason: EndReason | Literal[""] = ""
        self.is_over = False
        self.settled = False
        self.ended_itself = False
        self.probe = LagProbe(self.loop.now_s)
        self.loop.probe_due_s = self.probe.due_s

    def _new_loop(self, requests: PreparedRequests, clock: LoadClock) -> LoadLoop:
        if self.file:
            return LocustfileUsers(self.plan, requests, self.recorder, clock, self.file, say)
        return (OpenLoop if self.profile.is_open else ClosedLoop)(self.plan, requests, self.recorder, clock)

    def execute(self) -> None:
        """Make load until the run time is over, too much fails, responses cease, or the parent stops it."""
        environment = new_environment(self.plan, self.file, *self.loop.user_classes)
        environment.load_loop = self.loop
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        runner = new_runner(environment, self.plan)
        gevent.spawn(self._obey)
        gevent.spawn(self.probe.run)
        if self.plan.role == "worker":
            runner.register_message(LEVEL, self._on_spawned)
        else:
            environment.events.spawning_complete.add_listener(self._on_spawned)
        if isinstance(self.loop, LocustfileUsers):
            self.loop.begin(environment)
        self.loop.sleep_until(0.0)
        self.reason = self.reason or self._fault()
        if self.plan.role == "alone" and not self.reason:
            start(runner, self.plan, self.file, self.loop.now_s)
        while not self.reason:
            began_s = self.loop.now_s()
            self.loop.sleep_until(min(began_s + TICK_S, self.profile.run_time_s))
            self._tick(runner.user_count, began_s)
        self._finish()

    def _tick(self, users: int, began_s: float) -> None:
        self.probe.look()
        self.loop.expire(self.profile.request_timeout_s)
        now, before = self.loop.now_s(), self.recorder.requests
        latencies = sorted(self.recorder.flush()[-_LATENCIES_SHOWN:])
        recorder = self.recorder
        say(
            {
                "event": "tick",
                "at_s": now,
                "users": 0 if isinstance(self.loop, OpenLoop) else users,
                "running": users,
                "ended_itself": self.ended_itself,
                "sent": self.loop.sent,
                "requests": recorder.requests,
                "failures": recorder.failures,
                "rps": (recorder.requests - before) / max(now - began_s, 1e-9),
                "p95_ms": latencies[int(len(latencies) * 0.95)] if latencies else None,
                "late": self.probe.take(),
                "stops": self.probe.take_stops(),
                **used(self.cores),
            }
        )
        if not self.settled and self._is_answered():
            self.settled = self.probe.counts = True
            say({"event": "settled", "at_s": now, **used(self.cores)})
        self.reason = self.reason or self._reason_to_end(now)

    def _is_answered(self) -> bool:
        """Return whether load has reached its level, and has got responses since."""
        at_level = self.has_level and self.loop.now_s() >= self.level_since
        return at_level and self.loop.answered_since(self.level_since)

    def _fault(self) -> Literal["stopped", ""]:
        return "stopped" if isinstance(self.loop, LocustfileUsers) and self.loop.fault else ""

    def _reason_to_end(self, now: float) -> EndReason | Literal[""]:
        recorder = self.recorder
        if fault := self._fault():
            return fault
        if (
            recorder.requests >= FEWEST_TO_GIVE_UP_ON
            and recorder.failures > self.profile.max_failure_ratio * recorder.requests
        ):
            return "failures"
        waits_since = self.loop.waits_since()
        if waits_since is not None and now - waits_since > self.plan.stall_s:
            return "stalled"
        return "time" if now >= self.profile.run_time_s else ""

    def _finish(self) -> None:
        self.probe.look()
        ended_at, usage = self.loop.now_s(), used(self.cores)
        while self.reason == "time" and self.loop.is_behind(self.profile.run_time_s):
            if self.loop.now_s() > ended_at + _CATCH_UP_S:
                break
            gevent.sleep(_LOOK_S)
        self.loop.stopping = True
        if self.reason in ("time", "decided", "stalled"):
            self._await_answers()
        if isinstance(self.loop, LocustfileUsers):
            self.loop.end(at_once=self.reason == "stopped")
        to_record, under_way = self.loop.sent + self.loop.dropped, self.loop.waiting()
        self.recorder.close()
        assert self.reason
        say(
            {
                "event": "end",
                "reason": self.reason,
                "at_s": ended_at,
                "to_record": to_record,
                "under_way": under_way,
                "requests": self.recorder.requests,
                "failures": self.recorder.failures,
                "lag_p95_ms": self.probe.lag_p95_ms,
                "late": self.probe.take(),
                "stops": self.probe.take_stops(),
                **usage,
            }
        )
        self.is_over = True

    def _await_answers(self) -> None:
        """Wait for the responses to requests under way; requests that get none are recorded as failed."""
        under_way = self.loop.waiting()
        deadline = self.loop.now_s() + self.plan.stall_s
        while self.reason != "stalled" and self.loop.waiting() and self.loop.now_s() < deadline:
            gevent.sleep(_LOOK_S)
        if left := self.loop.waiting():
            self.reason = "stalled" if left == under_way else self.reason
            self.loop.expire(0.0)
            gevent.sleep(_LOOK_S)
            self.loop.abandon()

    def _on_test_stopping(self, **_: object) -> None:
        """Note that something stops the users; this package never does while load runs."""
        self.ended_itself = True

    def _on_spawned(self, **_: object) -> None:
        if not self.has_level:
            self.has_level, self.level_since = True, self.loop.now_s()

    def _obey(self) -> None:
        while order := next_order():
            if self.is_over:
                os._exit(0)
            self.reason = "decided" if order == b"decided" else "stopped"
        if not self.reason:
            os._exit(1)


def next_order() -> bytes:
    """Return the parent's next order, empty once the parent has died; let other greenlets run until then."""
    make_nonblocking(sys.stdin.fileno())
    return _next_line(nb_read)


def _next_line(read: Callable[[int, int], bytes] = os.read) -> bytes:
    """Return the next line of stdin, and serve requests for lines or for connections on the way.

    The line is empty at the end of stdin.
    """
    while (line := _line(read)).startswith((_AGAIN, _REACH)):
        if line.startswith(_AGAIN):
            say_again(int(line.removeprefix(_AGAIN)))
        else:
            addresses = json.loads(line.removeprefix(_REACH))
            say({"event": "reached", "unreachable": unreachable(addresses)})
    return line


def _line(read: Callable[[int, int], bytes]) -> bytes:
    """Return the next line of stdin, or the rest of stdin if it ends first."""
    searched = 0
    while _unread.find(b"\n", searched) < 0 and (data := read(sys.stdin.fileno(), _READ_BYTES)):
        searched = len(_unread)
        _unread.extend(data)
    line, _, rest = bytes(_unread).partition(b"\n")
    _unread[:] = rest
    return line


def next_plan() -> tuple[ProcessPlan, PreparedRequests | None, LoadClock]:
    """Return the plan, its requests (None for Locust's master), and the clock of its run."""
    line, parts = _next_line(), bytearray()
    while line.startswith(PART):
        start, _, data = line.removeprefix(PART).partition(b" ")
        # A part that was written again takes the place of the part before.
        parts[int(start) :] = base64.b64decode(data)
        line = _next_line()
    begins = _next_line()
    if not begins:
        os._exit(1)
    plan = ProcessPlan.from_json(line)
    begin: Begin = json.loads(begins)
    requests = PreparedRequests(parts) if parts else None
    if plan.requests:
        requests = PreparedRequests.read(Path(plan.requests))
    apart_s = 0.0 if begin["same_clock"] else time.time() - begin["now"]
    return plan, requests, load_clock(plan, begin["origin"] + apart_s)


def _locustfile() -> Locustfile | None:
    """Return the locustfile that the command line names, None without one."""
    if not sys.argv[1:]:
        return None
    try:
        return Locustfile(sys.argv[1])
    except LocustfileError as error:
        say({"event": "refused", "text": str(error), "details": error.details})
        os._exit(2)


def main() -> None:
    """Run the plan on standard input, then exit without waiting for users that still wait for responses."""
    if names := os.environ.pop(secrets.NAMES, ""):
        secrets.hide(names.split())
        sys.stdout, sys.stderr = secrets.HidingStream(sys.stdout), secrets.HidingStream(sys.stderr)
    file = _locustfile()
    say({"event": "ready", "has_shape": bool(file and file.shape), "version": __version__})
    plan, requests, clock = next_plan()
    if plan.cores:
        os.sched_setaffinity(0, plan.cores)
    if plan.role == "master":
        lead(plan, file, clock)
        os._exit(0)
    if plan.records:
        _said.forget()
    assert requests is not None
    LoadRun(plan, requests, file, clock).execute()
    if not plan.records:
        gevent.sleep(_STAY_S)
    os._exit(0)


if __name__ == "__main__":
    main()
