"""Runs a load plan: watches the Locust child and the deployment until the run is over."""

from __future__ import annotations

import math
import queue
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.deciding import DEFAULT_ALPHA, Decider
from pytest_tfserving.interruption import forget_interruption, raise_if_interrupted
from pytest_tfserving.load.asked import OF_THE_MASTER, LoadWatch
from pytest_tfserving.load.honesty import is_waiting
from pytest_tfserving.load.local import STOP_S
from pytest_tfserving.load.neighbours import Neighbours
from pytest_tfserving.load.outcome import outcome
from pytest_tfserving.load.recorder import SUCCESS, RecordStream
from pytest_tfserving.load.story import Story
from pytest_tfserving.processes import available_cores
from pytest_tfserving.server_side.cpu import CpuHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.bare import Pulses
    from pytest_tfserving.load.child import LoadChild, Plan
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.server_side.cpu import CpuCurve
    from pytest_tfserving.targets.deployment import Deployment


def as_text(moment: datetime) -> str:
    """A time as results carry it: ISO 8601 in UTC."""
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
    """Put load on ``deployment`` with a child that was started, and measure it; the child ends.

    A ``decider`` finds the steady window and decides SLOs meanwhile; when it has decided all, load ends.
    ``cpu`` is what the replicas have used so far; something else adds to it while load runs. ``pulses`` are
    the baseline's, on the plan's clock.

    Returns:
        The result, and whether the user interrupted the run: what was measured until then is kept.
    """
    watch = LoadWatch(plan.profile, child.count, child.place.silence_s, own_shape=child.has_own_shape)
    decider = decider or Decider((), DEFAULT_ALPHA, has_baseline=False)
    story, interrupted = Story(decider, watch, child.has_own_users), False
    stream = RecordStream(child.records)
    cpu = cpu or CpuHistory()
    began = child.send(plan, deployment)
    origin_s = plan.clock.origin_s
    neighbours = _neighbours(child, deployment)
    with pulses or nullcontext():
        try:
            for _ in _watch(child, story, deployment, progress, pulses):
                if is_waiting(story, plan.profile.max_cpu_wait):
                    neighbours.look()
                if _decided(story, stream, cpu.curve(origin_s), pulses):
                    child.stop("decided")
        except KeyboardInterrupt:
            interrupted = True
            forget_interruption()
            story.incomplete = "the run was interrupted"
            child.stop()
            _drain(child, story)
    child.end()
    _hear_the_rest(child, story)
    _compare_at_the_end(story)
    story.taken_by = neighbours.named()
    curve = cpu.curve(origin_s)
    _decided(story, stream, curve, pulses, last=True)
    story.pulses = pulses.rows if pulses else ()
    result = outcome(plan, deployment, story, child.records, as_text(began), curve)
    for path in child.records:
        path.unlink(missing_ok=True)
    return result, interrupted


def _hear_the_rest(child: LoadChild, story: Story) -> None:
    """Hear what the processes said after the run, as Locust's master does at its end."""
    while not child.lines.empty():
        line = child.lines.get()
        if line and line["event"] in ("cause", "traceback", "fault", *OF_THE_MASTER):
            story.hear(line)


def _compare_at_the_end(story: Story) -> None:
    """Compare the load reached with the load asked for, once a run has taken its time."""
    has_found = story.early_end or story.aborted or story.incomplete or story.invalid
    if story.end and not has_found:
        story.watch.end(story.ended_at_s)
        story.invalid = story.watch.cause


def _neighbours(child: LoadChild, deployment: Deployment) -> Neighbours:
    """Return who looks what else runs on the generator's cores; where that is another machine, nobody."""
    cores = deployment.generator_cores or frozenset(available_cores())
    return Neighbours(cores if child.pids else (), child.pids)


def _watch(
    child: LoadChild,
    story: Story,
    deployment: Deployment,
    progress: Callable[[dict[str, Any]], None],
    pulses: Pulses | None,
) -> Iterator[None]:
    """Hear the child until its end, yielding after every tick."""
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
    """Return whether something ends the run, which the story tells from now on."""
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
    """Decide what can be decided by now; whether that is all there is to decide."""
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
    """The child's lines until its end, with None now and then so that the caller looks around.

    The child has nothing to say while the clock of ``pulses`` stands. The lines of Locust's master do not
    count: the master speaks also when no load process does.
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
