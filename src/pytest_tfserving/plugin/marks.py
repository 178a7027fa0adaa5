"""The marks ``slo``, ``load_profile`` and ``experiments``: their arguments, and their meaning for a test."""

from __future__ import annotations

from dataclasses import fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.plugin.ownership import EXPERIMENT, is_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.settings import LoadOverrides
    from pytest_tfserving.slo.language import Slo

DESCRIPTIONS = (
    "slo(*texts, strict=True): more SLOs for load().check(); strict=False reports them without failing.",
    "load_profile(name=None, **overrides): the load of the test's load(), by name or by fields, as users=8.",
    "experiments(*name_patterns): run the test only for experiments whose names match, as '1cpu-*'.",
)


def slos(item: pytest.Item) -> tuple[Slo, ...]:
    """Return the SLOs of a test's marks."""
    from pytest_tfserving.slo.language import parse_slos

    found: list[Slo] = []
    for mark in item.iter_markers("slo"):
        found += parse_slos(mark.args, strict=mark.kwargs.get("strict", True))
    return tuple(found)


def load_overrides(item: pytest.Item) -> LoadOverrides:
    """Return the load that a test's nearest ``load_profile`` mark sets."""
    from pytest_tfserving.settings import LoadOverrides

    mark = item.get_closest_marker("load_profile")
    if mark is None:
        return LoadOverrides()
    return LoadOverrides(mark.args[0] if mark.args else None, dict(mark.kwargs))


def wanted(experiments: list[Experiment], marks: Iterable[pytest.Mark]) -> list[Experiment]:
    """Return the experiments that match every ``experiments`` mark.

    Raises:
        ConfigurationError: for a pattern that matches no experiment, and if no experiment matches all marks.
    """
    names = [experiment.name for experiment in experiments]
    groups = [_patterns(mark, names) for mark in marks]
    found = [
        experiment
        for experiment in experiments
        if all(any(fnmatchcase(experiment.name, each) for each in group) for group in groups)
    ]
    if not found:
        together = " and ".join(", ".join(map(repr, group)) for group in groups)
        raise ConfigurationError(f"no experiment matches {together}; valid: {', '.join(names)}.")
    return found


def _patterns(mark: pytest.Mark, names: list[str]) -> tuple[str, ...]:
    """Return the patterns of a mark.

    Raises:
        ConfigurationError: for a pattern that matches none of ``names``.
    """
    for pattern in mark.args:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigurationError(f"{pattern!r} matches no experiment; {nearest(pattern, names)}.")
    return mark.args


def mistakes(test: pytest.Item) -> Iterator[str]:
    """Yield the mistakes in the arguments of this plugin's marks on a test."""
    for mark in test.iter_markers():
        if checker := _CHECKERS.get(mark.name):
            try:
                checker(mark)
            except ConfigurationError as error:
                yield f"{test.nodeid}: mark {mark.name}: {error}"


def check(items: Iterable[pytest.Item]) -> None:
    """Check the arguments of marks on tests with this plugin's fixtures; other tests' marks are not its own.

    Raises:
        pytest.UsageError: with the mistakes of the first test that has any.
    """
    for item in items:
        if is_ours(item, EXPERIMENT) and (wrong := list(mistakes(item))):
            raise pytest.UsageError(*wrong)


def _check_slo(mark: pytest.Mark) -> None:
    from pytest_tfserving.slo.language import parse_slos

    _check_keywords(mark, ["strict"])
    if not mark.args:
        raise ConfigurationError('it needs SLOs, as slo("p95<200ms").')
    if not isinstance(mark.kwargs.get("strict", True), bool):
        raise ConfigurationError(f"strict is True or False, not {mark.kwargs['strict']!r}.")
    parse_slos(mark.args)


def _check_load_profile(mark: pytest.Mark) -> None:
    from pytest_tfserving.experiments.load_profile import LoadProfile

    _check_keywords(mark, [part.name for part in fields(LoadProfile) if part.name != "name"])
    if len(mark.args) > 1 or not all(isinstance(name, str | None) for name in mark.args):
        raise ConfigurationError(f"it takes one profile's name, not {', '.join(map(repr, mark.args))}.")


def _check_experiments(mark: pytest.Mark) -> None:
    _check_keywords(mark, [])
    if not mark.args or not all(isinstance(pattern, str) for pattern in mark.args):
        raise ConfigurationError("it needs patterns of names, as experiments('1cpu-*').")


def _check_keywords(mark: pytest.Mark, valid: list[str]) -> None:
    for name in mark.kwargs:
        if name not in valid:
            allowed = nearest(name, valid) if valid else "it takes none"
            raise ConfigurationError(f"unknown argument {name!r}; {allowed}.")


_CHECKERS: dict[str, Callable[[pytest.Mark], None]] = {
    "slo": _check_slo,
    "load_profile": _check_load_profile,
    "experiments": _check_experiments,
}
