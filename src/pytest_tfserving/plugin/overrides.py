"""The load of a run after all sources: the call, the command line, marks, the ini file, the experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.settings import LoadOverrides


def resolve_profile(
    default: LoadProfile,
    own_profiles: Mapping[str, LoadProfile],
    sources: tuple[LoadOverrides, ...],
) -> LoadProfile:
    """Return the profile after all ``sources`` are applied, of which the first is the strongest.

    Raises:
        ConfigurationError: for an unknown profile, an unknown field or a value that does not fit.
    """
    from pytest_tfserving.experiments.load_profile import find_profile

    profile = default
    fields: dict[str, object] = {}
    for source in reversed(sources):
        if source.profile is not None:
            profile, fields = find_profile(source.profile, dict(own_profiles)), {}
        fields = _beaten(fields, source.fields) | dict(source.fields)
    return profile.with_overrides(fields)


def _beaten(weaker: Mapping[str, object], stronger: Mapping[str, object]) -> dict[str, object]:
    """Return the remaining ``weaker`` fields: users give way to a rate, and a rate to users."""
    gives_way = {"users": {"rate"}, "rate": {"users", "think_time_s", "pace_s"}}
    gone = {name for given in stronger for name in gives_way.get(given, ())}
    return {name: value for name, value in weaker.items() if name not in gone}
