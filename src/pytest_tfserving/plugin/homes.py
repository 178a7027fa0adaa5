"""The home of each test's experiment, which decides which tests share a deployment.

Pytest keeps a session's fixture until its parameter changes. Two tests with the same experiment can be in
folders with different overriding fixtures, so that they serve or send different things. Then their homes
differ, and with them the parameters that pytest compares.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.plugin.ownership import experiment_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pytest

    from pytest_tfserving.experiments.experiment import Experiment, Home

    _Definitions = Mapping[str, Sequence[pytest.FixtureDef[object]]]

_TO_OVERRIDE = ("serving", "serving_model", "request_payload", "serving_namespace")
_OURS = "pytest_tfserving.plugin.fixtures"


def settle(items: Iterable[pytest.Item]) -> None:
    """Set the home of each test's experiment."""
    known: dict[Experiment, Experiment] = {}
    for item in items:
        if experiment := experiment_of(item):
            at_home = replace(experiment, home=_home(item, experiment.home))
            _parameters(item)["experiment"] = known.setdefault(at_home, at_home)


def renew(items: Iterable[pytest.Item], experiment: Experiment) -> None:
    """Replace an experiment by a new parameter, so that pytest sets up again all that depends on it."""
    home = replace(experiment.home, renewals=experiment.home.renewals + 1)
    renewed = replace(experiment, home=home)
    for item in items:
        if experiment_of(item) == experiment:
            _parameters(item)["experiment"] = renewed


def forget(item: pytest.Item, before: Home, now: Home) -> None:
    """Tear down the fixtures whose arguments have another definition for this test than for the last one.

    Pytest keeps the value of a session's fixture even if another definition of its argument applies.
    """
    changed = {name for name, _, _ in set(before.fixtures) ^ set(now.fixtures)}
    definitions = dict(_definitions(item)) if changed else {}
    for each in itertools.chain.from_iterable(definitions.values()):
        if _module(each) != _OURS and changed & _needed(each.argnames, definitions):
            each.finish(item._request)  # type: ignore[attr-defined]  # noqa: SLF001 - as pytest itself does


def folder_name(folder: Path, top: Path) -> str:
    """Return a folder relative to the ``top`` of the project."""
    return Path(os.path.relpath(folder, top)).as_posix()


def conftest_folder(plugins: Iterable[str], top: Path) -> str:
    """Return the innermost folder of a conftest among the names of ``plugins``, else ``top``."""
    folders = [Path(name).parent for name in plugins if name.endswith("conftest.py")]
    return folder_name(max(folders, key=lambda folder: len(folder.parts), default=top), top)


def _home(item: pytest.Item, home: Home) -> Home:
    definitions = dict(_definitions(item))
    given = _parameters(item)
    hooks = item.ihook.pytest_tfserving_manifests.get_hookimpls()
    return replace(
        home,
        fixtures=tuple(
            (name, _place(each), f"{_module(each)}.{getattr(each.func, '__qualname__', '')}")
            for name, group in definitions.items()
            for each in group
            if _module(each) != _OURS
        ),
        parameters=tuple((name, _comparable(given[name])) for name in definitions if name in given),
        manifest_hooks=tuple(_plugin(impl.plugin_name, item.config.rootpath) for impl in hooks),
    )


def _definitions(item: pytest.Item) -> Iterator[tuple[str, Sequence[pytest.FixtureDef[object]]]]:
    """Yield the overridable fixtures and their dependencies, each with its definitions for a test."""
    manager = item.session._fixturemanager  # noqa: SLF001 - pytest has no public function for this
    waiting, seen = list(_TO_OVERRIDE), {"experiment", "request"}
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        definitions = manager.getfixturedefs(name, item) or ()
        waiting += [argument for each in definitions for argument in each.argnames]
        yield name, definitions


def _needed(names: Iterable[str], definitions: _Definitions) -> set[str]:
    """Return ``names``, and the names of all fixtures that they depend on."""
    waiting, found = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [argument for each in definitions.get(name, ()) for argument in each.argnames]
    return found


def _parameters(item: pytest.Item) -> dict[str, object]:
    callspec = getattr(item, "callspec", None)
    found: dict[str, object] = callspec.params if callspec else {}
    return found


def _place(definition: pytest.FixtureDef[object]) -> str:
    """Return the node that defines a fixture; empty for the whole session."""
    return "" if definition.baseid == "." else definition.baseid


def _module(definition: pytest.FixtureDef[object]) -> str:
    return str(getattr(definition.func, "__module__", ""))


def _comparable(value: object) -> object:
    """Return the value, or its id if the value cannot be hashed, as an array."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _plugin(name: str, top: Path) -> str:
    return folder_name(Path(name), top) if name.endswith("conftest.py") else name
