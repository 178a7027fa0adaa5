"""CPU of a request in the load generator, and requests a second of a core, beside Locust's users and wrk.

All send the same small predict request over 16 keep-alive connections without think time, pinned to one core,
to one nginx worker pinned to another that answers 200 with the same JSON. nginx counts the requests, so that
one yardstick measures all. Ours checks every answer's values, Locust's users check the status, wrk counts bad
statuses. Rounds are interleaved; ratios are medians of the rounds' ratios.

Over gRPC the request is the same as protocol buffers, to the same nginx, which answers with the message and
status 0. Beside ours stands a plain Locust user with a stub of gRPC's official library made ready for gevent
by ``init_gevent``, its request built once, too.

CPU microseconds a request stay about the same when neighbours take turns on the cores; requests a second do
not. nginx's own are beside them as a yardstick. Ours also sends 2000 requests a second in an open loop, and
runs with two processes, whose capacity follows from the CPU of all processes, Locust's master included.

The run says so when the generators waited for their core for too long to judge requests a second.

Then an open loop, and a trace that is replayed, at half and at 80 % of the rate that would take the whole
core: how late requests are sent.

Targets: at most 11.5 us of CPU a request in the closed loop; at most 8 % of a core for 2000 requests a
second in the open loop; two processes at least 1.8 x one; at least 6 x FastHttpUser and at least 0.5 x wrk;
over gRPC at least 3 x the plain user. The p99 of the send delay is at most 0.5 ms at half of the capacity,
and 2 ms at 80 %.

With ``--set``, nothing of this: a payload set of 10 000 bodies of 1 to 100 KB beside one body of their mean
size. The memory that the load process does not share with others is read when the steady part begins and when
it ends. Targets: the set at least 0.9 x the one body, and at most 8 MB more memory at the end.
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
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import _common as common
import _payload_sets as payload_sets
import psutil
from _schedule import LateSends

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.kinds import Kinds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.load.generator.generator import LoadPlan
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.protocols.prepared_requests import PreparedRequests

USERS = 16
OURS, FAST, HTTP, WRK = "pytest-tfserving", "Locust FastHttpUser", "Locust HttpUser", "wrk -t1"
OURS_OPEN, OURS_TWO = "pytest-tfserving, open loop", "pytest-tfserving, two processes"
OURS_SET, OURS_ONE = "pytest-tfserving, a set", "pytest-tfserving, one of them"
OURS_GRPC, PLAIN_GRPC = "pytest-tfserving, gRPC", "Locust with gRPC's stub"
OPEN_RATE = 2000
# Of the time for which a generator wanted its core.
_MOST_WAITING = 0.1
_US = 1e6
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
        self.generator_us: dict[str, list[float]] = {}
        self.nginx_us: dict[str, list[float]] = {}
        self.waiting: dict[str, list[float]] = {}
        self.growth_mb: dict[str, list[float]] = {}

    def ours(self) -> float:
        """Run the real load path: the Locust child with the plugin's user, driven by `run`."""
        plan = common.plan(USERS, WARM_S + self._length_s + 2)
        return self._ours(OURS, plan, common.deployment(self._nginx.port, self._core))

    def ours_open(self) -> float:
        """Run the real load path in an open loop."""
        closed = common.plan(1, WARM_S + self._length_s + 2)
        profile = LoadProfile("benchmark", rate=OPEN_RATE, run_time_s=closed.profile.run_time_s)
        plan = replace(closed, profile=profile)
        return self._ours(OURS_OPEN, plan, common.deployment(self._nginx.port, self._core))

    def ours_of_two(self) -> float:
        """Run the real load path with two processes, here on one core, and as many users for each."""
        plan = common.plan(2 * USERS, WARM_S + self._length_s + 2)
        return self._ours(OURS_TWO, plan, common.deployment(self._nginx.port, self._core), processes=2)

    def ours_over_grpc(self) -> float:
        """Run the real load path over gRPC."""
        plan = common.grpc_plan(USERS, WARM_S + self._length_s + 2)
        return self._ours(OURS_GRPC, plan, common.deployment(self._nginx.grpc_port, self._core, "grpc"))

    def ours_with(self, name: str, requests: PreparedRequests) -> float:
        """Run the real load path with these requests."""
        plan = common.plan(USERS, WARM_S + self._length_s + 2)
        kinds = Kinds.named([""] * len(requests))
        plan = replace(plan, requests=requests, expected={}, kinds=kinds)
        return self._ours(name, plan, common.deployment(self._nginx.port, self._core))

    def _ours(self, name: str, plan: LoadPlan, deployment: Deployment, processes: int = 1) -> float:
        results: list[Result] = []

        def load() -> None:
            folder = self._folder / "load"
            results.append(common.measured(plan, deployment, folder, lambda _: None, processes))

        thread = threading.Thread(target=load)
        before = self._nginx.requests()
        thread.start()
        wanted = processes + (processes > 1)  # with several, Locust's master is one more
        while len(pids := [each.pid for each in common.load_children()]) < wanted and thread.is_alive():
            time.sleep(0.02)
        rate: float = self._rate(name, pids, before)
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
            rate = self._rate(name, [process.pid], before)
            process.send_signal(stop)
            output, _ = process.communicate(timeout=20)
        return rate, output

    def _rate(self, name: str, pids: list[int], before: int) -> float:
        """Return requests a second of the steady part, by nginx's count, and the CPU of both sides in it."""
        nginx = self._nginx
        deadline = time.monotonic() + _START_S
        while nginx.requests() - before < _FIRST_REQUESTS:
            if time.monotonic() > deadline:
                sys.exit(f"{name} did not send {_FIRST_REQUESTS} requests within {_START_S:g} s")
            time.sleep(0.1)
        time.sleep(WARM_S)
        start, (cpu_s, nginx_s, wait_s) = time.perf_counter(), self._used(pids)
        count, memory_mb = nginx.requests(), sum(map(_own_mb, pids))
        time.sleep(self._length_s)
        count = nginx.requests() - count
        length_s, used = time.perf_counter() - start, self._used(pids)
        self.growth_mb.setdefault(name, []).append(sum(map(_own_mb, pids)) - memory_mb)
        cpu_s, nginx_s, wait_s = used[0] - cpu_s, used[1] - nginx_s, used[2] - wait_s
        self.generator_cpu.setdefault(name, []).append(cpu_s / length_s)
        self.nginx_cpu.setdefault(name, []).append(nginx_s / length_s)
        self.generator_us.setdefault(name, []).append(cpu_s / count * _US)
        self.nginx_us.setdefault(name, []).append(nginx_s / count * _US)
        self.waiting.setdefault(name, []).append(wait_s / (cpu_s + wait_s))
        return count / length_s

    def _used(self, pids: list[int]) -> tuple[float, float, float]:
        """Return the CPU of the generator and of nginx, and how long the generator waited for a core."""
        return sum(map(common.cpu_s, pids)), self._nginx.cpu_s(), sum(map(common.waited_s, pids))


def _own_mb(pid: int) -> float:
    """MB of memory that a process does not share with others."""
    memory = psutil.Process(pid).memory_info()
    return float(memory.rss - memory.shared) / 1e6


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


def measure_set(
    args: argparse.Namespace, server_core: int, core: int, rounds: int, length_s: float
) -> NoReturn:
    """Measure a payload set beside one body, and end the program."""
    with common.scratch() as folder, common.Nginx(folder, server_core) as nginx:
        bench = Bench(nginx, core, folder, length_s)
        bodies = payload_sets.many_bodies(folder / "bodies")
        one = payload_sets.one_body(bodies)
        takers: dict[str, Callable[[], float]] = {
            OURS_SET: lambda: bench.ours_with(OURS_SET, bodies),
            OURS_ONE: lambda: bench.ours_with(OURS_ONE, one),
        }
        taken = common.interleaved(takers, rounds)
    cpu_us = {name: statistics.median(bench.generator_us[name]) for name in taken}
    growth_mb = max(bench.growth_mb[OURS_SET])
    common.table(
        ["requests", "requests/s", "us of CPU a request"],
        [[name, statistics.median(rates), cpu_us[name]] for name, rates in taken.items()],
    )
    common.finish(
        args,
        {"rounds": taken, "cpu_us": cpu_us, "growth_mb": bench.growth_mb},
        [
            common.Target("a set / one body", common.ratio(taken, OURS_SET, OURS_ONE), 0.9, at_least=True),
            common.Target("growth of the memory with a set, MB", growth_mb, 8),
        ],
    )


def main() -> None:
    args = common.arguments(__doc__, {"set": "measure only a payload set, beside one body"})
    server_core, core = common.two_cores()
    rounds, length_s = (2, 1.5) if args.quick else (5, 4.0)
    if args.set:
        measure_set(args, server_core, core, rounds, length_s)
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
            OURS_OPEN: bench.ours_open,
            OURS_TWO: bench.ours_of_two,
            OURS_GRPC: bench.ours_over_grpc,
            PLAIN_GRPC: lambda: bench.locust(PLAIN_GRPC, "grpc_user.py"),
        }
        taken = common.interleaved(takers, rounds)
        late = LateSends(common.deployment(nginx.port, core), folder, 4.0 if args.quick else 20.0)
        late_targets = list(late.measure())
        print()
    report(args, bench, taken, late.figures, late_targets)


def report(
    args: argparse.Namespace,
    bench: Bench,
    taken: dict[str, list[float]],
    late: list[dict[str, Any]],
    late_targets: list[common.Target],
) -> None:
    """Print the figures, and judge those that the machine allows to judge."""
    medians = {name: statistics.median(rates) for name, rates in taken.items()}
    against = {name: common.ratio(taken, name, FAST) for name in taken}
    cpu = {
        name: [
            statistics.median(bench.generator_cpu[name]) * 100,
            statistics.median(bench.nginx_cpu[name]) * 100,
        ]
        for name in taken
    }
    us = {name: statistics.median(found) for name, found in bench.generator_us.items()}
    nginx_us = {name: statistics.median(found) for name, found in bench.nginx_us.items()}
    common.table(
        [
            "load generator",
            "us a request",
            "nginx's us",
            "requests/s",
            "x FastHttpUser",
            "its core %",
            "nginx's core %",
        ],
        [
            [name, us[name], nginx_us[name], medians[name], against[name], *cpu[name]]
            for name in sorted(taken, key=lambda n: us[n])
        ],
    )
    waiting = statistics.median(bench.waiting[OURS])
    figures = {"users": USERS, "rounds": taken, "median_rps": medians, "cpu_percent": cpu, "us_a_request": us}
    figures |= {"nginx_us_a_request": nginx_us, "waiting": waiting, "late": late}
    by_cpu = [
        common.Target("closed loop, us of CPU a request", us[OURS], 11.5),
        common.Target(f"open loop at {OPEN_RATE}/s, % of a core", cpu[OURS_OPEN][0], 8),
        common.Target("two processes / one", 2 * us[OURS] / us[OURS_TWO], 1.8, at_least=True),
    ]
    if waiting > _MOST_WAITING:
        print(
            "\nThe machine was too busy to judge requests a second and lateness: ours waited for its core "
            f"{waiting:.0%} of the time. CPU times are judged; take them with nginx's beside them."
        )
        common.finish(args, figures, by_cpu)
    common.finish(
        args,
        figures,
        [
            *by_cpu,
            common.Target("ours / FastHttpUser", against[OURS], 6, at_least=True),
            common.Target("ours / wrk", common.ratio(taken, OURS, WRK), 0.5, at_least=True),
            common.Target(
                "over gRPC: ours / the plain user",
                common.ratio(taken, OURS_GRPC, PLAIN_GRPC),
                3,
                at_least=True,
            ),
            *late_targets,
        ],
    )


if __name__ == "__main__":
    main()
