"""The progress of a session: the current experiment, and the remaining time."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from pytest_tfserving import marks
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.options import resolve_profile
from pytest_tfserving.ownership import experiment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pytest

    from pytest_tfserving.experiment import Experiment
    from pytest_tfserving.load.profile import LoadProfile
    from pytest_tfserving.session import PerfSession

# The first estimate of an experiment's time besides its load: servers start and end.
_USUAL_REST_S = 10.0
_MINUTE_S, _HOUR_S = 60, 3600
_STEP_S = 5


class Schedule:
    """The experiments in the order of their tests, each with the longest time of its load in seconds.

    The time of an experiment besides its load is estimated by the mean of finished experiments. The real
    remaining time is shorter if load ends early, and longer if a test's code sets a longer load.
    """

    def __init__(
        self, planned: Sequence[tuple[Experiment, float]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._experiments = [experiment for experiment, _ in planned]
        self._load_s = [load_s for _, load_s in planned]
        self._clock = clock
        self._now = -1
        self._began_s = 0.0
        self._rests_s: list[float] = []

    def begin(self, experiment: Experiment) -> None:
        """Record that ``experiment`` is the current one, and that the one before is over."""
        if experiment not in self._experiments or self._is_now(experiment):
            return
        if self._now >= 0:
            self._rests_s.append(max(self._spent_s - self._load_s[self._now], 0.0))
        self._now = self._experiments.index(experiment)
        self._began_s = self._clock()

    @property
    def this_left_s(self) -> float:
        """The remaining time of the current experiment in seconds."""
        if self._now < 0:
            return 0.0
        return max(self._load_s[self._now] + self._rest_s - self._spent_s, 0.0)

    def __str__(self) -> str:
        if self._now < 0:
            return ""
        count = len(self._experiments)
        place = f"{self._now + 1} of {count}, " if count > 1 else ""
        return f"{place}about {length_text(self._left_s)} left"

    def _is_now(self, experiment: Experiment) -> bool:
        return self._now >= 0 and self._experiments[self._now] == experiment

    @property
    def _spent_s(self) -> float:
        return self._clock() - self._began_s

    @property
    def _rest_s(self) -> float:
        return sum(self._rests_s) / len(self._rests_s) if self._rests_s else _USUAL_REST_S

    @property
    def _left_s(self) -> float:
        return self.this_left_s + sum(load_s + self._rest_s for load_s in self._load_s[self._now + 1 :])


def length_text(seconds: float) -> str:
    """Return a length of time as ``45 s``, ``3 min`` or ``1.5 h``; seconds are rounded up to 5 s."""
    if seconds <= _MINUTE_S - _STEP_S:
        return f"{max(math.ceil(seconds / _STEP_S), 1) * _STEP_S} s"
    if seconds < _HOUR_S:
        return f"{max(round(seconds / _MINUTE_S), 1)} min"
    return f"{seconds / _HOUR_S:.1f} h"


def planned(perf: PerfSession, items: Iterable[pytest.Item]) -> list[tuple[Experiment, float]]:
    """Return the experiments that ``items`` load, in their order, each with the seconds of its load."""
    found: list[tuple[Experiment, set[LoadProfile]]] = []
    for item in items:
        experiment = experiment_of(item) if "load" in getattr(item, "fixturenames", ()) else None
        if experiment is None:
            continue
        profiles = next((known for each, known in found if each == experiment), None)
        if profiles is None:
            profiles = set()
            found.append((experiment, profiles))
        profiles.add(_profile(perf, item, experiment))
    return [(experiment, sum(each.run_time_s for each in profiles)) for experiment, profiles in found]


def _profile(perf: PerfSession, item: pytest.Item, experiment: Experiment) -> LoadProfile:
    """Return the load profile of a test, without changes in the test's code."""
    settings = perf.settings
    sources = (settings.cli_load, marks.load_overrides(item), settings.ini_load)
    try:
        return resolve_profile(experiment.profile, perf.profiles(item), sources)
    except ConfigurationError:  # which the test itself will report
        return experiment.profile
