"""The Locust child: reads its plan from standard input, loads, records, and speaks JSON lines.

It is started by its path and never imported: Locust patches the process it is imported into, and does so
before anything else is loaded here. Lines it writes, each with ``event``:

``ready``    everything is imported; the plan may come
``cause``    a new cause of errors: ``index``, ``text``
``tick``     twice a second: ``at_s``, ``users``, ``requests``, ``failures``, ``rps``, ``p95_ms``, ``cpu_s``
``settled``  every user runs and has had an answer since: ``at_s``, ``cpu_s``
``end``      the last line: ``reason`` (`time`, `decided`, `failures`, `stalled`, `stopped`), ``at_s``,
         ``lag_p95_ms``

A line ``stop`` on standard input ends the run, as does its end: then the parent has died. ``decided`` ends
it as its time would.
"""

# ruff: noqa: I001 - Locust comes first: importing it patches the standard library
from __future__ import annotations

import locust  # noqa: F401
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from gevent.os import make_nonblocking, nb_read
from locust.env import Environment

from pytest_tfserving.load.recorder import Recorder
from pytest_tfserving.load.users.rest import LoadState, RestUser

TICK_S = 0.5
LAG_PROBE_S = 0.1
# Below this many requests a failure ratio says little about the server.
FEWEST_TO_GIVE_UP_ON = 10
_LATENCIES_SHOWN = 2000
_LOOK_S = 0.02


def say(event: str, **values: Any) -> None:
    """Write one line to the parent."""
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


class Run:
    """One run of load, from the first user to the last line."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.profile = plan["profile"]
        self.stall_s: float = plan["stall_s"]
        self.recorder = Recorder(
            Path(plan["records"]), lambda index, text: say("cause", index=index, text=text)
        )
        self.state = LoadState(plan, self.recorder, Path(plan["body"]).read_bytes())
        self.reason = ""
        self.spawned_at = 0.0
        self.settled = False
        self.lags_ms: list[float] = []

    def execute(self) -> None:
        """Load until the time is spent, too much fails, nothing comes back, or the parent says stop."""
        environment = Environment(user_classes=[RestUser])
        environment.load_state = self.state
        environment.events.spawning_complete.add_listener(self._on_spawned)
        runner = environment.create_local_runner()
        gevent.spawn(self._obey)
        gevent.spawn(self._probe_lag)
        runner.start(self.profile["users"], self.profile["spawn_rate"])
        while not self.reason:
            gevent.sleep(max(0.0, min(TICK_S, self.profile["run_time_s"] - self.state.now_s())))
            self._tick(runner.user_count)
        self._finish()

    def _tick(self, users: int) -> None:
        self.state.expire(self.profile["request_timeout_s"])
        now, before = self.state.now_s(), self.recorder.requests
        latencies = sorted(self.recorder.flush()[-_LATENCIES_SHOWN:])
        recorder = self.recorder
        say(
            "tick",
            at_s=now,
            users=users,
            requests=recorder.requests,
            failures=recorder.failures,
            rps=(recorder.requests - before) / TICK_S,
            p95_ms=latencies[int(len(latencies) * 0.95)] if latencies else None,
            cpu_s=time.process_time(),
        )
        if not self.settled and self._every_user_answered():
            self.settled = True
            say("settled", at_s=now, cpu_s=time.process_time())
        self.reason = self.reason or self._reason_to_end(now)

    def _every_user_answered(self) -> bool:
        return bool(self.spawned_at) and all(user.finished_at > self.spawned_at for user in self.state.users)

    def _reason_to_end(self, now: float) -> str:
        recorder = self.recorder
        if (
            recorder.requests >= FEWEST_TO_GIVE_UP_ON
            and recorder.failures > self.profile["max_failure_ratio"] * recorder.requests
        ):
            return "failures"
        if self._stalled(now):
            return "stalled"
        return "time" if now >= self.profile["run_time_s"] else ""

    def _stalled(self, now: float) -> bool:
        """Whether requests wait and none has come back for so long that none will."""
        users = self.state.users
        return any(user.waiting_since for user in users) and all(
            now - max(user.finished_at, user.waiting_since) > self.stall_s for user in users
        )

    def _finish(self) -> None:
        ended_at, cpu_s = self.state.now_s(), time.process_time()
        self.state.stopping = True
        if self.reason in ("time", "decided", "stalled"):
            self._await_answers()
        self.recorder.close()
        lags = sorted(self.lags_ms)
        say(
            "end",
            reason=self.reason,
            at_s=ended_at,
            cpu_s=cpu_s,
            requests=self.recorder.requests,
            failures=self.recorder.failures,
            lag_p95_ms=lags[int(len(lags) * 0.95)] if lags else 0.0,
        )

    def _await_answers(self) -> None:
        """Let the requests under way be answered; those that never are count as errors, not as nothing."""
        under_way = self._waiting()
        deadline = self.state.now_s() + self.stall_s
        while self.reason != "stalled" and self._waiting() and self.state.now_s() < deadline:
            gevent.sleep(_LOOK_S)
        if left := self._waiting():
            self.reason = "stalled" if left == under_way else self.reason
            self.state.expire(0.0)
            gevent.sleep(_LOOK_S)

    def _waiting(self) -> int:
        return sum(1 for user in self.state.users if user.waiting_since)

    def _on_spawned(self, user_count: int, **_: Any) -> None:
        self.spawned_at = self.state.now_s()
        say("spawned", at_s=self.spawned_at, users=user_count)

    def _probe_lag(self) -> None:
        while True:
            before = time.perf_counter()
            gevent.sleep(LAG_PROBE_S)
            if self.settled:
                self.lags_ms.append((time.perf_counter() - before - LAG_PROBE_S) * 1e3)

    def _obey(self) -> None:
        stdin = sys.stdin.fileno()
        make_nonblocking(stdin)
        order = nb_read(stdin, 1 << 12)
        if not order:
            os._exit(1)
        self.reason = "decided" if order.startswith(b"decided") else "stopped"


def _first_line() -> bytes:
    """The first line of standard input; what follows it stays unread for `Run._obey`."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(sys.stdin.fileno(), 1)):
        line += byte
    return line


def main() -> None:
    """Run the plan on standard input, then leave without waiting for users that wait for answers."""
    say("ready")
    line = _first_line()
    if not line:
        os._exit(1)
    plan = json.loads(line)
    if plan["cores"]:
        os.sched_setaffinity(0, plan["cores"])
    Run(plan).execute()
    os._exit(0)


if __name__ == "__main__":
    main()
