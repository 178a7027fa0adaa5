"""Planned runs of load of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin import marks
from pytest_tfserving.plugin.overrides import resolve_profile
from pytest_tfserving.plugin.ownership import experiment_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.plugin.session import PerfSession


_MOST_SHOWN = 3
# Load on two servers takes turns.
_BOTH = 2


def planned(perf: PerfSession, items: Iterable[pytest.Item]) -> list[tuple[Experiment, list[float]]]:
    """Return the experiments that ``items`` load, in their order, each with the seconds of each run."""
    return [(experiment, list(loads.values())) for experiment, loads in _loads(perf, items)]


def header(perf: PerfSession, items: Iterable[pytest.Item]) -> list[str]:
    """Return lines about the load of a session: each load profile, and the longest time of all runs."""
    from pytest_tfserving.report.card import load_asked
    from pytest_tfserving.report.schedule import longest_s, longest_text

    found = _loads(perf, items)
    profiles = list(dict.fromkeys(profile for _, loads in found for profile in loads))
    lines = [f"profile {each.name}: {load_asked(each.as_fields())}" for each in profiles[:_MOST_SHOWN]]
    if len(profiles) > _MOST_SHOWN:
        lines.append(f"and {len(profiles) - _MOST_SHOWN} more profiles")
    runs = sum(len(loads) for _, loads in found)
    most = longest_text(longest_s([list(loads.values()) for _, loads in found]))
    return [*lines, f"{runs} run{'' if runs == 1 else 's'} of load, at most about {most} in all"]


def _loads(
    perf: PerfSession, items: Iterable[pytest.Item]
) -> list[tuple[Experiment, dict[LoadProfile, float]]]:
    """Return the experiments that ``items`` load, each with its load profiles and the seconds of each run."""
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
    return found


def _profile(perf: PerfSession, item: pytest.Item, experiment: Experiment) -> LoadProfile:
    """Return the load profile of a test, without changes in the test's code."""
    settings = perf.settings
    sources = (settings.cli_load, marks.load_overrides(item), settings.ini_load)
    try:
        return resolve_profile(experiment.profile, perf.profiles(item), sources)
    except ConfigurationError:  # which the test itself will report
        return experiment.profile
