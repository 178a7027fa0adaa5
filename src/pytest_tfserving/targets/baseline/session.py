"""The in-process baseline: the speed of the same model on a replica's cores without a server.

The baseline has a process for each replica, on the replica's cores. The process calls the model in short
pulses while load runs. The load stands still during a pulse, see `worker`. So a change of the machine's
speed affects the server and the baseline alike.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pytest_tfserving.deployment.load_clock import LoadClock
from pytest_tfserving.deployment.pulses import PulseRow
from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.system.processes import end_by_closing
from pytest_tfserving.text.foreign_text import last_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_tfserving.experiments.experiment import ServingOptions
    from pytest_tfserving.targets.baseline.freeze import ServerFreezer
    from pytest_tfserving.targets.baseline.messages import ReadyMessage, RunMessage, RunOrder, WorkerPlan
    from pytest_tfserving.text.json_value import JsonObject

# A pulse that takes longer is taken to hang.
_LONGEST_PULSE_S = 60.0
_NOTHING = "null"


@dataclass(frozen=True, slots=True)
class BaselineReady:
    """The report of a warm session: its answers to requests, and whether they are always the same."""

    answers: Sequence[JsonObject]
    deterministic: bool


@dataclass(frozen=True, slots=True)
class BaselinePlan:
    """The plan of a session: a version's folder, and a file with prepared requests in JSON.

    The first ``kinds`` of the requests are of different kinds. The session starts on ``start_cores``, so as
    not to slow the replica's start, and measures on ``cores``.
    """

    version_path: Path
    requests: Path
    options: ServingOptions
    cores: tuple[int, ...]
    start_cores: tuple[int, ...]
    kinds: int = 1


class BaselineSession:
    """A process with the model loaded; the process writes its errors to ``log``.

    The process makes pulses when its ``leader`` does, through that socket. Without a leader it leads its
    ``followers``.
    """

    def __init__(
        self,
        plan: BaselinePlan,
        log: Path,
        leader: socket.socket | None = None,
        followers: Sequence[socket.socket] = (),
    ) -> None:
        self._log = log
        passed = [each.fileno() for each in ([leader] if leader else followers)]
        spec: WorkerPlan = {
            "model": str(plan.version_path),
            "requests": str(plan.requests),
            "kinds": plan.kinds,
            "intra_op": plan.options.intra_op,
            "inter_op": plan.options.inter_op,
            "callers": max(len(plan.cores), 1),
            "cores": plan.cores,
            "start_cores": plan.start_cores,
            "leader": passed[0] if leader else None,
            "followers": passed,
        }
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest_tfserving.targets.baseline.worker", json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                pass_fds=passed,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")},
            )
        self._lines: queue.Queue[str] = queue.Queue()
        self._hear: Callable[[RunMessage | None], None] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self, timeout_s: float) -> BaselineReady:
        """Wait for the session to be warm.

        Raises:
            DeploymentError: when the process ends or does not answer in time, with the last line of its log.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            line = ""
        if not line:
            raise DeploymentError(f"the baseline did not answer within {timeout_s:g} s{self.last_words()}")
        message: ReadyMessage = json.loads(line)
        return BaselineReady(**message)

    def tell(self, line: str, hear: Callable[[RunMessage | None], None]) -> None:
        """Write a line to the process; ``hear`` gets its further output, None once the process has ended."""
        assert self._process.stdin is not None
        self._hear = hear
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            hear(None)

    def last_words(self) -> str:
        """Return the last line of the log, as the end of a sentence; empty if the log is empty."""
        last = last_line(self._log)
        return f": {last}" if last else ""

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def close(self) -> None:
        """End the process."""
        end_by_closing(self._process, timeout_s=2)
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if self._hear:
                    self._hear(json.loads(line))
                else:
                    self._lines.put(line)
        self._lines.put("")
        if self._hear:
            self._hear(None)


def start_sessions(plans: Sequence[BaselinePlan], folder: Path) -> list[BaselineSession]:
    """Start the sessions of all replicas; the first one leads the others."""
    pairs = [socket.socketpair() for _ in plans[1:]]
    sessions = [BaselineSession(plans[0], folder / "bare0.log", followers=[ours for ours, _ in pairs])]
    for index, (plan, (ours, theirs)) in enumerate(zip(plans[1:], pairs, strict=True), 1):
        with closing(ours), closing(theirs):
            sessions.append(BaselineSession(plan, folder / f"bare{index}.log", leader=theirs))
    return sessions


class SessionPulses:
    """The pulses of sessions during one run of load.

    A server never stays frozen: if the process that makes the pulses dies during a pulse, the clock and the
    servers go on at once.
    """

    def __init__(self, sessions: Sequence[BaselineSession], servers: ServerFreezer, clock_path: Path) -> None:
        clock_path.unlink(missing_ok=True)
        self.clock = LoadClock(clock_path)
        self._sessions = sessions
        self._servers = servers
        self._rows: list[PulseRow] = []
        self._taken = 0
        self._ended = threading.Event()
        self._failure = ""
        self._stands_since: tuple[float, float] | None = None

    def __enter__(self) -> Self:
        """Begin the pulses; the clock must have its origin by now."""
        order: RunOrder = {"clock": str(self.clock.path), "servers": self._servers.spec()}
        self._sessions[0].tell(json.dumps(order), self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        """End the pulses, once the last one is over."""
        self._sessions[0].tell(_NOTHING, self._hear)
        if not self._ended.wait(_LONGEST_PULSE_S):
            self._sessions[0].kill()
            self._ended.wait()
        assert self.clock.path is not None
        self.clock.path.unlink(missing_ok=True)

    @property
    def rows(self) -> list[PulseRow]:
        """All pulses so far."""
        return list(self._rows)

    def new(self) -> list[PulseRow]:
        """Return the pulses since the last call."""
        rows = self._rows[self._taken :]
        self._taken += len(rows)
        return rows

    def failure(self) -> str:
        """Return why there are no more pulses, as a sentence; empty while pulses go on."""
        if not self.clock.stands:
            self._stands_since = None
        else:
            shown_s, now = self.clock.now_s(), time.monotonic()
            if not self._stands_since or self._stands_since[0] != shown_s:
                self._stands_since = shown_s, now
            elif now - self._stands_since[1] > _LONGEST_PULSE_S:
                self._failure = f"the baseline's calls did not end within {_LONGEST_PULSE_S:g} s"
                self._sessions[0].kill()
        if not self._failure and any(session.has_ended() for session in self._sessions):
            last = next(session.last_words() for session in self._sessions if session.has_ended())
            self._failure = f"a process of the baseline ended during the load{last}"
        return self._failure

    def _hear(self, message: RunMessage | None) -> None:
        if message is None:
            self._let_go_on()
        elif "ended" not in message:
            self._rows.append(PulseRow(**message))
            return
        self._ended.set()

    def _let_go_on(self) -> None:
        """Let the clock and the servers go on after a process died during a pulse."""
        if self.clock.stands:
            self.clock.go_on()
        with suppress(DeploymentError):
            self._servers.thaw()
