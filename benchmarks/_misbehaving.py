"""Load generators that misbehave, each in its way, at a moment that a seed chooses."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import _common as common

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.load.generator.run import run
from pytest_tfserving.load.result import verdict_of
from pytest_tfserving.slo.language import Verdict, parse_slos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.deployment.load_messages import MergedTick
    from pytest_tfserving.load.result import Result

SERVER = Path(__file__).parents[1] / "tests" / "servers" / "fake_server.py"
# Far from what the server does: a run of a good generator passes.
SLOS = parse_slos(["rps>=1", "p95<10s", "errors<1%"])
STOPPED_S = 3.0
_RUN_TIME_S = 6.0
_FIRST_S, _LAST_S = 1.0, 4.5
# A starved process runs for some of the time.
_STARVED_S, _FED_S = 0.2, 0.02

CLIENT = """
import os, time
from locust import FastHttpUser, LoadTestShape, constant, task
from locust.exception import StopUser

class Client(FastHttpUser):
    wait_time = constant(0.02)

    def on_start(self):
        self.began = time.monotonic()

    @task
    def predict(self):
        if time.monotonic() - self.began > {at}:
            {then}
        self.client.post("/v1/models/half_plus_two:predict", json={{"instances": [1.0, 2.0, 5.0]}})
"""
SHAPE = """
class Shape(LoadTestShape):
    def tick(self):
        return (2, 10) if self.get_run_time() < {at} else {then}
"""
BUSY = "began = time.perf_counter()\n            while time.perf_counter() < began + 1.3: pass"


@dataclass(frozen=True)
class Kind:
    """One way to misbehave: the generator's own users do it, or something is done to its processes.

    ``begin`` is called before load begins, ``act`` at the moment.
    """

    locustfile: str = ""
    act: Callable[[LoadGenerator], None] | None = None
    begin: Callable[[LoadGenerator], None] | None = None
    processes: int = 1
    profile: LoadProfile = field(
        default_factory=lambda: LoadProfile("p", users=2, run_time_s=_RUN_TIME_S, think_time_s=0.01)
    )
    from_the_start: bool = False


def _kill(index: int) -> Callable[[LoadGenerator], None]:
    """Kill one process; the master is the one after the last worker."""
    return lambda child: os.kill(child.pids[index], signal.SIGKILL)


def _stop(index: int) -> Callable[[LoadGenerator], None]:
    """Stop one process for a while."""

    def act(child: LoadGenerator) -> None:
        pid = child.pids[index]
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(STOPPED_S, _go_on, [pid]).start()

    return act


def _stop_for_good(index: int) -> Callable[[LoadGenerator], None]:
    """Stop one process until it is killed at the end of the run."""
    return lambda child: os.kill(child.pids[index], signal.SIGSTOP)


def _go_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _starve(child: LoadGenerator) -> None:
    """Let the process run only now and then."""

    def starve(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(_STARVED_S)
                os.kill(pid, signal.SIGCONT)
                time.sleep(_FED_S)

    threading.Thread(target=starve, args=child.pids[:1], daemon=True).start()


_STEPS = LoadProfile("p", shape="steps 1:8:x2", run_time_s=8, think_time_s=0.01)
_SHORT = LoadProfile("p", users=2, run_time_s=3.5, think_time_s=0.01)
_OPEN = LoadProfile("p", rate=50, run_time_s=_RUN_TIME_S)
KINDS = {
    "the master is killed in steps": Kind(act=_kill(2), processes=2, profile=_STEPS),
    "a load process is killed": Kind(act=_kill(1), processes=2),
    "a load process is killed, open loop": Kind(act=_kill(0), processes=2, profile=_OPEN),
    "the only load process is killed": Kind(act=_kill(0)),
    "a load process is stopped for 3 s": Kind(act=_stop(1), processes=2),
    "the only load process is stopped for 3 s": Kind(act=_stop(0)),
    "the only load process is stopped for 3 s, open loop": Kind(act=_stop(0), profile=_OPEN),
    "the master is stopped for 3 s": Kind(act=_stop(2), processes=2),
    "the master is stopped for 3 s, open loop": Kind(act=_stop(2), processes=2, profile=_OPEN),
    "the master is stopped while a stage begins": Kind(act=_stop(2), processes=2, profile=_STEPS),
    "the master is stopped until the end": Kind(act=_stop_for_good(2), processes=2),
    "the load process is starved": Kind(act=_starve, from_the_start=True, profile=_SHORT),
    "users quit": Kind(CLIENT.replace("{then}", "raise StopUser()")),
    "users quit, two processes": Kind(CLIENT.replace("{then}", "raise StopUser()"), processes=2),
    "a user calls quit": Kind(CLIENT.replace("{then}", "self.environment.runner.quit()")),
    "a user calls stop": Kind(CLIENT.replace("{then}", "self.environment.runner.stop()")),
    "a user ends the process with exit code 0": Kind(CLIENT.replace("{then}", "os._exit(0)")),
    "a user computes": Kind(CLIENT.replace("{then}", BUSY)),
    "a shape ends": Kind(CLIENT.replace("{then}", "pass") + SHAPE.replace("{then}", "None")),
    "a shape ends, two processes": Kind(
        CLIENT.replace("{then}", "pass") + SHAPE.replace("{then}", "None"), processes=2
    ),
    "a shape fails": Kind(CLIENT.replace("{then}", "pass") + SHAPE.replace("{then}", "(1 / 0, 1)")),
}


def moment_s(kind: Kind, seed: int) -> float:
    """When a kind misbehaves in the run of a seed, in seconds of load."""
    share = random.Random(seed).random()
    return 0.5 if kind.from_the_start else _FIRST_S + share * (_LAST_S - _FIRST_S)


def misbehaved(kind: Kind, seed: int, folder: Path, port: int) -> Result:
    """Return the result of a run whose generator misbehaves."""
    at_s = moment_s(kind, seed)
    locustfile = folder / "locustfile.py" if kind.locustfile else None
    if locustfile:
        locustfile.parent.mkdir(parents=True, exist_ok=True)
        locustfile.write_text(kind.locustfile.format(at=at_s), encoding="utf-8")
    has_acted = False

    def progress(tick: MergedTick) -> None:
        nonlocal has_acted
        if kind.act and not has_acted and tick["at_s"] >= at_s:
            has_acted = True
            kind.act(child)

    plan = replace(common.plan(1, 1), profile=kind.profile)
    deployment = replace(common.deployment(port, 0), generator_cores=frozenset())
    with LoadGenerator(folder, kind.processes, locustfile) as child:
        child.wait_until_ready()
        if kind.begin:
            kind.begin(child)
        result, _ = run(child, plan, deployment, progress)
    return result


def verdict(result: Result) -> Verdict:
    """Return the verdict on a run."""
    return verdict_of(result, SLOS)


@contextmanager
def server() -> Iterator[int]:
    """Run a server that answers in a millisecond; yield its port."""
    port = common.free_port()
    process = subprocess.Popen(
        [sys.executable, str(SERVER), f"--rest_api_port={port}"], stderr=subprocess.DEVNULL
    )
    with common.ending(process):
        common.wait_for_port(port, process)
        yield port
