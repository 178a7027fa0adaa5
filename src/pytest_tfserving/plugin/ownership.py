"""The distinction between this plugin's fixtures and parameters and those of others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from pytest_tfserving.experiments.experiment import Experiment

EXPERIMENT = "experiment"
_PLUGIN = "pytest_tfserving.plugin"
_FIXTURES = "pytest_tfserving.plugin.fixtures"


def give_way(config: pytest.Config) -> None:
    """Let fixtures of every other plugin win over this plugin's fixtures of the same name.

    Among plugins' fixtures the last registered one wins. Pytest reads them in the order of this history.
    """
    history = config.hook.pytest_plugin_registered._call_history  # noqa: SLF001 - pytest has no other order
    if history is not None:
        history.sort(key=lambda call: call[0]["plugin"] is not sys.modules[_PLUGIN])


def is_ours(item: pytest.Item, fixture: str) -> bool:
    """Return whether a test gets this plugin's ``fixture``, or an override that requests it."""
    if fixture not in getattr(item, "fixturenames", ()):
        return False
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    for definition in reversed(known.get(fixture, ())):
        if getattr(definition.func, "__module__", "") == _FIXTURES:
            return True
        if fixture not in definition.argnames:
            return False
    return False


def needs_experiments(metafunc: pytest.Metafunc) -> bool:
    """Return whether a test gets this plugin's ``experiment`` and has no values for it yet."""
    given = any(EXPERIMENT in call.params for call in metafunc._calls)  # noqa: SLF001 - not public anywhere
    return not given and is_ours(metafunc.definition, EXPERIMENT)


def experiment_of(item: pytest.Item) -> Experiment | None:
    """Return the experiment that a test runs for; None if the test has none of this plugin."""
    if not is_ours(item, EXPERIMENT):
        return None
    from pytest_tfserving.experiments.experiment import Experiment

    callspec = getattr(item, "callspec", None)
    found = callspec.params.get(EXPERIMENT) if callspec else None
    return found if isinstance(found, Experiment) else None
