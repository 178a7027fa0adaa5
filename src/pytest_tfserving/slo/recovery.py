"""The test of recovery: the time from when load falls back until requests are good again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.slo.counts import CountTest
from pytest_tfserving.slo.goodput import bad_requests
from pytest_tfserving.slo.metrics import Source, percentile_of
from pytest_tfserving.slo.span_figure import SpanFigure
from pytest_tfserving.slo.span_tests import WindowsTest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_tfserving.slo.expected_load import ExpectedLoad, Fall
    from pytest_tfserving.slo.language import Slo
    from pytest_tfserving.slo.sequential_tests import ObservedWindow
    from pytest_tfserving.slo.span_tests import SpanTest, WindowOf

    Bools = NDArray[np.bool_]

# Requests are good again if this share of them is, in as many seconds; an SLO on windows has its own length.
SHARE = 0.95
WITHIN_S = 5.0
_STEP_S = 0.1
_ROUNDING_S = 1e-6
_MS = 1000


@dataclass(frozen=True, slots=True)
class Back:
    """A condition of recovery: of the requests that end within ``within_s``, a ``share`` has to be good.

    A request is good if it succeeds in ``limit_ms``; infinite for the limits of the load profile.
    """

    share: float
    within_s: float
    limit_ms: float = math.inf

    def bad(self, window: ObservedWindow) -> Bools:
        """Return for each request of a window whether it is bad."""
        if self.limit_ms == math.inf:
            return bad_requests(window)
        bad = np.array(window.failed)
        bad[~window.failed] = window.latencies_ms > self.limit_ms
        return bad

    def is_met(self, window: ObservedWindow) -> bool:
        """Return whether enough requests of a window are good; False without a request."""
        bad = self.bad(window)
        return bool(len(bad)) and bad.sum() <= (1 - self.share) * len(bad)


def span_test(slo: Slo, slos: Sequence[Slo], load: ExpectedLoad, alpha: float) -> SpanTest | None:
    """Return the test of an SLO on parts of a run; None for an SLO on the whole, and without its means.

    Args:
        slo: the SLO.
        slos: all SLOs of the run, which recovery can rest on.
        load: the plan of the run.
        alpha: largest probability of a wrong PASS, and of a wrong FAIL.
    """
    if slo.kind and slo.kind not in load.kinds:
        return None
    if slo.every_s:
        needs_limits = slo.definition.needs is Source.REQUEST_LIMITS
        return None if needs_limits and not load.request_limits else WindowsTest(slo, load, alpha)
    back = conditions(slos, load, slo.kind) if slo.judges_parts else ()
    return RecoveryTest(slo, back, load, alpha) if back and load.falls else None


def conditions(slos: Sequence[Slo], load: ExpectedLoad, kind: str = "") -> tuple[Back, ...]:
    """Return the conditions of recovery: the limits on single requests, else the SLOs on percentiles."""
    if load.request_limits:
        return (Back(SHARE, WITHIN_S),)
    return tuple(_of_percentiles(slos, kind))


def _of_percentiles(slos: Sequence[Slo], kind: str) -> Iterator[Back]:
    for slo in slos:
        percentile = percentile_of(slo.metric)
        if percentile is not None and slo.kind == kind and not slo.relative and not slo.against:
            yield Back(percentile / 100, slo.every_s or WITHIN_S, slo.limit * slo.unit.factor)


class RecoveryTest:
    """A test of the time from each fall of the load until requests are good again.

    The recovery from a fall is the shortest time r, in steps of 0.1 s, for which each condition is met by the
    requests that end from r to r + ``within_s`` after the fall. The recovery is shorter than the limit R if
    the requests that end from R to R + ``within_s`` after the fall meet the conditions, and the evidence is
    the count of the bad ones among these requests. Before this time has passed, nothing is decided.
    """

    def __init__(self, slo: Slo, back: Sequence[Back], load: ExpectedLoad, alpha: float) -> None:
        self._limit_s = slo.limit * slo.unit.factor / _MS
        self._back = back
        self._needed = -math.log(alpha)
        self._needed_to_miss = self._needed + math.log(max(len(load.falls) * len(back), 1))
        self._falls = [_FallState(fall) for fall in load.falls]
        self.n_eff = math.inf
        self.figures: list[SpanFigure] = []

    def look(self, window_of: WindowOf, start_s: float, until_s: float) -> None:
        """Judge the falls whose time has passed, and find how long each recovery took."""
        self._falls = [each for each in self._falls if each.fall.at_s >= start_s]
        for state in self._falls:
            state.find(window_of, self._back, until_s)
            self._judge(state, window_of, until_s)
        self.figures = [each.figure for each in self._falls if each.fall.at_s < until_s]

    def _judge(self, state: _FallState, window_of: WindowOf, until_s: float) -> None:
        begin_s = state.fall.at_s + self._limit_s
        end_s = begin_s + max(each.within_s for each in self._back)
        if state.is_judged or end_s > min(until_s, state.fall.until_s) + _ROUNDING_S:
            return
        state.is_judged = True
        found = [self._holds(each, window_of(begin_s, begin_s + each.within_s)) for each in self._back]
        state.holds = False if False in found else None if None in found else True

    def _holds(self, back: Back, window: ObservedWindow) -> bool | None:
        """Return whether a condition is proved to be met, or to be missed."""
        if not len(window.failed):
            return None
        evidence = CountTest(1 - back.share, back.bad).look(window)
        self.n_eff = min(self.n_eff, evidence.n_eff)
        if evidence.above >= self._needed_to_miss:
            return False
        return True if evidence.below >= self._needed else None

    def holds(self, *, last: bool) -> bool | None:
        """Return False once a recovery took too long; True once all were in time."""
        del last
        found = [each.holds for each in self._falls]
        return False if False in found else True if found and all(found) else None

    def reason(self) -> str:
        """Return why the SLO is undecided."""
        undecided = [each for each in self._falls if each.holds is None]
        if not undecided:
            return "load did not fall before the end of the steady time"
        fall, within_s = undecided[0].fall, max(each.within_s for each in self._back)
        if not undecided[0].is_judged:
            return (
                f"load fell at {fall.at_s:.4g} s, and its level then did not last for {self._limit_s:.4g} s "
                f"and the {within_s:g} s after that, in which requests have to be good"
            )
        return (
            f"the {within_s:g} s that began {self._limit_s:.4g} s after load fell at {fall.at_s:.4g} s have "
            "too few requests to tell; an SLO on a percentile with a longer window, as "
            f"'every {2 * within_s:g}s', has more of them"
        )


class _FallState:
    """A fall of the load, and what is known of the recovery from it."""

    def __init__(self, fall: Fall) -> None:
        self.fall = fall
        self.holds: bool | None = None
        self.is_judged = False
        self._steps = 0
        self._is_found = False

    def find(self, window_of: WindowOf, back: Sequence[Back], until_s: float) -> None:
        """Go on to look for the time at which all conditions are met."""
        last_s = min(until_s, self.fall.until_s) + _ROUNDING_S
        longest_s = max(each.within_s for each in back)
        while not self._is_found and (begin_s := self.fall.at_s + self._taken_s) + longest_s <= last_s:
            if all(each.is_met(window_of(begin_s, begin_s + each.within_s)) for each in back):
                self._is_found = True
            else:
                self._steps += 1

    @property
    def _taken_s(self) -> float:
        return self._steps * _STEP_S

    @property
    def figure(self) -> SpanFigure:
        """The recovery so far, in ms."""
        return SpanFigure(self.fall.at_s, self.fall.at_s + self._taken_s, self._taken_s * _MS, self.holds)
