"""Execution of a load plan: watch the load generator and the deployment until the run is over."""

from __future__ import annotations

import math
import queue
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pytest_tfserving.load.generator.build_result import outcome
from pytest_tfserving.load.generator.health import is_waiting
from pytest_tfserving.load.generator.load_watch import OF_THE_MASTER, LoadWatch
from pytest_tfserving.load.generator.local_host import STOP_S
from pytest_tfserving.load.generator.neighbours import Neighbours
from pytest_tfserving.load.generator.run_state import RunState
from pytest_tfserving.load.recorder import SUCCESS, RecordStream
from pytest_tfserving.protocols.answer import OTHER_THAN_BASELINE
from pytest_tfserving.server_side.cpu import CpuHistory
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA, SloMonitor
from pytest_tfserving.system.processes import available_cores
from pytest_tfserving.system.signals import clear_pending, raise_if_interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.deployment.load_clock import LoadClock
    from pytest_tfserving.deployment.load_messages import MergedMessage, MergedTick
    from pytest_tfserving.deployment.pulses import Pulses
    from pytest_tfserving.load.generator.generator import LoadGenerator, LoadPlan
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.server_side.cpu import CpuCurve


class OtherRun(Protocol):
    """The run of load on a baseline server, in turn with the run of the candidate."""

    def failure(self) -> str:
        """Return why the comparison cannot go on, in a sentence; empty while it can."""

    def finish(self) -> None:
        """End the other run, and wait until all its requests are known."""


def as_text(moment: datetime) -> str:
    """Return a time in the format of results: ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def run(  # noqa: PLR0913, PLR0917 - what a run is made of
    child: LoadGenerator,
    plan: LoadPlan,
    deployment: Deployment,
    progress: Callable[[MergedTick], None],
    monitor: SloMonitor | None = None,
    cpu: CpuHistory | None = None,
    pulses: Pulses | None = None,
    other: OtherRun | None = None,
) -> tuple[Result, bool]:
    """Put load on ``deployment`` and measure it, then end the load generator.

    Args:
        child: the load generator; it was started.
        plan: the plan of the run.
        deployment: the deployment to load.
        progress: called with every tick of the load.
        monitor: finds the steady window and decides SLOs while load runs; load ends when all are decided.
        cpu: the CPU readings of the replicas; another thread adds to it while load runs.
        pulses: the baseline's pulses, on the plan's clock; None without a baseline.
        other: the run on a baseline server; None without one.

    Returns:
        The result, and whether the user interrupted the run. An interrupted run has the figures until then.
    """
    watch = LoadWatch(plan.profile, child.count, child.place.silence_s, own_shape=child.has_own_shape)
    monitor = monitor or SloMonitor((), DEFAULT_ALPHA, has_baseline=False)
    run_state, interrupted = RunState(monitor, watch, child.has_own_users, plan.kinds), False
    stream, cpu = RecordStream(child.records, plan.kinds.known), cpu or CpuHistory()
    began = child.send(plan, deployment)
    origin_s, neighbours = plan.clock.origin_s, _neighbours(child, deployment)
    with pulses or nullcontext():
        try:
            for _ in _watch(child, run_state, deployment, progress, plan.clock, pulses, other):
                if is_waiting(run_state, plan.profile.max_cpu_wait):
                    neighbours.look()
                if _decided(run_state, stream, cpu.curve(origin_s), pulses):
                    child.stop("decided")
        except KeyboardInterrupt:
            interrupted = True
            _give_up(child, run_state)
    _end(child, run_state, other)
    run_state.taken_by = neighbours.named()
    curve = cpu.curve(origin_s)
    _decided(run_state, stream, curve, pulses, last=True)
    run_state.pulses = pulses.rows if pulses else ()
    result = outcome(plan, deployment, run_state, child.records, as_text(began), curve)
    _delete(child.records)
    return result, interrupted


def _end(child: LoadGenerator, run_state: RunState, other: OtherRun | None) -> None:
    """End the load generator, and the other run, whose requests are then all known."""
    if other:
        other.finish()
    child.end()
    _hear_the_rest(child, run_state)


def _give_up(child: LoadGenerator, run_state: RunState) -> None:
    """End the load of a run that the user interrupted."""
    clear_pending()
    run_state.incomplete = "the run was interrupted"
    child.stop()
    _drain(child, run_state)


def _delete(records: Iterable[Path]) -> None:
    """Delete the files of records, which nothing needs any more."""
    for path in records:
        path.unlink(missing_ok=True)


def _hear_the_rest(child: LoadGenerator, run_state: RunState) -> None:
    """Process the lines after the end of the run, as Locust's master writes them."""
    while not child.lines.empty():
        line = child.lines.get()
        if line and line["event"] in ("cause", "kind", "traceback", "fault", *OF_THE_MASTER):
            run_state.hear(line)
    _compare_at_the_end(run_state)


def _compare_at_the_end(run_state: RunState) -> None:
    """Compare the load reached with the load asked for, once a run has taken its time."""
    has_found = run_state.early_end or run_state.aborted or run_state.incomplete or run_state.invalid
    if run_state.end and not has_found:
        run_state.watch.end(run_state.ended_at_s)
        run_state.invalid = run_state.watch.cause


def _neighbours(child: LoadGenerator, deployment: Deployment) -> Neighbours:
    """Return the watcher of other processes on the generator's cores; it watches no other machine."""
    cores = deployment.generator_cores or frozenset(available_cores())
    return Neighbours(cores if child.pids else (), child.pids)


def _watch(  # noqa: PLR0913, PLR0917 - what a run is made of
    child: LoadGenerator,
    run_state: RunState,
    deployment: Deployment,
    progress: Callable[[MergedTick], None],
    clock: LoadClock,
    pulses: Pulses | None,
    other: OtherRun | None,
) -> Iterator[None]:
    """Process the load generator's lines until their end; yield after every tick."""
    for line in _lines(child, child.place.silence_s, clock):
        if line is not None:
            run_state.hear(line)
            if line["event"] == "tick":
                progress(line)
                yield
        if _has_gone_wrong(run_state, deployment, pulses, other):
            child.stop()
            _drain(child, run_state)
            return
    if run_state.end is None:
        run_state.invalid = (
            child.death() or f"the load generator said nothing for {child.place.silence_s:g} s"
        )
    elif run_state.early_end and (failure := deployment.failure_soon()):
        run_state.aborted = f"{failure}, {run_state.ended_at_s:.1f} s into the load"


def _has_gone_wrong(
    run_state: RunState, deployment: Deployment, pulses: Pulses | None, other: OtherRun | None
) -> bool:
    """Return whether something ends the run early, and note the cause in ``run_state``."""
    when = f"{run_state.ended_at_s:.1f} s into the load"
    if failure := deployment.failure():
        run_state.aborted = f"{failure}, {when}"
    elif (pulses and (failure := pulses.failure())) or (other and (failure := other.failure())):
        run_state.incomplete = f"{failure}, {when}"
    elif cause := _other_response(run_state):
        run_state.aborted = f"the candidate gave another response, {when}: {cause}"
    else:
        run_state.invalid = run_state.watch.cause
    return bool(run_state.aborted or run_state.incomplete or run_state.invalid)


def _other_response(run_state: RunState) -> str:
    """Return the cause of the first response that was not the baseline server's; empty without one."""
    return next((text for text in run_state.causes.values() if text.startswith(OTHER_THAN_BASELINE)), "")


def _decided(
    run_state: RunState, stream: RecordStream, cpu: CpuCurve, pulses: Pulses | None, *, last: bool = False
) -> bool:
    """Decide the SLOs that can be decided now; return whether the run may end."""
    if math.isnan(run_state.settled_s):
        return False
    new = stream.new()
    run_state.monitor.settle(run_state.settled_s)
    finished_s, latencies_ms = new[:, 0] + new[:, 1] / 1e3, new[:, 1] + new[:, 3]
    run_state.monitor.add(finished_s, latencies_ms, new[:, 2] != SUCCESS, run_state.kinds.of_records(new))
    run_state.monitor.add_cpu(cpu.at_s, cpu.cpu_s)
    if pulses and (rows := pulses.new()):
        run_state.monitor.add_baseline(*np.array(rows).T)
    run_state.monitor.look(run_state.ended_at_s, last=last)
    return run_state.monitor.is_over()


def _lines(
    child: LoadGenerator, silence_s: float, clock: LoadClock | None = None
) -> Iterator[MergedMessage | None]:
    """Yield the load generator's lines until its end, and None now and then for the caller's own checks.

    The load generator may be silent while its ``clock`` stands. The lines of Locust's master do not
    count: the master writes them even if no load process writes any.
    """
    heard_at = time.monotonic()
    while True:
        raise_if_interrupted()
        try:
            line = child.lines.get(timeout=0.1)
        except queue.Empty:
            if clock and clock.stands:
                heard_at = time.monotonic()
            if time.monotonic() - heard_at > silence_s:
                return
            yield None
            continue
        if line is None:
            return
        if line["event"] not in OF_THE_MASTER:
            heard_at = time.monotonic()
        yield line


def _drain(child: LoadGenerator, run_state: RunState) -> None:
    for line in _lines(child, STOP_S):
        if line is not None:
            run_state.hear(line)
