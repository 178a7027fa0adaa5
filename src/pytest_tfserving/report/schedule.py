"""The progress of a session: the current experiment, and the remaining time."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_tfserving.experiments.experiment import Experiment

# The first estimate of an experiment's time besides its load: servers start and end.
_USUAL_REST_S = 10.0
_WITH_PULSES = 1.1
_MINUTE_S, _HOUR_S = 60, 3600
_STEP_S = 5


class Schedule:
    """The experiments in the order of their tests, each with the longest time of its runs of load.

    The time of an experiment besides its load is estimated by the mean of finished experiments. The real
    remaining time is shorter if load ends early, and longer if a test's code sets a longer load.
    """

    def __init__(
        self,
        planned: Sequence[tuple[Experiment, Sequence[float]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._experiments = [experiment for experiment, _ in planned]
        # The runs of load that have not begun.
        self._runs_s = [list(runs_s) for _, runs_s in planned]
        self._clock = clock
        self._now = -1
        self._began_s = 0.0
        self._loaded_s = 0.0
        self._load_began_s: float | None = None
        self._load_left_s = 0.0
        self._rests_s: list[float] = []

    def begin(self, experiment: Experiment) -> None:
        """Record that ``experiment`` is the current one, and that the one before is over."""
        if experiment not in self._experiments or self._is_now(experiment):
            return
        if self._now >= 0:
            self._rests_s.append(self._rest_spent_s)
        self._now = self._experiments.index(experiment)
        self._began_s, self._loaded_s = self._clock(), 0.0

    def begin_load(self, run_time_s: float) -> None:
        """Note that a run of load begins: the next one that is planned, or one that a test asks for."""
        self._load_began_s = self._clock()
        self._load_left_s = run_time_s
        if self._now >= 0:
            del self._runs_s[self._now][:1]

    def go_on(self, load_left_s: float) -> None:
        """Note for how long the run of load goes on, at most."""
        self._load_left_s = max(load_left_s, 0.0)

    def end_load(self) -> None:
        """Note that the run of load is over."""
        self._loaded_s += self._load_spent_s
        self._load_began_s = None
        self._load_left_s = 0.0

    @property
    def this_left_s(self) -> float:
        """The remaining time of the current experiment in seconds."""
        if self._now < 0:
            return 0.0
        rest_left_s = max(self._rest_s - self._rest_spent_s, 0.0)
        return self._load_left_s + sum(self._runs_s[self._now]) + rest_left_s

    def __str__(self) -> str:
        if self._now < 0:
            return ""
        count = len(self._experiments)
        parts = [f"{self._now + 1} of {count}"] if count > 1 else []
        if left_s := self._left_s:
            parts.append(f"{'at least' if self._is_late else 'about'} {length_text(left_s)} left")
        return ", ".join(parts)

    def _is_now(self, experiment: Experiment) -> bool:
        return self._now >= 0 and self._experiments[self._now] == experiment

    @property
    def _is_late(self) -> bool:
        """True if the current step takes longer than expected, so that the remaining time is unknown."""
        if self._load_began_s is not None:
            return not self._load_left_s
        return self._rest_spent_s > self._rest_s

    @property
    def _load_spent_s(self) -> float:
        return 0.0 if self._load_began_s is None else self._clock() - self._load_began_s

    @property
    def _rest_spent_s(self) -> float:
        return self._clock() - self._began_s - self._loaded_s - self._load_spent_s

    @property
    def _rest_s(self) -> float:
        return sum(self._rests_s) / len(self._rests_s) if self._rests_s else _USUAL_REST_S

    @property
    def _left_s(self) -> float:
        later = self._runs_s[self._now + 1 :]
        return self.this_left_s + sum(sum(runs_s) + self._rest_s for runs_s in later)


def longest_s(runs_s: Sequence[Sequence[float]]) -> float:
    """Return the longest time of a session in seconds, from the seconds of each run of each experiment.

    Pulses of a baseline make runs longer by a tenth, and servers start and end.
    """
    return sum(_WITH_PULSES * sum(each) + _USUAL_REST_S for each in runs_s)


def longest_text(seconds: float) -> str:
    """Return a length of time that is not exceeded: like `length_text`, but never rounded down."""
    unit_s = _STEP_S if seconds <= _MINUTE_S - _STEP_S else _MINUTE_S if seconds < _HOUR_S else _HOUR_S / 10
    return length_text(math.ceil(seconds / unit_s) * unit_s)


def length_text(seconds: float) -> str:
    """Return a length of time as ``45 s``, ``3 min`` or ``1.5 h``; seconds are rounded up to 5 s."""
    if seconds <= _MINUTE_S - _STEP_S:
        return f"{max(math.ceil(seconds / _STEP_S), 1) * _STEP_S} s"
    if seconds < _HOUR_S:
        return f"{max(round(seconds / _MINUTE_S), 1)} min"
    return f"{seconds / _HOUR_S:.1f} h"
