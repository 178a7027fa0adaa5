"""Pytest's hooks, in the order in which pytest calls them; each hook delegates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.plugin.fixtures import (
    experiment,
    load,
    request_payload,
    serving,
    serving_model,
    serving_namespace,
)
from pytest_tfserving.plugin.options import add_options
from pytest_tfserving.plugin.ownership import EXPERIMENT, experiment_of, give_way, needs_experiments
from pytest_tfserving.plugin.session_start import begun_session, is_configured, is_perf_test, session_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from _pytest.terminal import TerminalReporter
    from xdist.workermanage import WorkerController

__all__ = ["experiment", "load", "request_payload", "serving", "serving_model", "serving_namespace"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the plugin's own hooks."""
    from pytest_tfserving.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks; read the settings if there are any."""
    from pytest_tfserving.plugin.marks import DESCRIPTIONS

    for description in DESCRIPTIONS:
        config.addinivalue_line("markers", description)
    give_way(config)
    if is_configured(config):
        session_of(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Send a pytest-xdist worker the path of the run's folder; check first what workers cannot report.

    Raises:
        pytest.UsageError: when the session cannot be compared with the stored run.
    """
    from pytest_tfserving.plugin.session import WORKER_FOLDER
    from pytest_tfserving.plugin.stored import check_base

    perf = session_of(node.config)
    check_base(perf)
    node.workerinput[WORKER_FOLDER] = str(perf.folder_path)


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise every test that gets this plugin's experiments, after all other plugins."""
    if is_perf_test(metafunc.definition):
        session_of(metafunc.config)
    if needs_experiments(metafunc):
        from pytest_tfserving.plugin.parametrize import parametrize

        parametrize(metafunc)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Set the home of each experiment before pytest orders the tests; check marks, and the chosen tests.

    Raises:
        pytest.UsageError: for mistakes in the marks, for tests that the target cannot take, and when the
            session cannot be compared with the stored run.
    """
    perf = begun_session(config)
    if perf is None:
        yield
        return
    from pytest_tfserving.plugin.homes import settle
    from pytest_tfserving.plugin.marks import check
    from pytest_tfserving.plugin.parametrize import check_target
    from pytest_tfserving.plugin.stored import check_base

    settle(items)
    yield
    if perf.mistakes:
        raise pytest.UsageError(*perf.mistakes)
    check(items)
    check_target(config, items)
    if not perf.is_worker and any(map(is_perf_test, items)):
        check_base(perf)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Return the lines about the experiments and the target."""
    if begun_session(config) is None:
        return []
    from pytest_tfserving.plugin.parametrize import summary

    return summary(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Make pytest set up the deployment again if it is not what the test needs."""
    perf = begun_session(item.config)
    if perf and EXPERIMENT in getattr(item, "fixturenames", ()):
        perf.prepare(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember the experiment of a failed test; let a NOT JUDGED skip point to the test, not the plugin."""
    report = yield
    if report.passed or not (experiment := experiment_of(item)):
        return report
    from pytest_tfserving.plugin.plain_assertions import mark_run, shorten_summary

    shorten_summary(report, call)
    mark_run(item, call, report)
    if report.failed:
        session_of(item.config).failed.add(experiment)
    elif isinstance(report.longrepr, tuple) and "NOT JUDGED" in report.longrepr[2]:
        path, line = item.location[0], item.location[1]
        report.longrepr = (path, (line or 0) + 1, report.longrepr[2])
    return report


def pytest_terminal_summary(
    terminalreporter: TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Write the table of results."""
    perf = begun_session(config)
    if perf is None or perf.is_idle:
        return
    from pytest_tfserving.plugin.summary import write_summary

    write_summary(terminalreporter, config, interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the run's folder."""
    if perf := begun_session(config):
        perf.close()
