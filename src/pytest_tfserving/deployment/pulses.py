"""The baseline's pulses, as a run of load sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.deployment.load_clock import LoadClock


class PulseRow(NamedTuple):
    """A pulse of all replicas, at a time of the load clock.

    ``calls`` counts the calls of all replicas. ``busy_s`` is ``calls`` divided by the rate of all replicas
    together. ``latency_ms`` is the median call of the slowest replica.
    """

    at_s: float
    calls: float
    busy_s: float
    latency_ms: float


class Pulses(Protocol):
    """The baseline's pulses in one run of load, made inside of this context, at times of ``clock``."""

    clock: LoadClock

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def rows(self) -> Sequence[PulseRow]:
        """All pulses so far."""

    def new(self) -> Sequence[PulseRow]:
        """Return the pulses since the last call."""

    def failure(self) -> str:
        """Return why there are no more pulses, in a sentence; empty while there are."""
