"""Parametrisation of tests by experiments, and the lines about them in pytest's header."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin import marks
from pytest_tfserving.plugin.ownership import EXPERIMENT, experiment_of, is_ours
from pytest_tfserving.plugin.session import PerfSession

if TYPE_CHECKING:
    from pytest_tfserving.experiments.experiment import Experiment


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Parametrise a test by every experiment that matches its marks, with experiments' names as ids.

    Raises:
        pytest.Collector.CollectError: for a missing or mistaken experiments file.
    """
    perf, test = PerfSession.of(metafunc.config), metafunc.definition
    try:
        experiments = perf.experiments(test)
    except ConfigurationError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    if wrong := list(marks.mistakes(test)):
        perf.refuse(*wrong)
        return
    try:
        wanted = marks.wanted(experiments, test.iter_markers("experiments"))
    except ConfigurationError as error:
        perf.refuse(f"{test.nodeid}: mark experiments: {error}")
        return
    metafunc.parametrize(EXPERIMENT, wanted, ids=str, indirect=True, scope="session")


def experiments_of(items: list[pytest.Item]) -> list[Experiment]:
    """Return the experiments that the collected tests load, in their order."""
    loading = [item for item in items if is_ours(item, "load")]
    return list(dict.fromkeys(filter(None, map(experiment_of, loading))))


def check_target(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse experiments that the target cannot take, before anything is deployed or sent.

    A worker of pytest-xdist has no usage errors: there the test fails, for the same cause.

    Raises:
        pytest.UsageError: for the first experiment of them.
    """
    perf = PerfSession.of(config)
    deploying = (item for item in items if is_ours(item, "load") or is_ours(item, "serving"))
    experiments = dict.fromkeys(filter(None, map(experiment_of, deploying)))
    if perf.is_worker or not experiments:
        return
    if cause := next(filter(None, (perf.target.refusal(each) for each in experiments)), None):
        raise pytest.UsageError(cause)


def summary(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Return the lines about the experiments, the target and the noise memory; none without perf tests.

    Raises:
        pytest.UsageError: when the target cannot be used.
    """
    experiments = experiments_of(items)
    if not experiments:
        return []
    perf = PerfSession.of(config)
    try:
        where = perf.target.describe()
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None
    count = "1 experiment" if len(experiments) == 1 else f"{len(experiments)} experiments"
    return [
        f"tfserving: {count}, target {perf.settings.target}: {where}{_against(perf)}",
        f"tfserving: {perf.noise_memory}",
    ]


def _against(perf: PerfSession) -> str:
    """Return the baseline server in words; empty without one."""
    return f", in turn with the baseline server {perf.settings.against}" if perf.settings.against else ""
