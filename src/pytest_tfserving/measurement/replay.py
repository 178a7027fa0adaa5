"""Replay of a trace: the requests of a run, and when they are due."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.experiments.trace import ReplaySchedule, replay_schedule
from pytest_tfserving.experiments.trace_file import entries, read_trace
from pytest_tfserving.load.worker.users.body_choice import body_choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.experiments.trace import Trace
    from pytest_tfserving.experiments.trace_file import TraceContent
    from pytest_tfserving.protocols.payload_set import PayloadSet


def schedule_of(profile: LoadProfile, payloads: PayloadSet) -> ReplaySchedule | None:
    """Return the bodies that a profile with a trace sends, and when they are due; None without a trace.

    If the payload set is the trace itself, each request has its own body. Else a body is chosen for each
    request by the weights of its kind, or of the whole set if the request has no kind.

    Raises:
        ConfigurationError: if the trace cannot be read, has changed since the profile was read, or has a kind
            that the payload set does not have.
    """
    trace = profile.replay
    if trace is None:
        return None
    content = read_trace(Path(trace.path), trace.log_format)
    if content.trace.digest != trace.digest:
        raise ConfigurationError(f"the trace {trace.path} has changed since the experiments were read.")
    schedule = replay_schedule(
        content.times_s,
        trace.length_s,
        speed=profile.speed,
        run_time_s=profile.run_time_s,
        cut=profile.cut,
        seed=profile.seed,
    )
    if _is_its_own_payload(content, payloads):
        return schedule
    return ReplaySchedule(schedule.due_s, _bodies(content, schedule, payloads, profile.seed))


def _is_its_own_payload(content: TraceContent, payloads: PayloadSet) -> bool:
    """Return whether a payload set was read from the trace, so that both have the same numbers."""
    same_begin = payloads[0].place == content.first_place
    return content.trace.has_bodies and same_begin and len(payloads) == content.trace.requests


def _bodies(content: TraceContent, schedule: ReplaySchedule, payloads: PayloadSet, seed: int) -> array[int]:
    """Return the number of a body in the payload set for each request."""
    choices = _choices(content.trace, {*content.kinds}, payloads, seed)
    return array("Q", (choices[content.kinds[number]]() for number in schedule.requests))


def _choices(trace: Trace, wanted: set[str], payloads: PayloadSet, seed: int) -> dict[str, Callable[[], int]]:
    """Return for each kind a function that returns the number of the next body.

    Raises:
        ConfigurationError: for a kind that the payload set does not have.
    """
    by_kind: dict[str, list[int]] = {"": [*range(len(payloads))]}
    for number, kind in enumerate(payloads.kinds):
        by_kind.setdefault(kind, []).append(number)
    for kind in wanted - by_kind.keys():
        place = next(each.place for each in entries(Path(trace.path), trace.log_format) if each.kind == kind)
        valid = nearest(kind, [each for each in by_kind if each])
        raise ConfigurationError(f"{place}: the payload set has no kind {kind!r}; {valid}.")
    return {kind: _choice(by_kind[kind], payloads, f"{kind} {seed}") for kind in wanted}


def _choice(numbers: list[int], payloads: PayloadSet, seed: str) -> Callable[[], int]:
    """Return a function that returns one of some numbers of bodies, by the bodies' weights."""
    choose = body_choice([payloads[number].weight for number in numbers], seed)
    return lambda: numbers[choose()]
