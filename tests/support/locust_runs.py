"""Load by a locustfile alone: a server in this process and real load processes, no pytest in between."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from harness import PATIENCE_S
from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.load.generator.load_watch import LoadWatch
from pytest_tfserving.load.generator.run_state import RunState
from pytest_tfserving.load.kinds import Kinds
from pytest_tfserving.load.recorder import record_blocks
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA, SloMonitor
from server_process import half_plus_two_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DONE = "/done"
# What most locustfiles here begin with.
BEGIN = f"""
import gevent
from locust import FastHttpUser, HttpUser, LoadTestShape, SequentialTaskSet, TaskSet, User
from locust import constant, events, tag, task
from locust.exception import RescheduleTask, ResponseError, StopUser

PATH, DONE, BODY = "/v1/models/half:predict", "{DONE}", {{"instances": [1.0]}}
"""


class Answers(ThreadingHTTPServer):
    """A server that notes the path of each request and answers with the status that ``status`` has for it.

    Status 0 is no answer at all. A request for `DONE` sets ``done``.
    """

    daemon_threads = True

    def __init__(self, status: Callable[[int], int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.paths: list[str] = []
        self.numbers = itertools.count(1)
        self.done = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Clients that go away are no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Answers

    def log_message(self, *_: object) -> None:
        """Say nothing of single requests."""

    def do_POST(self) -> None:
        """Predict."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        if self.path == DONE:
            self.server.done.set()
        status = self.server.status(next(self.server.numbers))
        if not status:
            threading.Event().wait()
        content = {"predictions": [2.5]} if status == 200 else {"error": "overloaded"}
        body = json.dumps(content).encode()
        self.wfile.write(f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


@contextmanager
def answers(status: Callable[[int], int] = lambda _: 200) -> Iterator[Answers]:
    """Serve inside the context."""
    server = Answers(status)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Ran:
    """What came of a run of load: what was said, and the number of requests by cause and by name.

    The cause of a success is empty.
    """

    run_state: RunState
    causes: Counter[str]
    names: Counter[str]


def run_locustfile(
    text: str, folder: Path, server: Answers, *, processes: int = 1, stall_s: float = 20.0, **profile: object
) -> Ran:
    """Put load on ``server`` until a user asks it for `DONE`, or the profile's run time is over."""
    path = folder / "locustfile.py"
    path.write_text(BEGIN + text, encoding="utf-8")
    patient = LoadProfile("p", users=1, run_time_s=PATIENCE_S, max_failure_ratio=1.0)
    plan = replace(half_plus_two_plan(patient.with_overrides(profile)), stall_s=stall_s)
    with LoadGenerator(folder / "load", processes, path) as child:
        child.wait_until_ready()
        child.send(plan, _deployment(server, plan.profile))
        monitor = SloMonitor((), DEFAULT_ALPHA, has_baseline=False)
        watch, kinds = LoadWatch(plan.profile, processes), Kinds.of_locustfile([])
        run_state, is_told = RunState(monitor, watch, own_users=True, kinds=kinds), False
        while (line := child.lines.get(timeout=PATIENCE_S)) is not None:
            run_state.hear(line)
            if server.done.is_set() and not is_told:
                is_told = True
                child.stop("decided")
        child.end()
        while not child.lines.empty():
            if line := child.lines.get():
                run_state.hear(line)
        blocks = list(record_blocks(child.records))
    outcomes = [int(each) for block in blocks for each in block[:, 2]]
    return Ran(
        run_state,
        Counter(run_state.causes[each] if each else "" for each in outcomes),
        Counter(kinds.names[number] for block in blocks for number in kinds.of_records(block)),
    )


def _deployment(server: Answers, profile: LoadProfile) -> Deployment:
    experiment = Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "half", "json", profile)
    endpoint = Endpoint("127.0.0.1", server.server_address[1])
    return Deployment(experiment, "e", {"half": "/v1/models/half"}, {"rest": (endpoint,)}, "")
