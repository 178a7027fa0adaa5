"""Decides SLOs while load runs: finds the steady window, feeds each SLO's test, says when all is known.

It takes finished requests as arrays and knows nothing of processes or files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tfserving.slo import CPU_PER_REQUEST, Decision, Slo, Undecided, percentile_of
from pytest_tfserving.statistics.dependence import is_far_from
from pytest_tfserving.statistics.sequential import BURST, Evidence, MeanTest, ShareTest
from pytest_tfserving.statistics.steady_state import SLICE_S, steadiness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DEFAULT_ALPHA = 0.01
# Nothing is decided early before its window is so long: less does not tell a warm-up from a slow server, and
# what comes only every few seconds shall have had its chance.
SHORTEST_WINDOW_S = 5.0
# Processes write what they recorded now and then; by so long after, a request is sure to be there.
_HOLD_BACK_S = 0.6
# Rates are counted in slices that are so long at least, and hold so many requests on average.
_FINEST_S = 0.02
_REQUESTS_IN_A_SLICE = 2.5
_MS = 1000


@dataclass(frozen=True)
class Window:
    """The requests that ended in the steady window so far, in the order they ended.

    ``latencies_ms`` and ``ended_s``, since the window's start, are those of successes.
    """

    latencies_ms: Floats
    failed: NDArray[np.bool_]
    ended_s: Floats
    length_s: float


class _Question(Protocol):
    """What an SLO asks of a window."""

    def look(self, window: Window) -> Evidence:
        """Evidence that what the SLO limits is below its limit, and that it is above."""
        ...

    def needed_factor(self, needed: float) -> float:
        """How many times the requests seen would likely be ``needed`` evidence."""
        ...


class Decider:
    """Watches one run of load for ``slos``: at most ``alpha`` of its PASS, and of its FAIL, are wrong.

    With ``early_stop`` the run is over when all is decided. Relative SLOs are decided against the baseline's
    pulses so far, where it `has_baseline`. Without a ``plateau`` the level of load changes
    in the part that is judged: it is never steady, and there is nothing to cut.
    """

    def __init__(
        self,
        slos: Sequence[Slo],
        alpha: float,
        *,
        has_baseline: bool,
        early_stop: bool = True,
        plateau: bool = True,
    ) -> None:
        self.alpha = alpha
        self._early_stop = early_stop
        self._plateau = plateau
        self.unsteady = ""
        self.decisions: dict[str, Decision] = {}
        self._baseline = _Baseline()
        asked = [slo for slo in slos if has_baseline or not slo.relative]
        self._slos = {slo.text: slo for slo in asked if slo.relative or _question(slo, None)}
        self._cpu: tuple[Floats, Floats] = (np.empty(0), np.empty(0))
        self._requests = _Requests(kept=bool(self._slos))
        self._needed = -math.log(alpha)
        self._settled_s = math.nan
        self._cut_s = 0.0
        self._questions = self._asked()

    @property
    def start_s(self) -> float:
        """Where the steady window starts, in seconds since the run's start; NaN while nothing is settled."""
        return self._settled_s + self._cut_s

    def settle(self, at_s: float) -> None:
        """From ``at_s`` on every user runs and has had an answer."""
        self._settled_s = at_s

    def add(self, finished_s: Floats, latencies_ms: Floats, failed: NDArray[np.bool_]) -> None:
        """Take in requests that ended since the last call."""
        self._requests.add(finished_s, latencies_ms, failed)

    def add_cpu(self, at_s: Floats, cpu_s: Floats) -> None:
        """Take in the CPU that the replicas had used at each ``at_s`` so far, in place of what was known.

        ``at_s`` is in seconds since the run's start. ``cpu_s`` counts on and on.
        """
        self._cpu = (at_s, cpu_s)

    def add_baseline(self, at_s: Floats, calls: Floats, busy_s: Floats, latency_ms: Floats) -> None:
        """Take in pulses of the baseline that were made since the last call, at times of the run.

        See `PulseRow`.
        """
        del at_s
        self._baseline.add(calls, busy_s, latency_ms)

    def look(self, now_s: float, *, last: bool = False) -> None:
        """Decide what can be decided of the requests that ended until ``now_s``."""
        if math.isnan(self._settled_s):
            return
        until_s = now_s if last else now_s - _HOLD_BACK_S
        self._requests.absorb(self._settled_s, until_s)
        self._find_window(until_s)
        if self.unsteady:
            return
        undecided = [slo for slo in self._slos.values() if slo.text not in self.decisions]
        if not undecided:
            self._requests.forget()
            return
        window = self._requests.since(self.start_s, until_s)
        for slo in undecided:
            self._ask(slo, window, now_s, last=last)

    def is_over(self) -> bool:
        """Whether the run may end: every SLO is decided."""
        awaited = [text for text, slo in self._slos.items() if not slo.guard]
        return self._early_stop and bool(awaited) and all(text in self.decisions for text in awaited)

    def undecided(self, now_s: float) -> dict[str, Undecided]:
        """What is still open, and how many more seconds would likely decide it."""
        length_s = now_s - self.start_s
        return {
            text: Undecided(self.alpha, (question.needed_factor(self._needed) - 1) * length_s, self.unsteady)
            for text, question in self._questions.items()
            if text not in self.decisions
        }

    def _find_window(self, until_s: float) -> None:
        if not self._plateau:
            return
        cut_s, self.unsteady = self._requests.steadiness(until_s - self._settled_s)
        if abs(cut_s - self._cut_s) > SLICE_S:
            self._cut_s, self._questions = cut_s, self._asked()

    def _asked(self) -> dict[str, _Question]:
        asked = {text: self._question_of(slo) for text, slo in self._slos.items()}
        return {text: question for text, question in asked.items() if question}

    def _question_of(self, slo: Slo) -> _Question | None:
        if slo.relative and not self._baseline.is_known:
            return None
        return _question(slo, self._baseline)

    def _ask(self, slo: Slo, window: Window, now_s: float, *, last: bool) -> None:
        if slo.relative and (question := self._question_of(slo)):
            self._questions[slo.text] = question  # with the limit that is known by now
        if slo.text not in self._questions:
            return
        evidence = self._questions[slo.text].look(window)
        if window.length_s < SHORTEST_WINDOW_S and not last:
            return
        if max(evidence.below, evidence.above) < self._needed:
            return
        holds = (evidence.above if slo.higher_is_better else evidence.below) >= self._needed
        self.decisions[slo.text] = Decision(
            holds=holds,
            alpha=self.alpha,
            after_s=round(now_s - self.start_s, 3),
            at_s=round(now_s, 3),
            effective=round(evidence.effective, 1),
        )


class _Baseline:
    """All pulses so far, summed up."""

    def __init__(self) -> None:
        self._calls = self._busy_s = self._latencies_ms = 0.0
        self._pulses = 0

    def add(self, calls: Floats, busy_s: Floats, latency_ms: Floats) -> None:
        """Add some pulses."""
        self._calls += float(calls.sum())
        self._busy_s += float(busy_s.sum())
        self._latencies_ms += float(latency_ms.sum())
        self._pulses += len(calls)

    @property
    def is_known(self) -> bool:
        """Whether there was a pulse."""
        return self._pulses > 0

    @property
    def rps(self) -> float:
        """Calls a second."""
        return self._calls / self._busy_s

    @property
    def latency_ms(self) -> float:
        """The mean of the pulses' median calls."""
        return self._latencies_ms / self._pulses


class _Requests:
    """What was recorded since every user runs, in the order it ended, and counted in slices of time.

    Single requests are kept only while ``kept`` is true: a run that nothing is asked of needs none.
    """

    def __init__(self, *, kept: bool) -> None:
        self._kept = kept
        self._waiting: list[Floats] = []
        self._ended_s = _Column(float)
        self._latencies_ms = _Column(float)
        self._failed = _Column(bool)
        self._slices = _Slices()

    def forget(self) -> None:
        """Keep single requests no longer."""
        self._kept = False
        self._ended_s, self._latencies_ms, self._failed = _Column(float), _Column(float), _Column(bool)

    def add(self, finished_s: Floats, latencies_ms: Floats, failed: NDArray[np.bool_]) -> None:
        """Take in requests in any order."""
        self._waiting.append(np.column_stack([finished_s, latencies_ms, failed]))

    def absorb(self, from_s: float, until_s: float) -> None:
        """Put those that ended between the two in their order; later ones go on waiting."""
        if not self._waiting:
            return
        waiting = np.concatenate(self._waiting)
        waiting = waiting[np.argsort(waiting[:, 0], kind="stable")]
        first, last = np.searchsorted(waiting[:, 0], [from_s, until_s])
        self._waiting = [waiting[last:]] if last < len(waiting) else []
        rows = waiting[first:last]
        self._slices.add(rows[:, 0] - from_s, rows[:, 1], rows[:, 2] > 0)
        if self._kept:
            self._ended_s.extend(rows[:, 0])
            self._latencies_ms.extend(rows[:, 1])
            self._failed.extend(rows[:, 2] > 0)

    def since(self, start_s: float, until_s: float) -> Window:
        """The window from ``start_s`` on."""
        first = np.searchsorted(self._ended_s.values, start_s)
        failed = self._failed.values[first:]
        latencies_ms = self._latencies_ms.values[first:][~failed]
        ended_s = self._ended_s.values[first:][~failed] - start_s
        return Window(latencies_ms, failed, ended_s, max(until_s - start_s, 0.0))

    def steadiness(self, length_s: float) -> tuple[float, str]:
        """After how many seconds rates and latencies are steady, and why they never are."""
        return self._slices.steadiness(length_s)


class _Column:
    """An array that grows at its end."""

    def __init__(self, dtype: type) -> None:
        self._room: NDArray[Any] = np.empty(1024, dtype)
        self._size = 0

    @property
    def values(self) -> NDArray[Any]:
        """What is in it."""
        return self._room[: self._size]

    def extend(self, more: NDArray[Any]) -> None:
        """Append ``more``."""
        needed = self._size + len(more)
        if needed > len(self._room):
            room = np.empty(needed + needed // 4, self._room.dtype)
            room[: self._size] = self.values
            self._room = room
        self._room[self._size : needed] = more
        self._size = needed


class _Slices:
    """Requests counted in slices of `SLICE_S`: how many were answered, well, and how long those took."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, 0))

    def add(self, ended_s: Floats, latencies_ms: Floats, failed: NDArray[np.bool_]) -> None:
        """Count requests by when they ended."""
        if not len(ended_s):
            return
        at = (ended_s / SLICE_S).astype(np.int64)
        slices = max(self._sums.shape[1], int(at.max()) + 1)
        sums = np.zeros((3, slices))
        sums[:, : self._sums.shape[1]] = self._sums
        good = ~failed
        sums[0] += np.bincount(at, minlength=slices)
        sums[1] += np.bincount(at[good], minlength=slices)
        sums[2] += np.bincount(at[good], weights=latencies_ms[good], minlength=slices)
        self._sums = sums

    def steadiness(self, length_s: float) -> tuple[float, str]:
        """After how many seconds rates and latencies are steady, and why they never are."""
        whole = max(int(length_s / SLICE_S + 1e-9), 0)
        sums = np.zeros((3, whole))
        known = self._sums[:, :whole]
        sums[:, : known.shape[1]] = known
        if not sums[1].any():
            return 0.0, ""
        # So long that five slices, a batch, hold about five requests at least.
        joined = math.ceil(whole / sums[1].sum())
        slices = whole // joined
        answered, good, taken_ms = sums[:, : slices * joined].reshape(3, slices, joined).sum(axis=2)
        latencies_ms = np.divide(taken_ms, good, out=np.full(slices, np.nan), where=good > 0)
        slice_s = SLICE_S * joined
        # Failures are no warm-up: what is answered badly is answered, too, and none is cut off.
        found = [steadiness(answered, "rps", slice_s), steadiness(latencies_ms, "latency", slice_s)]
        failed = answered > good
        first_failure_s = slice_s * float(failed.argmax()) if failed.any() else math.inf
        start_s = min(max(each.start_s for each in found), first_failure_s)
        return start_s, next((each.reason for each in found if each.reason), "")


# --- what each metric asks -------------------------------------------------------------------------


class _Percentile:
    """Too many latencies over the limit, or not."""

    def __init__(self, percentile: float, limit_ms: float, *, at_limit_counts: bool) -> None:
        self._over = np.greater_equal if at_limit_counts else np.greater
        self._limit_ms = limit_ms
        self._test = ShareTest(1 - percentile / 100)

    def look(self, window: Window) -> Evidence:
        values = window.latencies_ms
        over = self._over(values, self._limit_ms)
        return self._test.look(values, over, _inefficiency_unseen(window, self._limit_ms))

    def needed_factor(self, needed: float) -> float:
        return self._test.needed_factor(needed)


class _Errors:
    """Too many failures, or not."""

    def __init__(self, share: float) -> None:
        self._test = ShareTest(share, BURST)

    def look(self, window: Window) -> Evidence:
        return self._test.look(window.failed.astype(float), window.failed)

    def needed_factor(self, needed: float) -> float:
        return self._test.needed_factor(needed)


class _Rate:
    """Successes in slices of time against a rate."""

    def __init__(self, limit_rps: float) -> None:
        self._limit_rps = limit_rps
        self._slice_s = math.nan
        self._test: MeanTest | None = None

    def look(self, window: Window) -> Evidence:
        rate = max(len(window.ended_s) / window.length_s if window.length_s else 0.0, self._limit_rps)
        slice_s = max(_FINEST_S, _REQUESTS_IN_A_SLICE / rate)
        test = self._test
        if test is None or not 0.5 < slice_s / self._slice_s < 2:  # noqa: PLR2004 - one that no longer fits
            self._slice_s = slice_s
            self._test = test = MeanTest(self._limit_rps * slice_s)
        slices = int(window.length_s / self._slice_s)
        at = (window.ended_s / self._slice_s).astype(np.int64)
        counts = np.bincount(at, minlength=slices)[:slices].astype(float)
        return test.look(counts)

    def needed_factor(self, needed: float) -> float:
        return self._test.needed_factor(needed) if self._test else math.inf


class _Mean:
    """The mean latency against a limit."""

    def __init__(self, limit_ms: float) -> None:
        self._test = MeanTest(limit_ms)

    def look(self, window: Window) -> Evidence:
        return self._test.look(window.latencies_ms)

    def needed_factor(self, needed: float) -> float:
        return self._test.needed_factor(needed)


class _Never:
    """Something that must not happen once: that it did is proof; that it did not is known at the end only."""

    def __init__(self, happened: Callable[[Window], bool]) -> None:
        self._happened = happened

    def look(self, window: Window) -> Evidence:
        return Evidence(above=math.inf, effective=1.0) if self._happened(window) else Evidence()

    def needed_factor(self, needed: float) -> float:
        del needed
        return math.inf


def _inefficiency_unseen(window: Window, limit_ms: float) -> tuple[float, float]:
    """The least and the highest inefficiency of being over a limit that no latency is over yet, or all are.

    A stall takes all requests over it that are in flight together: as many as Little's law says. Where all
    latencies are far from it, nothing but a stall does: how they themselves wander is no matter then.
    """
    values = window.latencies_ms
    if not len(values):
        return 1.0, math.inf
    in_flight = max(float(values.sum()) / _MS / window.length_s, 1.0)
    return in_flight, in_flight if is_far_from(limit_ms, values) else math.inf


def _question(slo: Slo, baseline: _Baseline | None) -> _Question | None:
    """What ``slo`` asks; None where there is nothing to test, as for a limit that everything meets."""
    limit = _limit(slo, baseline)
    percentile = percentile_of(slo.metric)
    if slo.metric == "max":
        return _Never(
            lambda window: any(not slo.holds(high / limit * slo.limit) for high in _highest(window))
        )
    if slo.metric == "errors" and limit <= 0:
        return _Never(lambda window: bool(window.failed.any()))
    nothing_to_test = slo.metric == CPU_PER_REQUEST or (slo.metric == "errors" and limit >= 1)
    if limit <= 0 or nothing_to_test:
        return None
    if percentile is not None:
        return _Percentile(percentile, limit, at_limit_counts=slo.op == "<")
    if slo.metric == "errors":
        return _Errors(limit)
    return _Mean(limit) if slo.metric == "mean" else _Rate(limit)


def _highest(window: Window) -> Floats:
    """The highest latency, if there is one."""
    return np.sort(window.latencies_ms)[-1:]


def _limit(slo: Slo, baseline: _Baseline | None) -> float:
    """Return the limit in the metric's own unit."""
    limit = slo.limit * slo.unit.factor
    if not slo.relative:
        return limit
    assert baseline is not None
    return limit * (baseline.rps if slo.higher_is_better else baseline.latency_ms)
