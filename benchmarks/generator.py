"""Requests a second that one core of load generator makes, ours beside Locust's own users and wrk.

All send the same small predict request over 16 keep-alive connections without think time, pinned to one core,
to one nginx worker pinned to another that answers 200 with the same JSON. nginx counts the requests, so that
one yardstick measures all. Ours checks every answer's values, Locust's users check the status, wrk counts bad
statuses. Rounds are interleaved; ratios are medians of the rounds' ratios.

Over gRPC the request is the same as protocol buffers, to the same nginx, which answers with the message and
status 0. Beside ours stands a plain Locust user with a stub of gRPC's official library made ready for gevent
by ``init_gevent``, its request built once, too.

Targets: at least 6 x FastHttpUser and at least 0.5 x wrk; over gRPC at least 3 x the plain user.
Needs Linux with two cores, the extra `grpc`, and the Debian packages nginx and wrk.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import _common as common

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.load.generator.generator import LoadPlan
    from pytest_tfserving.load.result import Result

USERS = 16
OURS, FAST, HTTP, WRK = "pytest-tfserving", "Locust FastHttpUser", "Locust HttpUser", "wrk -t1"
OURS_GRPC, PLAIN_GRPC = "pytest-tfserving, gRPC", "Locust with gRPC's stub"
LOCUSTFILES = common.HERE / "locustfiles"
# Every generator has all its connections open, and its first answers, long before.
WARM_S = 1.0
_FIRST_REQUESTS = 200
_START_S = 30.0
_LONGEST_S = 60


class Bench:
    """Nginx on one core, the generators on the other, and what each of them used."""

    def __init__(self, nginx: common.Nginx, core: int, folder: Path, length_s: float) -> None:
        self._nginx = nginx
        self._core = core
        self._folder = folder
        self._length_s = length_s
        self.generator_cpu: dict[str, list[float]] = {}
        self.nginx_cpu: dict[str, list[float]] = {}

    def ours(self) -> float:
        """Run the real load path: the Locust child with the plugin's user, driven by `run`."""
        plan = common.plan(USERS, WARM_S + self._length_s + 2)
        return self._ours(OURS, plan, common.deployment(self._nginx.port, self._core))

    def ours_over_grpc(self) -> float:
        """Run the real load path over gRPC."""
        plan = common.grpc_plan(USERS, WARM_S + self._length_s + 2)
        return self._ours(OURS_GRPC, plan, common.deployment(self._nginx.grpc_port, self._core, "grpc"))

    def _ours(self, name: str, plan: LoadPlan, deployment: Deployment) -> float:
        results: list[Result] = []

        def load() -> None:
            results.append(common.measured(plan, deployment, self._folder / "load", lambda _: None))

        thread = threading.Thread(target=load)
        before = self._nginx.requests()
        thread.start()
        while not (child := common.load_child()) and thread.is_alive():
            time.sleep(0.02)
        assert child
        rate: float = self._rate(name, child.pid, before)
        thread.join()
        result = results[0]
        if result.aborted or result.total_errors or not result.total_requests:
            sys.exit(f"our own requests failed: {result.aborted or dict(result.errors)}")
        return rate

    def locust(self, name: str, file: str) -> float:
        """Plain Locust without its web interface."""
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILES / file), "--headless", "--json"]
        command += ["-u", str(USERS), "-r", str(USERS), "-t", f"{_LONGEST_S}s", "--loglevel", "ERROR"]
        port = self._nginx.grpc_port if name == PLAIN_GRPC else self._nginx.port
        command += ["-H", f"http://{common.HOST}:{port}"]
        rate, output = self._program(name, command, signal.SIGTERM)
        rows = json.loads(output[output.index("[") :])
        if sum(row["num_failures"] for row in rows) or not sum(row["num_requests"] for row in rows):
            sys.exit(f"{name}'s requests failed: {rows}")
        return rate

    def wrk(self) -> float:
        """One thread of wrk."""
        rate, output = self._program(WRK, wrk_command(self._nginx.port, _LONGEST_S), signal.SIGINT)
        if (summary := _summary(output))["failed"]:
            sys.exit(f"wrk's requests failed: {summary}")
        return rate

    def _program(self, name: str, command: list[str], stop: signal.Signals) -> tuple[float, str]:
        before = self._nginx.requests()
        with common.pinned(self._core):
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=self._folder
            )
        with common.ending(process):
            rate = self._rate(name, process.pid, before)
            process.send_signal(stop)
            output, _ = process.communicate(timeout=20)
        return rate, output

    def _rate(self, name: str, pid: int, before: int) -> float:
        """Return requests a second of the steady part, by nginx's count, and the CPU of both sides in it."""
        nginx = self._nginx
        deadline = time.monotonic() + _START_S
        while nginx.requests() - before < _FIRST_REQUESTS:
            if time.monotonic() > deadline:
                sys.exit(f"{name} did not send {_FIRST_REQUESTS} requests within {_START_S:g} s")
            time.sleep(0.1)
        time.sleep(WARM_S)
        start, start_cpu_s = time.perf_counter(), (common.cpu_s(pid), nginx.cpu_s())
        count = nginx.requests()
        time.sleep(self._length_s)
        count = nginx.requests() - count
        length_s = time.perf_counter() - start
        self.generator_cpu.setdefault(name, []).append((common.cpu_s(pid) - start_cpu_s[0]) / length_s)
        self.nginx_cpu.setdefault(name, []).append((nginx.cpu_s() - start_cpu_s[1]) / length_s)
        return count / length_s


def wrk_command(port: int, length_s: int, *arguments: str) -> list[str]:
    url = f"http://{common.HOST}:{port}"
    script = str(LOCUSTFILES / "predict.lua")
    command = [common.program("wrk"), "-t1", f"-c{USERS}", f"-d{length_s}s", "-s", script, url]
    return [*command, "--", *arguments] if arguments else command


def check_wrk(port: int) -> int:
    """Count wrk's answers by status and body, apart from the race because that slows it down."""
    command = wrk_command(port, 1, "statuses")
    summary = _summary(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if not summary["right"] or summary["wrong"] or summary["failed"]:
        sys.exit(f"wrk did not get a 200 with the right response each time: {summary}")
    return int(summary["right"])


def _summary(output: str) -> dict[str, Any]:
    return dict(json.loads(output[output.index("JSON") + 4 :]))


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    rounds, length_s = (2, 1.5) if args.quick else (5, 4.0)
    common.program("wrk")
    with common.scratch() as folder, common.Nginx(folder, server_core) as nginx:
        checked = check_wrk(nginx.port)
        print(f"wrk got 200 and the right response {checked:,} times out of {checked:,}\n")
        bench = Bench(nginx, core, folder, length_s)
        takers: dict[str, Callable[[], float]] = {
            OURS: bench.ours,
            FAST: lambda: bench.locust(FAST, "fast_http_user.py"),
            HTTP: lambda: bench.locust(HTTP, "http_user.py"),
            WRK: bench.wrk,
            OURS_GRPC: bench.ours_over_grpc,
            PLAIN_GRPC: lambda: bench.locust(PLAIN_GRPC, "grpc_user.py"),
        }
        taken = common.interleaved(takers, rounds)
    medians = {name: statistics.median(rates) for name, rates in taken.items()}
    against = {name: common.ratio(taken, name, FAST) for name in taken}
    cpu = {
        name: [
            statistics.median(bench.generator_cpu[name]) * 100,
            statistics.median(bench.nginx_cpu[name]) * 100,
        ]
        for name in taken
    }
    common.table(
        ["load generator", "requests/s", "x FastHttpUser", "its core %", "nginx's core %"],
        [
            [name, medians[name], against[name], *cpu[name]]
            for name in sorted(taken, key=lambda n: -medians[n])
        ],
    )
    figures = {"users": USERS, "rounds": taken, "median_rps": medians, "cpu_percent": cpu}
    common.finish(
        args,
        figures,
        [
            common.Target("ours / FastHttpUser", against[OURS], 6, at_least=True),
            common.Target("ours / wrk", common.ratio(taken, OURS, WRK), 0.5, at_least=True),
            common.Target(
                "over gRPC: ours / the plain user",
                common.ratio(taken, OURS_GRPC, PLAIN_GRPC),
                3,
                at_least=True,
            ),
        ],
    )


if __name__ == "__main__":
    main()
