"""The baseline's process for one replica: the same model without a server, called in short pulses.

The process gets its plan as an argument, and writes how the model answered. Then each line of standard input
starts a run of load, with this process as the leader of the pulses until the next line. For a pulse the
leader freezes the servers, stops the load clock, calls the model while the processes of the other replicas do
the same, lets everything go on, and writes the result as a line. The process ends with its input.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import select
import socket
import statistics
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.deployment.load_clock import LoadClock
from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.protocols.prepared_requests import PreparedRequests
from pytest_tfserving.targets.baseline.freeze import can_be_frozen, freezer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_tfserving.deployment.deployment import Freezer
    from pytest_tfserving.targets.baseline.messages import ReadyMessage, RunMessage, RunOrder, WorkerPlan
    from pytest_tfserving.text.json_value import JsonObject

_WARM_UP_CALLS = 3
# The first answers of each kind are made for at most this long, since a model may take seconds for each of
# them; one is made in any case. Then further answers are made for at most this long.
_KINDS_S = 30.0
_ANSWERS_S = 2.0
# Calls with several requests repeat after this many.
_CALLS_DRAWN = 4096
_SEED = 1
_STDIN = 0
# The shortest length of a pulse; each caller makes at least one call.
PULSE_S = 0.05
# The mean distance of pulses in seconds of load, or in their own lengths, whichever is longer. So pulses take
# at most about a tenth of the time, even if a call is long.
EVERY_S = 0.8
_EVERY_PULSES = 8.0
# Distances vary, because equal ones could keep step with periodic work of a server.
_SPREAD = 0.25
# The first pulse comes early, so that relative limits are known when the window starts.
_FIRST_S = 0.1
# While servers freeze, the clock and the servers are out of step. This is the largest share of that time in a
# pulse, and in the load.
_FREEZING_IN_A_PULSE = 0.1
_FREEZING_IN_LOAD = 0.01
# The leader sends the length of a pulse, and followers answer with the fields of `Pulse`.
_LENGTH = struct.Struct("d")
_PULSE = struct.Struct("ddd")


@dataclass(frozen=True, slots=True)
class Pulse:
    """A pulse of a replica: the calls of all threads, their number divided by their rate, the median call."""

    calls: float
    busy_s: float
    latency_ms: float

    def packed(self) -> bytes:
        """Return the pulse as bytes for the leader."""
        return _PULSE.pack(self.calls, self.busy_s, self.latency_ms)


class Caller:
    """A caller of the model in pulses, with as many threads as the replica has vCPUs."""

    def __init__(self, call: Callable[[], object], callers: int) -> None:
        self._call = call
        self._callers = callers
        self._barrier = threading.Barrier(callers)
        self._pool = ThreadPoolExecutor(callers)

    def pulse(self, length_s: float) -> Pulse:
        """Call the model for ``length_s``, in whole calls, and at least once in each thread.

        The first call of each thread does not count. Its caches hold the server's data, so it is some per
        cent slower than a call that follows another one, as the calls of a busy server do.
        """
        done = list(self._pool.map(self._calls, [length_s] * self._callers))
        calls = sum(len(latencies) for _, latencies in done)
        rate = sum(len(latencies) / taken_s for taken_s, latencies in done)
        median_ms = statistics.median(latency for _, latencies in done for latency in latencies)
        return Pulse(calls, calls / rate, median_ms)

    def _calls(self, length_s: float) -> tuple[float, list[float]]:
        self._call()
        self._barrier.wait()
        start, latencies = time.perf_counter(), []
        now = start
        while now - start < length_s:
            self._call()
            before, now = now, time.perf_counter()
            latencies.append((now - before) * 1e3)
        return now - start, latencies


class Leader:
    """The leader of the pulses in one run of load, its own and those of its ``followers``."""

    def __init__(
        self, caller: Caller, followers: Sequence[socket.socket], clock: LoadClock, servers: Freezer
    ) -> None:
        self._caller = caller
        self._followers = followers
        self._clock = clock
        self._servers = servers
        self._length_s = PULSE_S
        self._apart_s = EVERY_S

    def run(self) -> None:
        """Make pulses until a line or the end of standard input."""
        self._fit_to_freezer()
        due_s = _FIRST_S
        while not self._is_told(due_s):
            length_s = 0.0
            with contextlib.suppress(DeploymentError):  # the next pulse may succeed
                length_s = self._pulse()
            apart_s = max(self._apart_s, _EVERY_PULSES * length_s)
            due_s = self._clock.now_s() + apart_s * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - no secret

    def _fit_to_freezer(self) -> None:
        """Make pulses longer and rarer if freezing is slow."""
        start = time.perf_counter()
        can_be_frozen(self._servers)
        taken_s = time.perf_counter() - start
        self._length_s = max(PULSE_S, taken_s / _FREEZING_IN_A_PULSE)
        self._apart_s = max(EVERY_S, taken_s / _FREEZING_IN_LOAD)

    def _is_told(self, due_s: float) -> bool:
        """Wait until the load clock shows ``due_s``; return whether a line came before."""
        while True:
            left_s = max(due_s - self._clock.now_s(), 0.0)
            if select.select([_STDIN], [], [], left_s)[0]:
                return True
            if self._clock.now_s() >= due_s:
                return False

    def _pulse(self) -> float:
        """Make one pulse and write its result; return its length in seconds."""
        start = time.perf_counter()
        try:
            self._servers.freeze()
            self._clock.stop()
            try:
                at_s = self._clock.now_s()
                pulses = self._all_pulses()
            finally:
                # Before the servers go on: they may take the core from this process.
                self._clock.go_on()
        finally:
            self._servers.thaw()
        rate = sum(each.calls / each.busy_s for each in pulses)
        calls = sum(each.calls for each in pulses)
        latency_ms = max(each.latency_ms for each in pulses)
        _say({"at_s": at_s, "calls": calls, "busy_s": calls / rate, "latency_ms": latency_ms})
        return time.perf_counter() - start

    def _all_pulses(self) -> list[Pulse]:
        for follower in self._followers:
            follower.sendall(_LENGTH.pack(self._length_s))
        own = self._caller.pulse(self._length_s)
        return [own, *(Pulse(*_PULSE.unpack(_received(each, _PULSE.size))) for each in self._followers)]


class _Model:
    """The model of a plan, called with the plan's requests by their weights."""

    def __init__(self, plan: WorkerPlan) -> None:
        from pytest_tfserving.model_server import json_tensor
        from pytest_tfserving.model_server.servable import Servable

        self._encode = json_tensor.encode
        self._servable = Servable.load(
            Path(plan["model"]), intra_op=plan["intra_op"], inter_op=plan["inter_op"]
        )
        prepared = PreparedRequests.read(Path(plan["requests"]))
        self._kinds = plan["kinds"]
        self._requests = [json_tensor.decode(bytes(body), self._servable) for body in prepared]
        order = random.Random(_SEED).choices(self._requests, prepared.weights, k=_CALLS_DRAWN)  # noqa: S311 - no secret
        # One request after the other for all threads.
        self._next = itertools.cycle(order).__next__

    def call(self) -> object:
        """Call the model with the next request."""
        request = self._next()
        return self._servable.run(request.signature_name, request.inputs)

    def answer(self, index: int) -> bytes:
        """Return the model's answer to a request, as JSON."""
        request = self._requests[index]
        return self._encode(self._servable.run(request.signature_name, request.inputs), request.row_format)

    def answers(self) -> list[JsonObject]:
        """Return the answers to first requests, as `first_answers` does."""
        return first_answers(self.answer, len(self._requests), self._kinds)


def first_answers(answer: Callable[[int], bytes], requests: int, kinds: int) -> list[JsonObject]:
    """Return the answers to one request of each kind, and to as many others as the time allows.

    Args:
        answer: returns the answer to a request, as JSON, by the request's index.
        requests: the number of requests.
        kinds: so many requests, the first ones, are of different kinds.
    """
    until = time.monotonic() + _KINDS_S
    found: list[JsonObject] = []
    for index in range(requests):
        if index == kinds:
            until = time.monotonic() + _ANSWERS_S
        if found and time.monotonic() > until:
            break
        found.append(json.loads(answer(index)))
    return found


def main() -> None:
    """Load the model, warm up, then lead or follow in every run of load."""
    plan: WorkerPlan = json.loads(sys.argv[1])
    _pin(plan["start_cores"])
    model = _Model(plan)
    first = {model.answer(0) for _ in range(_WARM_UP_CALLS)}
    answers = model.answers()
    _pin(plan["cores"])
    caller = Caller(model.call, plan["callers"])
    _say({"answers": answers, "deterministic": len(first) == 1})
    if plan["leader"] is None:
        _lead(caller, [socket.socket(fileno=each) for each in plan["followers"]])
    else:
        _follow(caller, socket.socket(fileno=plan["leader"]))
    os._exit(0)


def _lead(caller: Caller, followers: Sequence[socket.socket]) -> None:
    """Lead the pulses of a run for each line that starts one; any other line reports the end."""
    while line := _line():
        order: RunOrder | None = json.loads(line)
        if order:
            clock = LoadClock(Path(order["clock"]))
            Leader(caller, followers, clock, freezer(order["servers"])).run()
        else:
            _say({"ended": True})


def _follow(caller: Caller, leader: socket.socket) -> None:
    """Make a pulse whenever the leader does, until the leader or the parent is gone."""
    while _STDIN not in select.select([_STDIN, leader.fileno()], [], [])[0]:
        (length_s,) = _LENGTH.unpack(_received(leader, _LENGTH.size))
        leader.sendall(caller.pulse(length_s).packed())


def _received(peer: socket.socket, size: int) -> bytes:
    """Return ``size`` bytes from ``peer``; end this process if the peer has ended."""
    data = b""
    while len(data) < size:
        part = peer.recv(size - len(data))
        if not part:
            raise SystemExit(1)
        data += part
    return data


def _line() -> bytes:
    """Return the next line of standard input, empty at its end; further input stays unread."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(_STDIN, 1)
        if not part:
            return b""
        line += part
    return line


def _pin(cores: Sequence[int]) -> None:
    """Pin every thread of this process, TensorFlow's too, to ``cores``."""
    if cores and hasattr(os, "sched_setaffinity"):
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


def _say(message: ReadyMessage | RunMessage) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
