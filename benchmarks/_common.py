"""What the benchmarks share: arguments, tables, JSON, interleaving, pinned cores, and a server to load."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import psutil

import pytest_tfserving
from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator.generator import LoadGenerator, LoadPlan
from pytest_tfserving.load.generator.local_host import WORKER
from pytest_tfserving.load.generator.run import run
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.answer import ExpectedAnswer
from pytest_tfserving.protocols.prepared_requests import PreparedRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_tfserving.deployment.load_messages import MergedTick
    from pytest_tfserving.load.result import Result

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
MODEL_PATH = "/v1/models/half_plus_two"
PREDICT_PATH = f"{MODEL_PATH}:predict"
REQUEST = b'{"instances": [1.0, 2.0, 5.0]}'
ANSWER = b'{"predictions": [2.5, 3.0, 4.5]}'
EXPECTED = ExpectedAnswer("predictions", [3], [2.5, 3.0, 4.5])
_READY_S = 60.0
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Target:
    """One target of a benchmark: ``value`` has to stay at or below, or at or above, ``limit``."""

    text: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        line = f"{self.text}: {self.value:.4g}, target {sign} {self.limit:g}"
        if self.met:
            return f"met     {line}"
        off = f"{100 * abs(self.value / self.limit - 1):.1f} %" if self.limit else f"{abs(self.value):.4g}"
        return f"MISSED  {line}; off by {off}"


def arguments(
    doc: str | None,
    flags: dict[str, str] | None = None,
    choices: dict[str, tuple[Sequence[str], str]] | None = None,
    files: dict[str, str] | None = None,
    **numbers: tuple[int | None, str],
) -> argparse.Namespace:
    """Return the command line that all benchmarks have, ``--quick`` and ``--json FILE``, and some more.

    ``flags`` are other options without a value, each with its help; ``choices`` take some of several values,
    all by default, and are lists; ``numbers`` are others, each with its default and help.
    """
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter run, for trying the benchmark out")
    for option, text in (flags or {}).items():
        parser.add_argument(f"--{option}", action="store_true", help=text)
    for option, (valid, text) in (choices or {}).items():
        parser.add_argument(
            f"--{option}",
            type=partial(_some_of, valid),
            default=list(valid),
            metavar="NAME,...",
            help=f"{text}: {', '.join(valid)} (default: all)",
        )
    for option, text in (files or {}).items():
        parser.add_argument(f"--{option}", type=Path, metavar="FILE", help=text)
    for option, (default, text) in numbers.items():
        parser.add_argument(f"--{option}", type=int, default=default, help=text)
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=HERE / "results" / f"{name}.json",
        help="where the figures go (default: benchmarks/results/NAME.json)",
    )
    return parser.parse_args()


def _some_of(valid: Sequence[str], text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",")]
    if unknown := [name for name in chosen if name not in valid]:
        raise argparse.ArgumentTypeError(f"no {', '.join(map(repr, unknown))}; valid: {', '.join(valid)}")
    return chosen


def finish(args: argparse.Namespace, figures: dict[str, Any], targets: Sequence[Target]) -> NoReturn:
    """Print the targets, write the JSON, and exit 0 when all are met, 1 when one is missed."""
    print()
    for target in targets:
        print(target)
    content = {
        "benchmark": Path(sys.argv[0]).stem,
        "quick": args.quick,
        "machine": machine(),
        "figures": figures,
        "targets": [
            {"text": each.text, "value": each.value, "limit": each.limit, "met": each.met} for each in targets
        ],
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if all(target.met for target in targets) else 1)


def machine() -> dict[str, Any]:
    """Return the conditions of the figures."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cpu": models[0] if models else platform.processor(),
        "cores": cores(),
        "load_average": os.getloadavg(),
        "ram_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "pytest_tfserving": pytest_tfserving.__version__,
    }


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head: the first column to the left, the others to the right."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())
    sys.stdout.flush()


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head as a Markdown table."""
    for row in (head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)):
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def interleaved(takers: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Take every figure once a round, beginning with another one each round, so that drift hits all alike."""
    names = list(takers)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in [*names[shift:], *names[:shift]]:
            taken[name].append(takers[name]())
            note(f"round {number + 1}/{rounds}: {name}")
    note("")
    return taken


def ratio(taken: dict[str, list[float]], of: str, to: str) -> float:
    """Return the median of the rounds' ratios: each compares figures taken within the same minute."""
    return statistics.median(mine / theirs for mine, theirs in zip(taken[of], taken[to], strict=True))


def note(text: str) -> None:
    """Show what goes on, on a terminal only; the next note replaces it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def other_plugins() -> list[str]:
    """Return the names of the environment's other pytest plugins."""
    found = {point.name for point in importlib.metadata.entry_points(group="pytest11")}
    return sorted(found - {"tfserving"})


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def two_cores() -> tuple[int, int]:
    """One core for what serves and one for what loads it, or an end with one line."""
    if len(cores()) < 2:
        sys.exit("this benchmark needs two cores: one for the server, one for the load")
    return cores()[0], cores()[1]


def program(name: str) -> str:
    """Where a program is, or an end with one line that says what to install."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not path:
        sys.exit(f"this benchmark needs {name}, which is not installed: apt-get install {name}")
    return path


@contextlib.contextmanager
def pinned(*to: int) -> Iterator[None]:
    """Pin the calling thread to cores; processes it starts meanwhile inherit that."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bare_load_s(version: Path, core: int) -> float:
    """Seconds of a process that imports TensorFlow and loads a model, on one core."""
    start = time.perf_counter()
    with pinned(core):
        command = [sys.executable, str(HERE / "_bare_load.py"), str(version)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder that is removed at the end of the context."""
    with tempfile.TemporaryDirectory(prefix="tfserving-benchmark-") as folder:
        yield Path(folder)


def free_port() -> int:
    """Return a TCP port on which no process listens."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[Any]) -> None:
    """Wait until something listens on ``port``."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(_LOOK_S)
    sys.exit(f"{process.args!r} did not begin to listen on port {port}")


@contextlib.contextmanager
def ending(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """End ``process`` when the context is left."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; default_type application/json;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port};
        location / {{ return 200 '{answer}'; }}
        location = /counters {{ stub_status; }}
    }}
    server {{
        # gRPC, as far as one answer goes: a message from a file, and its status after it.
        listen {host}:{grpc_port} http2;
        root {folder}; default_type application/grpc; add_trailer grpc-status 0;
        location / {{ error_page 405 =200 /answer.grpc; rewrite ^ /answer.grpc break; }}
        location = /answer.grpc {{ }}
    }}
}}
"""


class Nginx:
    """One nginx worker on one core that answers every request with `ANSWER`, and counts them."""

    def __init__(self, folder: Path, core: int) -> None:
        nginx = program("nginx")
        self.port, self.grpc_port = free_port(), free_port()
        config = folder / "nginx.conf"
        ports = {"port": self.port, "grpc_port": self.grpc_port}
        config.write_text(
            _NGINX.format(folder=folder, host=HOST, answer=ANSWER.decode(), **ports), encoding="utf-8"
        )
        folder.chmod(0o755)  # nginx's worker is another user where this one is root
        answer = grpc_answer()
        (folder / "answer.grpc").write_bytes(b"\0" + len(answer).to_bytes(4, "big") + answer)
        with pinned(core):
            self._process = subprocess.Popen([nginx, "-c", config, "-e", folder / "error.log"])

    def __enter__(self) -> Self:
        wait_for_port(self.port, self._process)
        return self

    def __exit__(self, *_: object) -> None:
        with ending(self._process):
            pass

    def requests(self) -> int:
        """Return the requests answered so far, by nginx's own count."""
        with socket.create_connection((HOST, self.port), timeout=5) as sock:
            sock.sendall(b"GET /counters HTTP/1.0\r\n\r\n")
            with sock.makefile("rb") as answer:
                lines = answer.read().decode().splitlines()
        row = lines.index("server accepts handled requests") + 1
        return int(lines[row].split()[2])

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        return sum(map(cpu_s, self.workers()))

    def workers(self) -> list[int]:
        """Return the ids of the processes that answer."""
        return [process.pid for process in psutil.Process(self._process.pid).children()]


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def waited_s(pid: int) -> float:
    """Seconds that a process has waited for a core (schedstat(7))."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def grpc_request() -> bytes:
    """`REQUEST` as a serialized PredictRequest."""
    request = message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "half_plus_two"
    fill_proto(request.inputs["x"], np.array([1.0, 2.0, 5.0], np.float32), as_content=True)
    return bytes(request.SerializeToString())


def grpc_answer() -> bytes:
    """`ANSWER` as a serialized PredictResponse."""
    answer = message("tensorflow.serving.PredictResponse")()
    answer.model_spec.name = "half_plus_two"
    fill_proto(answer.outputs["y"], np.array([2.5, 3.0, 4.5], np.float32), as_content=False)
    return bytes(answer.SerializeToString())


def deployment(port: int, generator_core: int, protocol: str = "rest") -> Deployment:
    """Return the deployment of a server that runs already, for the load path."""
    profile = LoadProfile("benchmark", users=1, spawn_rate=1, run_time_s=2)
    experiment = Experiment(
        "benchmark", Shape(1, 1, 1), ServingOptions(1, 1), "half_plus_two", "json", profile, protocol
    )
    endpoint = Endpoint(HOST, port, protocol=protocol)
    return Deployment(
        experiment=experiment,
        label=experiment.name,
        paths={"half_plus_two": MODEL_PATH},
        addresses={protocol: (endpoint,)},
        via="loopback",
        generator_cores=frozenset({generator_core}),
    )


def grpc_plan(users: int, run_time_s: float) -> LoadPlan:
    """Return the plan of the same closed loop over gRPC."""
    same = plan(users, run_time_s)
    body = SERVING_PROTOCOLS["grpc"].framed(grpc_request())
    expected = replace(EXPECTED, protocol="grpc")
    return replace(same, requests=PreparedRequests.of(body), expected={0: expected})


def plan(users: int, run_time_s: float, think_time_s: float = 0.0) -> LoadPlan:
    """Return the plan of a closed loop that sends `REQUEST`."""
    profile = LoadProfile(
        "benchmark", users=users, spawn_rate=users, run_time_s=run_time_s, think_time_s=think_time_s
    )
    return LoadPlan(
        profile=profile,
        requests=PreparedRequests.of(REQUEST),
        paths=(PREDICT_PATH,),
        expected={0: EXPECTED},
        stall_s=10.0,
    )


def measured(
    plan: LoadPlan,
    deployment: Deployment,
    folder: Path,
    progress: Callable[[MergedTick], None],
    processes: int = 1,
) -> Result:
    """Run a plan on the real load path and return the result."""
    with LoadGenerator(folder, processes) as child:
        return run(child, plan, deployment, progress)[0]


def load_child() -> psutil.Process | None:
    """Return the Locust child of this process that runs now."""
    return next(iter(load_children()), None)


def load_children() -> list[psutil.Process]:
    """Return the Locust children of this process that run now."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if str(WORKER) in child.cmdline():
                found.append(child)
    return found
