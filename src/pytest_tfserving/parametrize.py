"""Parametrises tests by experiments, and says which were chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving import marks
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.session import PerfSession

if TYPE_CHECKING:
    from pytest_tfserving.experiment import Experiment


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give a test every experiment its marks let through, under the experiment's name."""
    perf = PerfSession.of(metafunc.config)
    try:
        experiments = perf.experiments(metafunc.definition)
    except ConfigurationError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    wanted = marks.wanted(experiments, metafunc.definition.iter_markers("experiments"))
    metafunc.parametrize("experiment", wanted, ids=str, indirect=True, scope="session")


def experiments_of(items: list[pytest.Item]) -> list[Experiment]:
    """The experiments that the collected tests run for, in their order."""
    loading = [item for item in items if "load" in getattr(item, "fixturenames", ())]
    if not loading:
        return []
    from pytest_tfserving.homes import experiment_of

    return list(dict.fromkeys(filter(None, map(experiment_of, loading))))


def summary(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """What is about to be measured, where, and given what noise; nothing without perf tests."""
    experiments = experiments_of(items)
    if not experiments:
        return []
    from pytest_tfserving.measure import describe_target

    perf = PerfSession.of(config)
    try:
        where = describe_target(perf.settings)
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None
    count = "1 experiment" if len(experiments) == 1 else f"{len(experiments)} experiments"
    return [
        f"tfserving: {count}, target {perf.settings.target}: {where}",
        f"tfserving: {perf.noise_memory}",
    ]
