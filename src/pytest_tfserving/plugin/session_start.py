"""The start of the perf tests' session: with the first option or test of this plugin, never without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.plugin.options import OPTIONS
from pytest_tfserving.plugin.ownership import EXPERIMENT, is_ours
from pytest_tfserving.text.option_names import ALLOWED_INI

if TYPE_CHECKING:
    from pytest_tfserving.plugin.session import PerfSession

_STASH_KEY = pytest.StashKey["PerfSession"]()


def session_of(config: pytest.Config) -> PerfSession:
    """Return the session of a pytest configuration; the first call makes the session.

    Raises:
        pytest.UsageError: for a setting that does not fit.
    """
    perf = begun_session(config)
    if perf is None:
        from pytest_tfserving.plugin.session import PerfSession

        perf = config.stash[_STASH_KEY] = PerfSession(config)
        if not perf.is_worker:
            _register_reports(perf)
    return perf


def begun_session(config: pytest.Config) -> PerfSession | None:
    """Return the session of a pytest configuration; None if nothing has asked for it yet."""
    return config.stash.get(_STASH_KEY, None)


def is_configured(config: pytest.Config) -> bool:
    """Return whether the command line or the ini file has an option of this plugin."""
    given = any(config.getoption(option.dest) is not None for option in OPTIONS)
    return given or any(_has_ini(config, name) for name in (*(each.dest for each in OPTIONS), ALLOWED_INI))


def _has_ini(config: pytest.Config, name: str) -> bool:
    try:
        return config.getini(name) not in (None, [])
    except (TypeError, pytest.UsageError):  # a native value of TOML, of another type than the one declared
        return True


def is_perf_test(test: pytest.Item) -> bool:
    """Return whether a test gets a fixture of this plugin."""
    return any(is_ours(test, fixture) for fixture in (EXPERIMENT, "serving", "load"))


def _register_reports(perf: PerfSession) -> None:
    from pytest_tfserving.plugin.exit_status import ExitStatus
    from pytest_tfserving.plugin.report_files import ReportFiles

    perf.config.pluginmanager.register(ReportFiles(perf), "tfserving-reports")
    perf.config.pluginmanager.register(ExitStatus(perf), "tfserving-exit-status")
