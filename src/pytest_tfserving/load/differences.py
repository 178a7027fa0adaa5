"""Differences between two servers besides the figures of their load: hints at the cause of a change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_tfserving.load.result import Result
    from pytest_tfserving.server_side.observed import ServerSide
    from pytest_tfserving.slo.change_tests import ServerChange

_MB = 2**20
_CPU = "cpu_per_request_ms"
# Fewer cores than this are a server's housekeeping, which slows nothing down.
_IDLE_CORES = 0.05
# Counts of failures differ if their distance is this many times their standard deviation.
_SDS = 2.0


@dataclass(frozen=True, slots=True)
class _Trait:
    """A figure of a server that can hint at a cause.

    Attributes:
        sentence: the sentence on a difference, with places for the figures ``ours`` and ``theirs``.
        read: returns the figure; None if it is not known.
        show: returns the figure as text.
        ratio: how many times as large one figure is at least when it counts as different.
        least: the smallest difference that counts, in the figure's unit.
        missing: the text for a figure that is not known, which then counts as 0; empty if a difference
            takes both figures.
    """

    sentence: str
    read: Callable[[ServerSide], float | None]
    show: Callable[[float], str]
    ratio: float
    least: float
    missing: str = ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _megabytes(value: float) -> str:
    return f"{value / _MB:.0f} MB"


def _megabytes_a_second(value: float) -> str:
    return f"{value / _MB:.1f} MB"


def _one_decimal(value: float) -> str:
    return f"{value:.1f}"


def _ms(value: float) -> str:
    return f"{value:.3g} ms"


def _seconds(value: float) -> str:
    return f"{value:.2g} s"


def _queue_ms(server: ServerSide) -> float | None:
    """Return the median wait for a batch in ms: 0 on a server that returns its metrics and does not batch."""
    return server.queue_median_ms or (0.0 if server.tf_metrics else None)


def _run_ms(server: ServerSide) -> float | None:
    """Return the median run of the model in ms; None if most of it is the wait for a batch."""
    run_ms, queue_ms = server.inference_median_ms, _queue_ms(server)
    return None if run_ms is None or queue_ms is None or queue_ms > run_ms / 2 else run_ms


def _models_loaded(server: ServerSide) -> float | None:
    """Return the number of models that were loaded while load ran."""
    known = server.model_load_s is not None
    return server.tf_metrics.get("saved_model:load_attempt_count", 0.0) if known else None


# Times that a server measures itself are compared by their medians: a server that is stopped in the middle of
# a request counts the stop.
_TRAITS = (
    _Trait(
        "its CPU limit throttled the candidate in {ours} of the scheduler's periods, the baseline server in "
        "{theirs}",
        lambda server: server.throttled,
        _percent,
        1.5,
        0.02,
        # A server without a CPU limit has no periods that are counted.
        missing="no known share",
    ),
    _Trait(
        "the candidate's memory grew by {ours} a second, that of the baseline server by {theirs} a second",
        lambda server: server.rss_growth_bytes_per_s,
        _megabytes_a_second,
        2.0,
        0.5 * _MB,
    ),
    _Trait(
        "the candidate used up to {ours} of memory, the baseline server up to {theirs}",
        lambda server: server.rss_bytes,
        _megabytes,
        1.1,
        20 * _MB,
    ),
    _Trait(
        "a batch of the candidate had {ours} examples on average, a batch of the baseline server {theirs}",
        lambda server: server.batch_size,
        _one_decimal,
        1.2,
        0.2,
    ),
    _Trait(
        "median wait for a batch: {ours} on the candidate, {theirs} on the baseline server",
        _queue_ms,
        _ms,
        1.5,
        0.5,
    ),
    _Trait(
        "median run of the model: {ours} on the candidate, {theirs} on the baseline server",
        _run_ms,
        _ms,
        1.2,
        0.02,
    ),
    _Trait(
        "models loaded while load ran: {ours} by the candidate, {theirs} by the baseline server",
        _models_loaded,
        _whole,
        1.0,
        1.0,
    ),
    _Trait(
        "the candidate loaded the model in {ours}, the baseline server in {theirs}",
        lambda server: server.model_load_s,
        _seconds,
        1.5,
        0.5,
    ),
    _Trait(
        "the candidate had {ours} involuntary context switches a second, the baseline server {theirs}",
        lambda server: server.context_switches_per_s,
        _whole,
        1.5,
        50.0,
    ),
    _Trait(
        "the candidate read {ours} pages from disk, the baseline server {theirs}",
        lambda server: server.major_faults,
        _whole,
        2.0,
        50.0,
    ),
    _Trait(
        "restarted containers: {ours} of the candidate, {theirs} of the baseline server",
        lambda server: server.restarts,
        _whole,
        1.0,
        1.0,
    ),
)


def differences(candidate: Result, baseline: Result, changes: Mapping[str, ServerChange]) -> tuple[str, ...]:
    """Return sentences on what differs between two servers, each with the figures of both.

    Args:
        candidate: the candidate's result.
        baseline: the result of the baseline server.
        changes: the changes from the baseline server to the candidate, by the metric's key.
    """
    return (
        *_of_cpu(candidate, baseline, changes.get(_CPU)),
        *_of_servers(candidate.server, baseline.server),
        *_of_idling(candidate.server, baseline.server),
        *_of_errors(candidate.errors, baseline.errors),
    )


def _of_cpu(candidate: Result, baseline: Result, change: ServerChange | None) -> Iterator[str]:
    """Yield that a request takes more or less CPU, if the interval of the change leaves out 0."""
    if change and (change.low > 0 or change.high < 0):
        ours, theirs = candidate.cpu_per_request_ms, baseline.cpu_per_request_ms
        yield f"a request took {_ms(ours)} of CPU on the candidate, {_ms(theirs)} on the baseline server"


def _of_servers(candidate: ServerSide | None, baseline: ServerSide | None) -> Iterator[str]:
    if not (candidate and baseline):
        return
    for trait in _TRAITS:
        figures = trait.read(candidate), trait.read(baseline)
        if _differ(figures, trait):
            ours, theirs = (trait.missing if each is None else trait.show(each) for each in figures)
            yield trait.sentence.format(ours=ours, theirs=theirs)


def _differ(figures: tuple[float | None, float | None], trait: _Trait) -> bool:
    if None in figures and not trait.missing:
        return False
    low, high = sorted(each or 0.0 for each in figures)
    return high - low >= trait.least and high >= trait.ratio * low


def _of_idling(candidate: ServerSide | None, baseline: ServerSide | None) -> Iterator[str]:
    """Yield that a server used CPU in the slices of the other one, which slows the other one down."""
    for name, other, server in (
        ("the candidate", "the baseline server", candidate),
        ("the baseline server", "the candidate", baseline),
    ):
        cores = server.idle_cores if server else None
        if cores is not None and cores >= _IDLE_CORES:
            yield f"{name} used {cores:.2f} cores while it was idle and {other} was loaded"


def _of_errors(candidate: Mapping[str, int], baseline: Mapping[str, int]) -> Iterator[str]:
    for cause in dict.fromkeys([*candidate, *baseline]):
        ours, theirs = candidate.get(cause, 0), baseline.get(cause, 0)
        if abs(ours - theirs) > _SDS * math.sqrt(ours + theirs):
            failed = f"{ours} request{'' if ours == 1 else 's'} failed on the candidate"
            yield f"{failed}, {theirs} on the baseline server: {cause}"
