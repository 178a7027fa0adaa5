"""Differences between two servers besides the figures of their load: hints at the cause of a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.load.result import Result
    from pytest_tfserving.server_side.observed import ServerSide

_MB = 2**20


@dataclass(frozen=True, slots=True)
class _Trait:
    """A figure of a server that can hint at a cause.

    Attributes:
        text: the name in sentences.
        read: returns the figure; None if it is not known.
        show: returns the figure as text.
        ratio: how many times as large one figure is at least when it counts as different.
        least: the smallest difference that counts, in the figure's unit.
    """

    text: str
    read: Callable[[ServerSide], float | None]
    show: Callable[[float], str]
    ratio: float
    least: float


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


_TRAITS = (
    _Trait("throttled by its CPU limit", lambda server: server.throttled, _percent, 1.5, 0.02),
    _Trait(
        "memory at most",
        lambda server: server.rss_bytes,
        lambda value: f"{value / _MB:.0f} MB",
        1.1,
        20 * _MB,
    ),
    _Trait("examples in a batch", lambda server: server.batch_size, lambda value: f"{value:.1f}", 1.2, 0.2),
    _Trait("wait for a batch", lambda server: server.queue_ms, lambda value: f"{value:.2g} ms", 1.5, 0.5),
    _Trait(
        "run of the model", lambda server: server.inference_ms, lambda value: f"{value:.3g} ms", 1.03, 0.02
    ),
    _Trait(
        "involuntary context switches",
        lambda server: server.context_switches_per_s,
        lambda value: f"{value:.0f}/s",
        1.5,
        50.0,
    ),
    _Trait(
        "pages read from disk", lambda server: server.major_faults, lambda value: f"{value:.0f}", 2.0, 50.0
    ),
    _Trait("restarts", lambda server: server.restarts, lambda value: f"{value:.0f}", 1.0, 1.0),
)


def differences(candidate: Result, baseline: Result) -> tuple[str, ...]:
    """Return sentences on what differs between two servers, each with the figures of both."""
    return (*_of_servers(candidate.server, baseline.server), *_of_errors(candidate, baseline))


def _of_servers(candidate: ServerSide | None, baseline: ServerSide | None) -> Iterator[str]:
    if not (candidate and baseline):
        return
    for trait in _TRAITS:
        ours, theirs = trait.read(candidate), trait.read(baseline)
        if ours is not None and theirs is not None and _differ(ours, theirs, trait):
            yield f"{trait.text}: {trait.show(ours)}, and {trait.show(theirs)} of the baseline server"


def _differ(ours: float, theirs: float, trait: _Trait) -> bool:
    low, high = sorted((ours, theirs))
    return high - low >= trait.least and high >= trait.ratio * low


def _of_errors(candidate: Result, baseline: Result) -> Iterator[str]:
    for cause, count in candidate.errors.items():
        before = baseline.errors.get(cause, 0)
        if count > 2 * before:
            yield f"{count} x {cause}, and {before} of the baseline server"
