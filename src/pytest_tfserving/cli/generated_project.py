"""A generated project with one test, run by pytest in this process without the caller's settings."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_tfserving.report.store import Entry
    from pytest_tfserving.text.json_value import JsonValue

# Each has options or plugins of the caller.
_CALLERS = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
_AUTOLOAD = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"


@dataclass
class GeneratedProject:
    """A folder with experiments, one load profile and one test.

    Attributes:
        folder: the folder, with the files that the experiments name.
        experiments: the experiments' entries in the YAML file.
        profile: the fields of their load profile.
        test: the code of the test module.
    """

    folder: Path
    experiments: Sequence[Mapping[str, JsonValue]]
    profile: Mapping[str, JsonValue]
    test: str

    def run(self, *options: str) -> Outcome:
        """Run the test with options of pytest, and return its outcome.

        Pytest writes to the terminal as usual, without its header and its summary of failures.
        """
        document = {
            "profiles": {"command": self.profile},
            "experiments": [{**each, "profile": "command"} for each in self.experiments],
        }
        # JSON is YAML, too, and writes every text so that it is read as the same text.
        (self.folder / "experiments.yaml").write_text(json.dumps(document, indent=2), encoding="utf-8")
        (self.folder / "test_generated.py").write_text(self.test, encoding="utf-8")
        (self.folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        return _run(self.folder, options)


@dataclass
class Outcome:
    """The outcome of a pytest run; a plugin of this run.

    Attributes:
        code: pytest's exit code.
        entries: the results with their verdicts.
        failures: the texts of failed tests, and of mistakes that were found before any test.
        interrupted: whether the user ended the run.
    """

    code: int = 0
    entries: list[Entry] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    interrupted: bool = False

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Do not show the path of the generated test, which is in a temporary folder."""
        if reporter := config.pluginmanager.get_plugin("terminalreporter"):
            reporter.showfspath = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the text of a failure."""
        if report.failed:
            self.failures.append(report.longreprtext)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep the text of a mistake."""
        if report.failed:
            self.failures.append(report.longreprtext)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember that the user ended the run; pytest ends itself with the same hook and exit code."""
        self.interrupted = not isinstance(excinfo.value, pytest.Session.Interrupted)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keep the results, which are deleted with the session."""
        from pytest_tfserving.plugin.session_start import session_of

        self.entries = session_of(session.config).entries()


def _run(folder: Path, options: Sequence[str]) -> Outcome:
    from pytest_tfserving import plugin

    own = (
        *("-c", str(folder / "pytest.ini"), f"--rootdir={folder}", f"--confcutdir={folder}"),
        *("-p", "no:cacheprovider", "--import-mode=importlib", "-o", "console_output_style=classic"),
        *("--no-header", "-rN", "--tb=no", str(folder / "test_generated.py")),
    )
    outcome = Outcome()
    with _without_settings():
        outcome.code = int(pytest.main([*own, *options], [plugin, outcome]))
    return outcome


@contextlib.contextmanager
def _without_settings() -> Iterator[None]:
    """Take the caller's options and plugins away, as the environment has them."""
    kept = {name: os.environ.pop(name) for name in (*_CALLERS, _AUTOLOAD) if name in os.environ}
    os.environ[_AUTOLOAD] = "1"
    try:
        yield
    finally:
        del os.environ[_AUTOLOAD]
        os.environ.update(kept)
