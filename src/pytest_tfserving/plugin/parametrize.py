"""Parametrisation of tests by experiments, and the lines about them in pytest's header."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin import marks
from pytest_tfserving.plugin.inputs import mistake
from pytest_tfserving.plugin.ownership import EXPERIMENT, experiment_of, is_ours
from pytest_tfserving.plugin.planned import header
from pytest_tfserving.plugin.session_start import session_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.plugin.session import PerfSession


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Parametrise a test by every experiment that matches its marks, with experiments' names as ids.

    Raises:
        pytest.Collector.CollectError: for a missing or mistaken experiments file.
    """
    perf, test = session_of(metafunc.config), metafunc.definition
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
    """Refuse experiments that the target cannot take, or whose model or request has a mistake.

    Nothing has been deployed or sent by then.

    A worker of pytest-xdist has no usage errors: there the test fails, for the same cause.

    Raises:
        pytest.UsageError: for the first experiment of them.
    """
    perf = session_of(config)
    deploying: dict[Experiment, list[pytest.Item]] = {}
    for item in items:
        if (is_ours(item, "load") or is_ours(item, "serving")) and (experiment := experiment_of(item)):
            deploying.setdefault(experiment, []).append(item)
    if perf.is_worker or not deploying:
        return
    problems = (
        perf.target.refusal(each) or mistake(perf, each) or _refusal(perf, each, tests)
        for each, tests in deploying.items()
    )
    if cause := next(filter(None, problems), None):
        raise pytest.UsageError(cause)


def _refusal(perf: PerfSession, experiment: Experiment, tests: Iterable[pytest.Item]) -> str:
    """Return what cannot be measured of several models together; empty if all can be."""
    from pytest_tfserving.plugin.several_models import refusal

    marked = itertools.chain.from_iterable(map(marks.slos, tests))
    return refusal(experiment, (*experiment.slo, *marked), perf.settings.against)


def summary(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Return the lines about experiments, target, load and noise memory; none without perf tests.

    Raises:
        pytest.UsageError: when the target cannot be used.
    """
    experiments = experiments_of(items)
    if not experiments:
        return []
    perf = session_of(config)
    try:
        where = perf.target.describe()
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None
    count = "1 experiment" if len(experiments) == 1 else f"{len(experiments)} experiments"
    return [
        f"tfserving: {count}, target {perf.settings.target}: {where}{_against(perf)}",
        *(f"tfserving: {line}" for line in header(perf, items)),
        f"tfserving: {perf.noise_memory}",
    ]


def _against(perf: PerfSession) -> str:
    """Return the baseline server in words; empty without one."""
    return f", in turn with the baseline server {perf.settings.against}" if perf.settings.against else ""
