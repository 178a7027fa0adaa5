"""Decisions on SLOs while load runs: the steady window, the test of each SLO, the end of the run.

The module takes finished requests as arrays, and has no part in processes or files.
"""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from pytest_tfserving.slo.changes import changes_of
from pytest_tfserving.slo.evidence_path import EvidencePath
from pytest_tfserving.slo.language import Decision, Slo, Undecided
from pytest_tfserving.slo.metrics import Source
from pytest_tfserving.slo.noise import Noise, NoiseKind
from pytest_tfserving.slo.recovery import span_test
from pytest_tfserving.slo.sequential_tests import ObservedWindow, PulseSeries, SeriesSet, SloTest
from pytest_tfserving.statistics import noise_memory
from pytest_tfserving.statistics.level import LevelModel
from pytest_tfserving.statistics.steady_state import SLICE_S, steadiness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_tfserving.slo.change_tests import ServerChange
    from pytest_tfserving.slo.expected_load import ExpectedLoad
    from pytest_tfserving.slo.open_loop import DueRequests
    from pytest_tfserving.slo.span_figure import SpanFigure
    from pytest_tfserving.slo.span_tests import SpanTest

    Floats = NDArray[np.float64]

Element = TypeVar("Element", bound=np.generic)

DEFAULT_ALPHA = 0.01
# The shortest window for an early decision; a shorter one cannot tell a warm-up from a slow server.
SHORTEST_WINDOW_S = 5.0
# A window is like the whole run once it has this many times the memory of the arrivals.
_MEMORIES_OF_A_WINDOW = 100.0
# A look at all tests takes milliseconds; the next look is due when the window has grown by this factor.
_NEXT_LOOK = 1.08
# The fewest pulses that show how the machine's speed wanders, and the share of the whole wandering from which
# on the machine counts as its cause.
_PULSES_THAT_TELL = 8
_MACHINES_SHARE = 0.5
# Processes write their records at intervals; after this time the record of a request has arrived.
_HOLD_BACK_S = 0.6


class SloMonitor:
    """Decisions on ``slos`` while load runs; a PASS, or a FAIL, is wrong with probability ``alpha`` at most.

    This probability is for the server under the noise of the run, if the machine's noise memory is at most
    ``noise_memory_s``. With ``early_stop`` the run is over when every SLO is decided. Relative SLOs are
    decided if the deployment ``has_baseline``, and changes against a baseline server if that is ``against``,
    the monitor of the baseline server's load, which ``keeps_requests``; load goes to the other server after
    ``slice_s`` seconds. The changes share ``alpha``, so that several of them do not raise the probability of
    a false alarm. Without a ``plateau`` the level of load changes in the judged part, so that part is never
    steady and no beginning is cut off, the run takes its whole time, and only SLOs on parts of it are
    decided. They need the plan of the ``load``, and so does goodput. Of an open loop, ``due`` has the
    schedule: rates are compared with it, and nothing is decided before bursty arrivals have had the time to
    show their bursts.
    """

    def __init__(  # noqa: PLR0913 - all that a verdict rests on
        self,
        slos: Sequence[Slo],
        alpha: float,
        *,
        has_baseline: bool,
        early_stop: bool = True,
        plateau: bool = True,
        noise_memory_s: float = noise_memory.DEFAULT_S,
        against: SloMonitor | None = None,
        slice_s: float = 0.0,
        keeps_requests: bool = False,
        load: ExpectedLoad | None = None,
        due: DueRequests | None = None,
    ) -> None:
        self.alpha = alpha
        self._against = against
        self._slice_s = slice_s
        self._due = due
        memory_s = due.memory_s if due else 0.0
        self._is_bursty = memory_s > SLICE_S
        self._shortest_window_s = max(SHORTEST_WINDOW_S, _MEMORIES_OF_A_WINDOW * memory_s)
        self.noise_memory_s = noise_memory_s = max(noise_memory_s, memory_s)
        self._early_stop = early_stop and plateau
        self._plateau = plateau
        self._load = load
        self.unsteady = ""
        self.decisions: dict[str, Decision] = {}
        # The evidence at each look, by the text of the SLO.
        self.evidence: dict[str, EvidencePath] = {}
        judged = [
            slo
            for slo in slos
            if plateau and (has_baseline or not slo.relative) and (against is not None or not slo.against)
        ]
        self._by_text = {slo.text: slo for slo in slos}
        self._spans = self._new_spans()
        self._slos = {slo.text: slo for slo in judged if self._can_test(slo)}
        self._cpu: tuple[Floats, Floats] = (np.empty(0), np.empty(0))
        self._baseline = _Columns(3)
        self._keeps_requests = keeps_requests or against is not None
        self._requests = _Requests(kept=bool(self._slos or self._spans) or self._keeps_requests)
        self._changes = sum(slo.against for slo in judged)
        self._settled_s = math.nan
        self._cut_s = 0.0
        self._look_at_s = 0.0
        self._known_until_s = 0.0
        self._common_start_s = math.nan
        self._tests = self._new_tests()

    def _can_test(self, slo: Slo) -> bool:
        """Return whether a sequential test decides an SLO in this run."""
        if slo.definition.needs is Source.REQUEST_LIMITS and not (self._load and self._load.request_limits):
            return False
        if slo.kind and not (self._load and slo.kind in self._load.kinds):
            return False
        return slo.sequential_test(self.noise_memory_s, SeriesSet(self.noise_memory_s)) is not None

    @property
    def start_s(self) -> float:
        """The start of the steady window, in seconds since the run's start; NaN until `settle` is called."""
        return self._settled_s + self._cut_s

    def settle(self, at_s: float) -> None:
        """Begin the window: from ``at_s`` on, every user runs and has had an answer."""
        self._settled_s = at_s

    def add(
        self,
        finished_s: Floats,
        latencies_ms: Floats,
        failed: NDArray[np.bool_],
        kinds: NDArray[np.int64] | None = None,
    ) -> None:
        """Add requests that ended since the last call; ``kinds`` has the number of each one's kind."""
        self._requests.add(finished_s, latencies_ms, failed, kinds)

    def add_cpu(self, at_s: Floats, cpu_s: Floats) -> None:
        """Set the CPU time that the replicas had used at each ``at_s`` so far, in place of earlier values.

        ``at_s`` is in seconds since the run's start. ``cpu_s`` is cumulative.
        """
        self._cpu = (at_s, cpu_s)

    def add_baseline(self, at_s: Floats, calls: Floats, busy_s: Floats, latency_ms: Floats) -> None:
        """Add pulses of the baseline since the last call.

        Args:
            at_s: times of the pulses, in seconds of load since the run's start.
            calls: number of calls in each pulse.
            busy_s: length of the calls of each pulse, in seconds.
            latency_ms: median call of each pulse.
        """
        self._baseline.extend(np.array([at_s, calls / busy_s, latency_ms]))

    def look(self, now_s: float, *, last: bool = False) -> None:
        """Decide SLOs on the requests that ended until ``now_s``, as far as the data suffice."""
        until_s = now_s if last else now_s - _HOLD_BACK_S
        self._known_until_s = until_s
        if math.isnan(self._settled_s) or (now_s < self._look_at_s and not last):
            return
        self._requests.absorb(self._settled_s, until_s)
        self._find_window(until_s)
        self._look_at_s = self._settled_s + (now_s - self._settled_s) * _NEXT_LOOK
        self._look_at_parts(until_s, now_s, last=last)
        undecided = [slo for slo in self._slos.values() if slo.text not in self.decisions]
        if self.unsteady:
            # Under too high a rate latencies rise, but the server's own rate is steady.
            undecided = [slo for slo in undecided if self._due and slo.is_absolute_rate]
            if not undecided:
                return
        if not undecided:
            if not (self._keeps_requests or self._spans):
                self._requests.forget()
            return
        window = self._window(until_s)
        self._look_at_changes(undecided, until_s, now_s, last=last)
        for slo in undecided:
            if not slo.against:
                self._ask(slo, window, now_s, last=last)

    def _look_at_parts(self, until_s: float, now_s: float, *, last: bool) -> None:
        """Decide the SLOs on parts of the run, which does not have to be steady for them."""
        for text, test in self._spans.items():
            test.look(partial(self._window_of, text), self.start_s, until_s)
            holds = test.holds(last=last)
            if text not in self.decisions and holds is not None:
                self.decisions[text] = Decision(
                    holds=holds,
                    alpha=self.alpha,
                    after_s=round(now_s - self.start_s, 3),
                    at_s=round(now_s, 3),
                    n_eff=round(test.n_eff, 1) if math.isfinite(test.n_eff) else 0.0,
                )

    @property
    def parts(self) -> dict[str, tuple[SpanFigure, ...]]:
        """The figures of the parts of the run that SLOs judge one by one, by the text of the SLO."""
        return {text: tuple(test.figures) for text, test in self._spans.items()}

    def _look_at_changes(self, undecided: Sequence[Slo], until_s: float, now_s: float, *, last: bool) -> None:
        """Decide the changes against the baseline server, on the part of the run that both have."""
        changes = [slo for slo in undecided if slo.against]
        if changes and (window := self._common_window(until_s)):
            for slo in changes:
                self._ask(slo, window, now_s, last=last)

    def alpha_of(self, slo: Slo) -> float:
        """Return the largest probability of a wrong verdict on an SLO."""
        return self.alpha / self._changes if slo.against else self.alpha

    def _needed(self, slo: Slo) -> float:
        return -math.log(self.alpha_of(slo))

    def changes(self, now_s: float) -> dict[str, ServerChange]:
        """Return the changes against the baseline server until ``now_s``, by the metric's key.

        What a verdict proved holds for the interval, too.
        """
        window = self._common_window(now_s)
        if window is None:
            return {}
        needed = -math.log(self.alpha / max(self._changes, 1))
        limits = [slo for slo in self._slos.values() if slo.against]
        limited = [slo.metric for slo in limits]
        found = changes_of(window, self.noise_memory_s, needed, limited, self._slice_s)
        for slo in limits:
            decision, key = self.decisions.get(slo.text), slo.definition.key
            if decision and key in found:
                below = decision.holds is not slo.higher_is_better
                found[key] = found[key].proved(slo.limit * slo.unit.factor, below=below)
        return found

    def is_over(self) -> bool:
        """Return whether the run may end, because every SLO is decided."""
        awaited = [*(text for text, slo in self._slos.items() if not slo.guard), *self._spans]
        return self._early_stop and bool(awaited) and all(text in self.decisions for text in awaited)

    def undecided(self, now_s: float) -> dict[str, Undecided]:
        """Return the open SLOs, each with its noise and the seconds that would likely decide it."""
        length_s = now_s - self.start_s
        machine_sd = self._machine_sd()
        parts = {
            text: Undecided(self.alpha, math.inf, length_s=round(length_s, 3), cause=test.reason())
            for text, test in self._spans.items()
            if text not in self.decisions
        }
        return parts | {
            text: Undecided(
                self.alpha_of(self._slos[text]),
                (test.needed_factor(self._needed(self._slos[text])) - 1) * length_s,
                self.unsteady,
                _told_apart(
                    test.noise(self._needed(self._slos[text])),
                    0.0 if self._slos[text].is_paired else machine_sd,
                ),
                round(length_s, 3),
                self.noise_memory_s,
            )
            for text, test in self._tests.items()
            if text not in self.decisions
        }

    def _machine_sd(self) -> float:
        """Return the fraction by which the machine's speed wandered in the baseline; NaN if unknown."""
        at_s, rps, _ = self._baseline.values
        if len(at_s) < _PULSES_THAT_TELL:
            return math.nan
        model = LevelModel(float(np.diff(at_s).mean()), self.noise_memory_s)
        for value in np.log(rps):
            model.add(value)
        return float(model.estimate().level_sd)

    def _window(self, until_s: float) -> ObservedWindow:
        return self._window_from(self.start_s, until_s)

    def _common_window(self, until_s: float) -> ObservedWindow | None:
        """Return the window in which both servers are steady and known; None if there is none yet."""
        other = self._against
        if other is None or math.isnan(start_s := max(self.start_s, other.start_s)):
            return None
        if not abs(start_s - self._common_start_s) <= SLICE_S:
            self._common_start_s = start_s
            self._tests |= {
                text: test for text, test in self._new_tests().items() if self._slos[text].against
            }
        until_s = min(until_s, other.known_until_s)
        ours = self._window_from(self._common_start_s, until_s)
        return replace(ours, against=other.window_between(self._common_start_s, until_s))

    @property
    def known_until_s(self) -> float:
        """The time until which all requests are known, in seconds since the run's start."""
        return self._known_until_s

    def window_between(self, start_s: float, until_s: float) -> ObservedWindow:
        """Return the requests that ended between two times; another thread may add requests."""
        self._requests.absorb(self._settled_s, until_s)
        return self._window_from(start_s, until_s)

    def _window_from(self, start_s: float, until_s: float) -> ObservedWindow:
        at_s, rps, latency_ms = self._baseline.values
        cpu_at_s, cpu_s = self._cpu
        window = self._requests.since(
            start_s,
            until_s,
            PulseSeries(at_s - start_s, rps, latency_ms),
            (cpu_at_s - start_s, cpu_s),
        )
        if self._due is not None:
            due_s = self._due.between(start_s, until_s) - start_s
            window = replace(window, due_s=due_s, due_rps=self._due.rps, clump=self._due.clump)
        if not (self._load and self._load.request_limits):
            return window
        limits_ms = np.array([self._load.request_limits.of(kind) for kind in (*self._load.kinds, "")])
        kinds = np.minimum(window.kinds[~window.failed], len(limits_ms) - 1)
        return replace(window, limits_ms=limits_ms[kinds])

    def _window_of(self, text: str, start_s: float, until_s: float) -> ObservedWindow:
        """Return the requests between two times that an SLO judges, given the schedule in this time."""
        window = replace(self._window_from(start_s, until_s), due_s=None, clump=1.0)
        return self._judged_by(self._by_text[text], window)

    def _judged_by(self, slo: Slo, window: ObservedWindow) -> ObservedWindow:
        """Return the requests of a window that an SLO judges."""
        if not (slo.kind and self._load):
            return window
        return window.of_kind(self._load.kinds.index(slo.kind))

    def _find_window(self, until_s: float) -> None:
        if not self._plateau:
            return
        length_s = until_s - self._settled_s
        cut_s, self.unsteady = self._requests.steadiness(
            length_s, is_open=self._due is not None, is_bursty=self._is_bursty
        )
        if abs(cut_s - self._cut_s) > SLICE_S:
            self._cut_s, self._tests, self._spans = cut_s, self._new_tests(), self._new_spans()

    def _new_spans(self) -> dict[str, SpanTest]:
        found = {
            text: span_test(slo, tuple(self._by_text.values()), self._load, self.alpha)
            for text, slo in self._by_text.items()
            if self._load
        }
        return {text: test for text, test in found.items() if test}

    def _new_tests(self) -> dict[str, SloTest]:
        shared = {slo.kind: SeriesSet(self.noise_memory_s) for slo in self._slos.values()}
        tests = {
            text: slo.sequential_test(self.noise_memory_s, shared[slo.kind], self._slice_s)
            for text, slo in self._slos.items()
        }
        return {text: test for text, test in tests.items() if test}

    def _ask(self, slo: Slo, window: ObservedWindow, now_s: float, *, last: bool) -> None:
        seen = window.beside_baseline() if slo.relative else self._judged_by(slo, window)
        if slo.relative and not len(seen.baseline.at_s):
            return
        evidence = self._tests[slo.text].look(seen)
        needed, sides = self._needed(slo), (evidence.below, evidence.above)
        holding, failing = reversed(sides) if slo.higher_is_better else sides
        path = self.evidence.get(slo.text, EvidencePath(needed))
        self.evidence[slo.text] = path.plus(now_s, holding, failing)
        if window.length_s < self._shortest_window_s and not last:
            return
        if evidence.most < needed:
            return
        holds = holding >= needed
        self.decisions[slo.text] = Decision(
            holds=holds,
            alpha=self.alpha_of(slo),
            after_s=round(now_s - self.start_s, 3),
            at_s=round(now_s, 3),
            n_eff=round(evidence.n_eff, 1),
            noise_memory_s=self.noise_memory_s,
        )


def _told_apart(noise: Noise | None, machine_sd: float) -> Noise | None:
    """Return ``noise`` with its kind narrowed to machine or server, if the baseline shows which one."""
    if not noise or noise.kind is not NoiseKind.SPEED or not noise.sd or math.isnan(machine_sd):
        return noise
    is_machine = machine_sd >= _MACHINES_SHARE * noise.sd
    return replace(noise, kind=NoiseKind.MACHINE if is_machine else NoiseKind.SERVER)


class _Requests:
    """The requests since every user runs, in the order of their ends, and counted in slices of time.

    Single requests are kept only while ``kept`` is true: a run without open SLOs needs none.
    """

    def __init__(self, *, kept: bool) -> None:
        self._kept = kept
        self._lock = threading.RLock()
        self._waiting: list[Floats] = []
        self._ended_s = _Column(np.float64)
        self._latencies_ms = _Column(np.float64)
        self._failed = _Column(np.bool_)
        self._kinds = _Column(np.int64)
        self._slices = _Slices()

    def forget(self) -> None:
        """Stop keeping single requests."""
        self._kept = False
        self._ended_s, self._latencies_ms, self._failed, self._kinds = (
            _Column(np.float64),
            _Column(np.float64),
            _Column(np.bool_),
            _Column(np.int64),
        )

    def add(
        self,
        finished_s: Floats,
        latencies_ms: Floats,
        failed: NDArray[np.bool_],
        kinds: NDArray[np.int64] | None,
    ) -> None:
        """Add requests in any order."""
        numbers = np.zeros(len(finished_s), np.int64) if kinds is None else kinds
        with self._lock:
            self._waiting.append(np.column_stack([finished_s, latencies_ms, failed, numbers]))

    def absorb(self, from_s: float, until_s: float) -> None:
        """Sort in the requests that ended between the two times; later ones go on waiting."""
        with self._lock:
            self._absorb(from_s, until_s)

    def _absorb(self, from_s: float, until_s: float) -> None:
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
            self._kinds.extend(rows[:, 3].astype(np.int64))

    def since(
        self, start_s: float, until_s: float, baseline: PulseSeries, cpu: tuple[Floats, Floats]
    ) -> ObservedWindow:
        """Return the window from ``start_s`` on, with the baseline and the CPU times."""
        with self._lock:
            first, last = np.searchsorted(self._ended_s.values, [start_s, until_s])
            failed = self._failed.values[first:last]
            latencies_ms = self._latencies_ms.values[first:last][~failed]
            ended_s = self._ended_s.values[first:last][~failed] - start_s
            kinds = self._kinds.values[first:last]
        length_s = max(until_s - start_s, 0.0)
        return ObservedWindow(latencies_ms, failed, ended_s, length_s, baseline, *cpu, kinds=kinds)

    def steadiness(self, length_s: float, *, is_open: bool, is_bursty: bool) -> tuple[float, str]:
        """Return the seconds after which rates and latencies are steady, and why they never are."""
        return self._slices.steadiness(length_s, is_open=is_open, is_bursty=is_bursty)


class _Column(Generic[Element]):
    """An array that grows at its end."""

    def __init__(self, dtype: type[Element]) -> None:
        self._room: NDArray[Element] = np.empty(1024, dtype)
        self._size = 0

    @property
    def values(self) -> NDArray[Element]:
        """The elements of the array."""
        return self._room[: self._size]

    def extend(self, more: NDArray[Element]) -> None:
        """Append ``more``."""
        needed = self._size + len(more)
        if needed > len(self._room):
            room = np.empty(needed + needed // 4, self._room.dtype)
            room[: self._size] = self.values
            self._room = room
        self._room[self._size : needed] = more
        self._size = needed


class _Columns:
    """Several arrays of one length that grow at their end."""

    def __init__(self, count: int) -> None:
        self.values: Floats = np.empty((count, 0))

    def extend(self, more: Floats) -> None:
        """Append ``more``, one array for each column."""
        self.values = np.concatenate([self.values, more], axis=1)


class _Slices:
    """Counts in slices of `SLICE_S`: all requests, successes, and the latencies of the successes in total."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, 0))

    def add(self, ended_s: Floats, latencies_ms: Floats, failed: NDArray[np.bool_]) -> None:
        """Count requests by their ends."""
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

    def steadiness(self, length_s: float, *, is_open: bool, is_bursty: bool) -> tuple[float, str]:
        """Return the seconds after which rates and latencies are steady, and why they never are.

        The rate of an open loop is its schedule's, and says nothing about the server. A beginning is not cut
        off as a warm-up if arrivals are bursty, because it may be a burst.
        """
        whole = max(int(length_s / SLICE_S + 1e-9), 0)
        sums = np.zeros((3, whole))
        known = self._sums[:, :whole]
        sums[:, : known.shape[1]] = known
        if not sums[1].any():
            return 0.0, ""
        # Slices are joined until five of them, a batch, hold at least about five requests.
        joined = math.ceil(whole / sums[1].sum())
        slices = whole // joined
        answered, good, taken_ms = sums[:, : slices * joined].reshape(3, slices, joined).sum(axis=2)
        latencies_ms = np.divide(taken_ms, good, out=np.full(slices, np.nan), where=good > 0)
        slice_s = SLICE_S * joined
        # Failures are not warm-up: they count as answers here, and no failure is cut off.
        found = [steadiness(latencies_ms, "latency", slice_s, cuts=not is_bursty)]
        if not is_open:
            found.insert(0, steadiness(answered, "rps", slice_s))
        failed = answered > good
        first_failure_s = slice_s * float(failed.argmax()) if failed.any() else math.inf
        start_s = min(max(each.start_s for each in found), first_failure_s)
        return start_s, next((each.reason for each in found if each.reason), "")
