"""Runs of real load on this machine: the load generator's own figures, and wrong verdicts of the gate."""

from __future__ import annotations

import importlib.util
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.errors import DeploymentError, LoadError
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator.generator import LoadGenerator, LoadPlan
from pytest_tfserving.load.generator.run import run
from pytest_tfserving.protocols.answer import ExpectedAnswer
from pytest_tfserving.protocols.client import wait_until_available
from pytest_tfserving.protocols.prepared_requests import PreparedRequests
from pytest_tfserving.slo.language import Slo, Verdict
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA, SloMonitor
from pytest_tfserving.system.ports import free_ports
from pytest_tfserving.system.processes import CAN_PIN, ChildProcess, available_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.calibration.content import Floor, Gate, GateRun
    from pytest_tfserving.load.result import Result

_HOST = "127.0.0.1"
_MODEL = "half_plus_two"
_PATH = f"/v1/models/{_MODEL}"
_BODY = b'{"instances": [1.0, 2.0, 5.0]}'
_EXPECTED = ExpectedAnswer("predictions", [3], [2.5, 3.0, 4.5])
_STAND_IN = Path(__file__).with_name("stand_in.py")
_START_S = 120.0
_STALL_S = 10.0
_LOOK_S = 0.02
# Enough to keep a load process busy.
_USERS = 16
_GATE_USERS = 2


@dataclass(frozen=True, slots=True)
class Server:
    """A server that responds to requests, with its name in messages and its port."""

    name: str
    port: int


def has_embedded_server() -> bool:
    """Return whether TensorFlow and the other packages of the embedded server are installed."""
    return all(importlib.util.find_spec(name) for name in ("tensorflow", "grpc", "google.protobuf"))


@contextmanager
def stand_in(folder: Path) -> Iterator[Server]:
    """Run the stand-in server, which does nothing, on the core of servers.

    Raises:
        DeploymentError: if the server does not start.
    """
    child = ChildProcess([sys.executable, "-P", str(_STAND_IN)], folder / "stand_in.log", _server_cores())
    with ExitStack() as stack:
        stack.callback(child.stop)
        deadline = time.monotonic() + _START_S
        while not (said := child.last_lines(1)).isdecimal():
            if child.exit() or time.monotonic() > deadline:
                raise DeploymentError(f"the stand-in server did not start: {said or 'no output'}")
            time.sleep(_LOOK_S)
        yield Server("a stand-in server", int(said))


@contextmanager
def embedded(folder: Path, progress: Callable[[str], None]) -> Iterator[Server]:
    """Run the embedded server with half_plus_two, on the core of servers.

    Raises:
        DeploymentError: if the server does not start.
    """
    from pytest_tfserving.models.store import exported

    base_path = exported(_MODEL, progress)
    grpc_port, port = free_ports(2)
    command = [sys.executable, "-m", "pytest_tfserving.model_server", f"--port={grpc_port}"]
    command += [f"--rest_api_port={port}", f"--model_name={_MODEL}", f"--model_base_path={base_path}"]
    child = ChildProcess(command, folder / "embedded.log", _server_cores())

    def failure() -> str:
        ended = child.exit()
        return f"the embedded server {ended} ({child.last_lines(1)})" if ended else ""

    with ExitStack() as stack:
        stack.callback(child.stop)
        wait_until_available(
            Endpoint(_HOST, port), _PATH, timeout_s=_START_S, failure=failure, advice="see its log"
        )
        yield Server("the embedded server", port)


class LoadPath:
    """Load on a server.

    Args:
        server: the server.
        folder: the folder for records and logs.
        progress: called often while load runs.
    """

    def __init__(self, server: Server, folder: Path, progress: Callable[[], None]) -> None:
        self._server = server
        self._folder = folder
        self._progress = progress

    def floor(self, length_s: float) -> Floor:
        """Measure the load generator, first with one user, then with many, for ``length_s`` seconds each.

        Raises:
            LoadError: if the server cannot be loaded.
        """
        single = self._loaded(1, length_s)
        many = self._loaded(_USERS, length_s)
        return {
            "p50_ms": single.p50_ms,
            "p95_ms": single.p95_ms,
            "lag_p95_ms": single.generator.lag_p95_ms,
            "rps": many.rps,
        }

    def gate(self, known: int, runs: int, run_time_s: float, noise_memory_s: float) -> Gate:
        """Take limits from ``known`` runs, and judge ``runs`` more by these limits.

        Args:
            known: the number of runs that the limits come from, as the p95 and the rate of all of them.
            runs: the number of runs to judge.
            run_time_s: the length of each run in seconds.
            noise_memory_s: the assumed longest memory of the machine's speed, in seconds.

        Raises:
            LoadError: if the server cannot be loaded.
        """
        p95_ms, rps = _pooled([self._loaded(_GATE_USERS, run_time_s) for _ in range(known)])
        slos = [Slo.parse(f"p95<={p95_ms!r}ms"), Slo.parse(f"rps>={rps!r}")]
        rows: list[GateRun] = []
        verdicts: list[Verdict] = []
        for _ in range(runs):
            monitor = SloMonitor(slos, DEFAULT_ALPHA, has_baseline=False, noise_memory_s=noise_memory_s)
            result = self._loaded(_GATE_USERS, run_time_s, monitor)
            judged = {each.slo.text: each.verdict for each in result.judge(slos)}
            rows.append({"p95_ms": result.p95_ms, "rps": result.rps, "verdicts": judged})
            verdicts += judged.values()
        return {
            "server": self._server.name,
            "run_time_s": run_time_s,
            "p95_limit_ms": p95_ms,
            "rps_limit": rps,
            "runs": rows,
            "passed": verdicts.count(Verdict.PASS),
            "failed": verdicts.count(Verdict.FAIL),
            "inconclusive": verdicts.count(Verdict.INCONCLUSIVE),
            "invalid": verdicts.count(Verdict.INVALID),
        }

    def _loaded(self, users: int, run_time_s: float, monitor: SloMonitor | None = None) -> Result:
        profile = LoadProfile(
            "calibrate", users=users, spawn_rate=users, run_time_s=run_time_s, max_cpu_wait=1
        )
        plan = LoadPlan(
            profile=profile,
            requests=PreparedRequests.of(_BODY),
            paths=(f"{_PATH}:predict",),
            expected={0: _EXPECTED},
            stall_s=_STALL_S,
        )
        with LoadGenerator(self._folder) as child:
            child.wait_until_ready()
            deployment = _deployment(self._server, profile)
            result, interrupted = run(child, plan, deployment, lambda _: self._progress(), monitor)
        if interrupted:
            raise KeyboardInterrupt
        if result.aborted or not result.successes:
            cause = result.aborted or result.invalid or ", ".join(result.errors) or "no response came"
            raise LoadError(f"{self._server.name} could not be loaded: {cause}")
        return result


def _pooled(results: list[Result]) -> tuple[float, float]:
    """Return the p95 in ms and the requests a second of several runs together, rounded as in an SLO."""
    p95_ms = np.quantile(np.concatenate([each.latencies_ms for each in results]), 0.95)
    rps = sum(each.successes for each in results) / sum(each.window.length_s for each in results)
    return float(f"{p95_ms:.4g}"), float(f"{rps:.4g}")


def _server_cores() -> list[int]:
    return available_cores()[-1:] if CAN_PIN else []


def _deployment(server: Server, profile: LoadProfile) -> Deployment:
    experiment = Experiment("calibrate", Shape(1, 1, 1), ServingOptions(1, 1), _MODEL, "json", profile)
    return Deployment(
        experiment=experiment,
        label=experiment.name,
        paths={_MODEL: _PATH},
        addresses={"rest": (Endpoint(_HOST, server.port),)},
        via="loopback",
        generator_cores=frozenset(available_cores()[:1]) if CAN_PIN else frozenset(),
    )
