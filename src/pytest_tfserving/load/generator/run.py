"""Execution of a load plan: watch the load generator and the deployment until the run is over."""

from __future__ import annotations

import math
import queue
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.load.generator.build_result import outcome
from pytest_tfserving.load.generator.health import is_waiting
from pytest_tfserving.load.generator.load_watch import OF_THE_MASTER, LoadWatch
from pytest_tfserving.load.generator.local_host import STOP_S
from pytest_tfserving.load.generator.neighbours import Neighbours
from pytest_tfserving.load.generator.run_state import Story
from pytest_tfserving.load.recorder import SUCCESS, RecordStream
from pytest_tfserving.server_side.cpu import CpuHistory
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA, Decider
from pytest_tfserving.system.processes import available_cores
from pytest_tfserving.system.signals import forget_interruption, raise_if_interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.deployment.pulses import Pulses
    from pytest_tfserving.load.generator.generator import LoadChild, Plan
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.server_side.cpu import CpuCurve


def as_text(moment: datetime) -> str:
    """Return a time in the format of results: ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def run(  # noqa: PLR0913, PLR0917 - what a run is made of
    child: LoadChild,
    plan: Plan,
    deployment: Deployment,
    progress: Callable[[dict[str, Any]], None],
    decider: Decider | None = None,
    cpu: CpuHistory | None = None,
    pulses: Pulses | None = None,
) -> tuple[Result, bool]:
    """Put load on ``deployment`` and measure it, then end the load generator.

    Args:
        child: the load generator; it was started.
        plan: the plan of the run.
        deployment: the deployment to load.
        progress: called with every tick of the load.
        decider: finds the steady window and decides SLOs while load runs; load ends when all are decided.
        cpu: the CPU readings of the replicas; another thread adds to it while load runs.
        pulses: the baseline's pulses, on the plan's clock; None without a baseline.

    Returns:
        The result, and whether the user interrupted the run. An interrupted run has the figures until then.
    """
    watch = LoadWatch(plan.profile, child.count, child.place.silence_s, own_shape=child.has_own_shape)
    decider = decider or Decider((), DEFAULT_ALPHA, has_baseline=False)
    story, interrupted = Story(decider, watch, child.has_own_users), False
    stream, cpu = RecordStream(child.records), cpu or CpuHistory()
    began = child.send(plan, deployment)
    origin_s, neighbours = plan.clock.origin_s, _neighbours(child, deployment)
    with pulses or nullcontext():
        try:
            for _ in _watch(child, story, deployment, progress, pulses):
                if is_waiting(story, plan.profile.max_cpu_wait):
                    neighbours.look()
                if _decided(story, stream, cpu.curve(origin_s), pulses):
                    child.stop("decided")
        except KeyboardInterrupt:
            interrupted = True
            _give_up(child, story)
    child.end()
    _hear_the_rest(child, story)
    story.taken_by = neighbours.named()
    curve = cpu.curve(origin_s)
    _decided(story, stream, curve, pulses, last=True)
    story.pulses = pulses.rows if pulses else ()
    result = outcome(plan, deployment, story, child.records, as_text(began), curve)
    _delete(child.records)
    return result, interrupted


def _give_up(child: LoadChild, story: Story) -> None:
    """End the load of a run that the user interrupted."""
    forget_interruption()
    story.incomplete = "the run was interrupted"
    child.stop()
    _drain(child, story)


def _delete(records: Iterable[Path]) -> None:
    """Delete the files of records, which nothing needs any more."""
    for path in records:
        path.unlink(missing_ok=True)


def _hear_the_rest(child: LoadChild, story: Story) -> None:
    """Process the lines after the end of the run, as Locust's master writes them."""
    while not child.lines.empty():
        line = child.lines.get()
        if line and line["event"] in ("cause", "traceback", "fault", *OF_THE_MASTER):
            story.hear(line)
    _compare_at_the_end(story)


def _compare_at_the_end(story: Story) -> None:
    """Compare the load reached with the load asked for, once a run has taken its time."""
    has_found = story.early_end or story.aborted or story.incomplete or story.invalid
    if story.end and not has_found:
        story.watch.end(story.ended_at_s)
        story.invalid = story.watch.cause


def _neighbours(child: LoadChild, deployment: Deployment) -> Neighbours:
    """Return the watcher of other processes on the generator's cores; it watches no other machine."""
    cores = deployment.generator_cores or frozenset(available_cores())
    return Neighbours(cores if child.pids else (), child.pids)


def _watch(
    child: LoadChild,
    story: Story,
    deployment: Deployment,
    progress: Callable[[dict[str, Any]], None],
    pulses: Pulses | None,
) -> Iterator[None]:
    """Process the load generator's lines until their end; yield after every tick."""
    for line in _lines(child, child.place.silence_s, pulses):
        if line is not None:
            story.hear(line)
            if line["event"] == "tick":
                progress(line)
                yield
        if _has_gone_wrong(story, deployment, pulses):
            child.stop()
            _drain(child, story)
            return
    if story.end is None:
        story.invalid = child.death() or f"the load generator said nothing for {child.place.silence_s:g} s"
    elif story.early_end and (failure := deployment.failure_soon()):
        story.aborted = f"{failure}, {story.ended_at_s:.1f} s into the load"


def _has_gone_wrong(story: Story, deployment: Deployment, pulses: Pulses | None) -> bool:
    """Return whether something ends the run early, and note the cause in ``story``."""
    when = f"{story.ended_at_s:.1f} s into the load"
    if failure := deployment.failure():
        story.aborted = f"{failure}, {when}"
    elif pulses and (failure := pulses.failure()):
        story.incomplete = f"{failure}, {when}"
    else:
        story.invalid = story.watch.cause
    return bool(story.aborted or story.incomplete or story.invalid)


def _decided(
    story: Story, stream: RecordStream, cpu: CpuCurve, pulses: Pulses | None, *, last: bool = False
) -> bool:
    """Decide the SLOs that can be decided now; return whether the run may end."""
    if math.isnan(story.settled_s):
        return False
    new = stream.new()
    story.decider.settle(story.settled_s)
    story.decider.add(new[:, 0] + new[:, 1] / 1e3, new[:, 1] + new[:, 3], new[:, 2] != SUCCESS)
    story.decider.add_cpu(cpu.at_s, cpu.cpu_s)
    if pulses and (rows := pulses.new()):
        story.decider.add_baseline(*np.array(rows).T)
    story.decider.look(story.ended_at_s, last=last)
    return story.decider.is_over()


def _lines(
    child: LoadChild, silence_s: float, pulses: Pulses | None = None
) -> Iterator[dict[str, Any] | None]:
    """Yield the load generator's lines until its end, and None now and then for the caller's own checks.

    The load generator may be silent while the clock of ``pulses`` stands. The lines of Locust's master do not
    count: the master writes them even if no load process writes any.
    """
    heard_at = time.monotonic()
    while True:
        raise_if_interrupted()
        try:
            line = child.lines.get(timeout=0.1)
        except queue.Empty:
            if pulses and pulses.clock.stands:
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


def _drain(child: LoadChild, story: Story) -> None:
    for line in _lines(child, STOP_S):
        if line is not None:
            story.hear(line)
