"""The parts of a run's plan that SLOs depend on."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_tfserving.slo.request_limits import RequestLimits


@dataclass(frozen=True, slots=True)
class Fall:
    """The end of a peak of the planned load, and the end of the level after it, in seconds of the run."""

    at_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class ExpectedLoad:
    """The plan of a run.

    Attributes:
        run_time_s: longest duration of the run in seconds.
        request_limits: limits of single requests.
        falls: the times at which load falls back from a peak.
        kinds: the names of the kinds of requests, by the numbers that requests have. A higher number is that
            of a kind that nothing names.
    """

    run_time_s: float
    request_limits: RequestLimits = field(default_factory=RequestLimits)
    falls: tuple[Fall, ...] = ()
    kinds: tuple[str, ...] = ("",)
