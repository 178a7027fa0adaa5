"""Tests of SLOs on parts of a run, each of which is judged by itself: windows, and the time after a spike.

A verdict on such a part is about the time of that part alone: the speed of machine and server in it, with its
stalls, is given. So it needs no assumption on the noise memory, and each request counts by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pytest_tfserving.slo.goodput import bad_requests
from pytest_tfserving.slo.metrics import Limit
from pytest_tfserving.slo.sequential_tests import SeriesSet
from pytest_tfserving.slo.span_figure import SpanFigure
from pytest_tfserving.statistics.latencies import nearest_rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_tfserving.slo.expected_load import ExpectedLoad
    from pytest_tfserving.slo.language import Slo
    from pytest_tfserving.slo.sequential_tests import ObservedWindow, SloTest

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    WindowOf = Callable[[float, float], ObservedWindow]

# Times are sums of floats.
_ROUNDING_S = 1e-6
# A longer part than this many times the present one is not worth a number.
_MOST_TIMES = 100


class SpanTest(Protocol):
    """A test of an SLO on parts of a run; ``figures`` has the parts so far."""

    figures: list[SpanFigure]
    n_eff: float

    def look(self, window_of: WindowOf, start_s: float, until_s: float) -> None:
        """Judge the parts that are complete: ``window_of`` returns the requests between two times."""
        ...

    def holds(self, *, last: bool) -> bool | None:
        """Return whether the SLO is proved to hold, or to be missed; None if neither is proved."""
        ...

    def reason(self) -> str:
        """Return why the SLO is undecided."""
        ...


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """The figures of a window of a run, as metrics read them."""

    window: ObservedWindow

    @property
    def rps(self) -> float:
        """Successes a second."""
        return len(self.window.ended_s) / self.window.length_s

    @property
    def error_rate(self) -> float:
        """Failures as a fraction of all requests; NaN without a request."""
        return float(self.window.failed.mean()) if len(self.window.failed) else math.nan

    @property
    def goodput(self) -> float:
        """Good requests as a fraction of all requests; NaN without a request."""
        return 1 - float(bad_requests(self.window).mean()) if len(self.window.failed) else math.nan

    @property
    def mean_ms(self) -> float:
        """Mean latency of the successes."""
        return float(self.window.latencies_ms.mean()) if len(self.window.latencies_ms) else math.nan

    @property
    def max_ms(self) -> float:
        """Highest latency of the successes."""
        return float(self.window.latencies_ms.max()) if len(self.window.latencies_ms) else math.nan

    def percentile_ms(self, percentile: float) -> float:
        """Return the nearest-rank percentile of the successes."""
        return nearest_rank(np.sort(self.window.latencies_ms), percentile)

    # A part of a run has no figures of the baseline, of the CPU and of recovery.
    efficiency = cpu_per_request_ms = recovery_ms = math.nan


class WindowsTest:
    """A test of an SLO in each window of the steady time.

    Windows follow each other without a gap. That the SLO is missed is a proof if the evidence of one window
    reaches its share of alpha: alpha divided by the number of windows that the run can have. That the SLO
    holds is a proof if each window has evidence of alpha, because one wrong window is then needed for a wrong
    PASS.
    """

    def __init__(self, slo: Slo, load: ExpectedLoad, alpha: float) -> None:
        self._slo = slo
        self._load = load
        self._needed = -math.log(alpha)
        self._times = 1.0
        self.n_eff = math.inf
        self.figures: list[SpanFigure] = []

    def look(self, window_of: WindowOf, start_s: float, until_s: float) -> None:
        """Judge the windows that are complete."""
        length_s = self._slo.every_s
        planned = max((self._load.run_time_s - start_s) // length_s, 1.0)
        while (begin_s := start_s + len(self.figures) * length_s) + length_s <= until_s + _ROUNDING_S:
            window = window_of(begin_s, begin_s + length_s)
            self.figures.append(
                SpanFigure(
                    begin_s,
                    begin_s + length_s,
                    self._slo.definition.read(WindowFigures(window)),
                    self._judged(window, self._needed + math.log(planned)),
                )
            )

    def _judged(self, window: ObservedWindow, needed_to_miss: float) -> bool | None:
        """Return whether a window is proved to meet the limit, or to miss it."""
        slo = self._slo
        if not len(window.failed):
            return None
        if not len(window.ended_s) and slo.metric != "errors":
            return False
        test = self._test()
        evidence = test.look(window)
        self.n_eff = min(self.n_eff, evidence.n_eff)
        meets, misses = (
            (evidence.above, evidence.below) if slo.higher_is_better else (evidence.below, evidence.above)
        )
        if misses >= needed_to_miss:
            return False
        if meets >= self._needed or slo.needs_whole_run:
            return True
        self._times = max(self._times, test.needed_factor(needed_to_miss))
        return None

    def _test(self) -> SloTest:
        """Return a test for one window, in which the level of the speed does not matter."""
        slo = self._slo
        limit = Limit(
            slo.limit * slo.unit.factor, False, slo.op == "<", noise_memory_s=0.0, shared=SeriesSet(0.0)
        )
        assert slo.definition.window_test
        return slo.definition.window_test(limit)

    def holds(self, *, last: bool) -> bool | None:
        """Return False once a window misses the limit; True at the end of the run if all windows meet it."""
        if any(each.holds is False for each in self.figures):
            return False
        return True if last and self.figures and all(each.holds for each in self.figures) else None

    def reason(self) -> str:
        """Return why the SLO is undecided."""
        length_s = self._slo.every_s
        undecided = [each for each in self.figures if each.holds is None]
        if not self.figures:
            return f"no window of {length_s:g} s was complete in the steady time"
        first = f"{len(undecided)} of {len(self.figures)} windows can tell neither, the first {undecided[0]}"
        if math.isnan(undecided[0].value):
            return f"{first}: no request ended in it"
        if self._times > _MOST_TIMES:
            return f"{first}: it has too few requests, or is too close to the limit"
        return f"{first}; windows of about {math.ceil(self._times * length_s)} s would likely be decided"
