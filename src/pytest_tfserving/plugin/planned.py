"""Planned runs of load of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin import marks
from pytest_tfserving.plugin.options import resolve_profile
from pytest_tfserving.plugin.ownership import experiment_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.plugin.session import PerfSession


# Load on two servers takes turns.
_BOTH = 2


def planned(perf: PerfSession, items: Iterable[pytest.Item]) -> list[tuple[Experiment, list[float]]]:
    """Return the experiments that ``items`` load, in their order, each with the seconds of each run."""
    found: list[tuple[Experiment, dict[LoadProfile, float]]] = []
    for item in items:
        experiment = experiment_of(item) if "load" in getattr(item, "fixturenames", ()) else None
        if experiment is None:
            continue
        profiles = next((known for each, known in found if each == experiment), None)
        if profiles is None:
            profiles = {}
            found.append((experiment, profiles))
        profile = _profile(perf, item, experiment)
        profiles[profile] = profile.run_time_s * (1 if perf.settings.against is None else _BOTH)
    return [(experiment, list(profiles.values())) for experiment, profiles in found]


def _profile(perf: PerfSession, item: pytest.Item, experiment: Experiment) -> LoadProfile:
    """Return the load profile of a test, without changes in the test's code."""
    settings = perf.settings
    sources = (settings.cli_load, marks.load_overrides(item), settings.ini_load)
    try:
        return resolve_profile(experiment.profile, perf.profiles(item), sources)
    except ConfigurationError:  # which the test itself will report
        return experiment.profile
