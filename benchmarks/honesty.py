"""How surely a load generator that lacks CPU spoils no verdict, and how seldom it keeps one from being given.

A server runs on one core, the load generator on another.

- Starved: four loops that never end share the generator's core, and the server answers at once. Limits lie
  between what an idle generator measures and what a starved one does, so that the starving decides what is
  seen: every such verdict must be INVALID.
- Disturbed: a loop that is busy now and then makes the generator wait for some per cent of the time, and the
  server takes 20 ms. Limits are twice and half of what an idle generator measures: every verdict must be
  given, and be the one that an idle generator gives.

Needs Linux with two cores, and the Debian package nginx.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import _common as common

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.slo.language import Slo, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_tfserving.load.generator.generator import LoadPlan
    from pytest_tfserving.load.result import Result

USERS = 4
RUN_TIME_S = 4.0
THINK_TIME_S = 0.002
SLOW_S = 0.02
RATE = 150
STARVING = 4
# Busy for so long, then a pause, which is chosen so that the generator waits for long enough.
BUSY_S = 0.02
PAUSES_S = (0.16, 0.08, 0.04, 0.02, 0.01)
LEAST_WAIT = 0.03

Verdicts = Counter[str]


class Bench:
    """One server and the cores."""

    def __init__(self, folder: Path, port: int, core: int) -> None:
        self.folder, self.port, self.core = folder, port, core

    def run(self, plan: LoadPlan, hogs: int = 0, pause_s: float = 0.0) -> Result:
        """Measure the server once; hogs come when load has begun."""
        at = common.deployment(self.port, self.core)
        with contextlib.ExitStack() as stack:
            begun: list[None] = []

            def begin(_: object) -> None:
                if not begun:
                    begun.append(stack.enter_context(busy(self.core, hogs, pause_s)))

            result = common.measured(plan, at, self.folder / "load", begin)
        if result.incomplete:
            sys.exit(f"the run told nothing: {result.incomplete}")
        if result.aborted or result.total_errors:
            sys.exit(f"the run failed: {result.aborted or dict(result.errors)}")
        return result


def closed(think_time_s: float) -> LoadPlan:
    return common.plan(USERS, RUN_TIME_S, think_time_s)


def opened() -> LoadPlan:
    return replace(closed(0.0), profile=LoadProfile("benchmark", rate=RATE, run_time_s=RUN_TIME_S))


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    rounds = 3 if args.quick else 20
    with common.scratch() as folder, common.Nginx(folder, server_core) as nginx:
        come_first(nginx.workers())
        starved = starve(Bench(folder, nginx.port, core), rounds)
    with common.scratch() as folder, slow_server(server_core) as port:
        disturbed, waits = disturb(Bench(folder, port, core), rounds)
    common.note("")
    rows = [
        [name, str(wanted), *(found[str(each)] for each in (Verdict.PASS, Verdict.FAIL, Verdict.INVALID))]
        for found_all, wanteds in ((starved, INVALID), (disturbed, GIVEN))
        for name, wanted in wanteds.items()
        for found in (found_all[name],)
    ]
    common.table(["verdicts", "wanted", "PASS", "FAIL", "INVALID"], rows)
    common.finish(
        args,
        {
            "starved": {name: dict(found) for name, found in starved.items()},
            "disturbed": {name: dict(found) for name, found in disturbed.items()},
            "waits": waits,
        },
        [
            common.Target("verdicts of starved runs that were not INVALID", 1 - right(starved, INVALID), 0),
            common.Target(
                "verdicts of disturbed runs that were given, and right",
                right(disturbed, GIVEN),
                1,
                at_least=True,
            ),
            common.Target(
                "median share of disturbed runs' time waited", statistics.median(waits), 0.02, at_least=True
            ),
        ],
    )


INVALID = {
    "starved, a p95 that only a starved generator misses": Verdict.INVALID,
    "starved, a rate that only a starved generator misses": Verdict.INVALID,
}
GIVEN = {
    f"disturbed, {loop} loop, {limit}": wanted
    for loop in ("closed", "open")
    for limit, wanted in (
        ("p95 half of its limit", Verdict.PASS),
        ("p95 twice its limit", Verdict.FAIL),
        ("rate twice its limit", Verdict.PASS),
        ("rate half of its limit", Verdict.FAIL),
    )
}


def right(found: dict[str, Verdicts], wanted: dict[str, Verdict]) -> float:
    """Return which share of the verdicts is as wanted."""
    count = sum(sum(each.values()) for each in found.values())
    return sum(found[name][str(verdict)] for name, verdict in wanted.items()) / count


def starve(bench: Bench, rounds: int) -> dict[str, Verdicts]:
    """Judge starved runs by limits between what they measure and what idle ones do."""
    plan = closed(THINK_TIME_S)
    idle = [bench.run(plan) for _ in range(3)]
    p95_ms = min(each.p95_ms for each in idle)
    rps = max(each.rps for each in idle)
    found: dict[str, Verdicts] = {name: Counter() for name in INVALID}
    latency, rate = found.values()
    for number in range(rounds):
        result = bench.run(plan, STARVING)
        latency[judged(f"p95<{(p95_ms * result.p95_ms) ** 0.5}ms", result)] += 1
        rate[judged(f"rps>{(rps * result.rps) ** 0.5}", result)] += 1
        common.note(f"starved {number + 1}/{rounds}")
    return found


def disturb(bench: Bench, rounds: int) -> tuple[dict[str, Verdicts], list[float]]:
    """Judge disturbed runs by limits twice and half of what idle ones measure; return their waits, too."""
    found: dict[str, Verdicts] = {name: Counter() for name in GIVEN}
    waits = []
    for loop, plan in (("closed", closed(0.0)), ("open", opened())):
        idle = bench.run(plan)
        pause_s = pause_for(bench, plan)
        for number in range(rounds):
            result = bench.run(plan, 1, pause_s)
            waits.append(result.generator.wait)
            texts = (
                f"p95<{2 * idle.p95_ms}ms",
                f"p95<{idle.p95_ms / 2}ms",
                f"rps>{idle.rps / 2}",
                f"rps>{2 * idle.rps}",
            )
            names = [name for name in GIVEN if f" {loop} " in name]
            for name, text in zip(names, texts, strict=True):
                found[name][judged(text, result)] += 1
            common.note(f"disturbed, {loop} loop {number + 1}/{rounds}")
    return found, waits


def pause_for(bench: Bench, plan: LoadPlan) -> float:
    """Return the first pause between two busy times with which the generator waits long enough."""
    for pause_s in PAUSES_S:
        if bench.run(plan, 1, pause_s).generator.wait >= LEAST_WAIT:
            break
    return pause_s


def judged(text: str, result: Result) -> str:
    return str(Slo.parse(text).judge(result).verdict)


@contextlib.contextmanager
def busy(core: int, count: int, pause_s: float) -> Iterator[None]:
    """Run processes that want all of a core, or with a pause some of it, and then before any other.

    Each has a session of its own, so that Linux gives it as much as it gives the load generator.
    """
    code = f"""
import os, time
if {pause_s} and os.geteuid() == 0:
    os.nice(-15)
while True:
    until = time.perf_counter() + {BUSY_S}
    while time.perf_counter() < until:
        pass
    if {pause_s}:
        time.sleep({pause_s})
"""
    with contextlib.ExitStack() as stack:
        with common.pinned(core):
            processes = [
                subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
                for _ in range(count)
            ]
        for process in processes:
            stack.enter_context(common.ending(process))
        yield


@contextlib.contextmanager
def slow_server(core: int) -> Iterator[int]:
    """Run a server that takes `SLOW_S` for every request; yield its port."""
    port = common.free_port()
    with common.pinned(core):
        command = [sys.executable, str(common.HERE / "_slow.py"), str(port), str(SLOW_S)]
        process = subprocess.Popen(command)
    with common.ending(process):
        common.wait_for_port(port, process)
        come_first([process.pid])
        yield port


def come_first(pids: list[int]) -> None:
    """Have a server run before all others of its core, where that is allowed: it must not be slow."""
    with contextlib.suppress(PermissionError):
        for pid in pids:
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


if __name__ == "__main__":
    main()
