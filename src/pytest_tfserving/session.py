"""What one pytest process knows of its perf tests: settings, experiments, log, turn."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.noise_memory import NoiseMemory
from pytest_tfserving.options import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_tfserving.experiment import Experiment
    from pytest_tfserving.experiments_file import ExperimentsFile
    from pytest_tfserving.lane import Lane
    from pytest_tfserving.load.profile import LoadProfile
    from pytest_tfserving.report.runlog import Entry, RunLog
    from pytest_tfserving.report.terminal import Progress

STASH_KEY = pytest.StashKey["PerfSession"]()
WORKER_FOLDER = "tfserving_folder"
_ON_THIS_MACHINE = ("local", "docker")


class PerfSession:
    """Made at configure time; everything that costs something is made when it is first asked for."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.settings = self._for_this_worker(Settings.from_config(config))
        self.interrupted = False
        self.calibration_problem = ""
        # Names of experiments a test of which failed, and what is wrong with marks.
        self.failed: set[str] = set()
        self.mistakes: list[str] = []
        self._files: dict[Path, ExperimentsFile] = {}
        self._made: list[Experiment] | None = None

    def _for_this_worker(self, settings: Settings) -> Settings:
        """Of several clusters each worker takes one."""
        if not self.is_worker or len(settings.contexts) < 2:  # noqa: PLR2004 - several
            return settings
        number = int(self.config.workerinput["workerid"].removeprefix("gw"))  # type: ignore[attr-defined]
        settings.kept["all_contexts"] = settings.contexts
        return replace(settings, contexts=(settings.contexts[number % len(settings.contexts)],))

    @classmethod
    def of(cls, config: pytest.Config) -> PerfSession:
        """The session of a pytest configuration."""
        return config.stash[STASH_KEY]

    @property
    def is_worker(self) -> bool:
        """Whether this is a worker of pytest-xdist."""
        return hasattr(self.config, "workerinput")

    @cached_property
    def folder_path(self) -> Path:
        """The path of the run's folder, the same in all its processes."""
        if self.is_worker:
            return Path(self.config.workerinput[WORKER_FOLDER])  # type: ignore[attr-defined]
        return Path(tempfile.gettempdir(), f"pytest-tfserving-{uuid4().hex}")

    @property
    def folder(self) -> Path:
        """The run's folder, shared by all its processes; whoever needs it first makes it."""
        self.folder_path.mkdir(mode=0o700, exist_ok=True)
        return self.folder_path

    @property
    def has_folder(self) -> bool:
        """Whether any process of the run has needed its folder yet."""
        return "folder_path" in self.__dict__ and self.folder_path.is_dir()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to show at the end."""
        return not (self.has_folder or "progress" in self.__dict__ or self.settings.report_files)

    @cached_property
    def log(self) -> RunLog:
        """The run's log."""
        from pytest_tfserving.report.runlog import RunLog

        writer = self.config.workerinput["workerid"] if self.is_worker else "main"  # type: ignore[attr-defined]
        return RunLog(self.folder, writer)

    def entries(self) -> list[Entry]:
        """What is measured so far, in the order of every table."""
        return self.log.entries() if self.has_folder else []

    def searches(self) -> list[dict[str, Any]]:
        """The searches for the largest load so far."""
        return self.log.searches() if self.has_folder else []

    def refuse(self, *mistakes: str) -> None:
        """Remember what is wrong with a test's marks, for a usage error once all tests are collected.

        A worker of pytest-xdist has no usage errors: there it is an error of the collection.
        """
        if self.is_worker:
            raise pytest.Collector.CollectError("\n".join(mistakes))
        self.mistakes += mistakes

    def notes(self) -> list[str]:
        """Lines to show when the run is over."""
        return self.log.notes() if self.has_folder else []

    @cached_property
    def lane(self) -> Lane:
        """The machine's turn."""
        from pytest_tfserving.lane import Lane

        return Lane()

    @cached_property
    def noise_memory(self) -> NoiseMemory:
        """The noise memory that verdicts rest on."""
        if self.settings.noise_memory:
            return self.settings.noise_memory
        if not self.calibration:
            return NoiseMemory(source=self.calibration_problem or "the default")
        measured_at = self.calibration["measured_at"]
        return NoiseMemory(self.calibration["noise_memory_s"], f"calibrated {measured_at[:10]}")

    @cached_property
    def calibration(self) -> dict[str, Any] | None:
        """What `pytest-tfserving calibrate` has measured of this machine, if servers run on it."""
        from pytest_tfserving.calibration.file import calibration_path, read_calibration

        if self.settings.target not in _ON_THIS_MACHINE:
            return None
        try:
            return read_calibration(calibration_path())
        except ConfigurationError as error:
            self.calibration_problem = f"the default: {error}; run pytest-tfserving calibrate"
            return None

    @cached_property
    def progress(self) -> Progress:
        """The line that shows what is going on."""
        from pytest_tfserving.report.terminal import Progress

        return Progress(self.config, self.settings.ui)

    @contextmanager
    def turn(self, purpose: str) -> Iterator[None]:
        """The turn of the machine and of the cluster, taken for ``purpose``; who waits for one says so."""
        from pytest_tfserving.measure import cluster_turn

        with ExitStack() as stack:
            if not self._has_cluster_of_its_own:
                stack.enter_context(self.lane.turn(purpose, self._say))
            stack.enter_context(cluster_turn(self.settings, purpose, self._say))
            yield

    @property
    def _has_cluster_of_its_own(self) -> bool:
        return self.is_worker and len(self.settings.kept.get("all_contexts", ())) > 1

    def _say(self, text: str) -> None:
        from pytest_tfserving.lane import say_on_stderr

        if not self.is_worker:
            self.progress(text)
            return
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            say_on_stderr(text)

    def experiments(self, test_path: Path) -> list[Experiment]:
        """The experiments of the tests in ``test_path``, for this session's target.

        Raises:
            ConfigurationError: for a missing, mistaken or empty file, and for a name used twice.
        """
        found = {each.name: each for each in self._file(test_path).experiments}
        for experiment in self._from_hook():
            if experiment.name in found:
                raise ConfigurationError(
                    f"pytest_tfserving_experiments returned {experiment.name!r}, a name that is taken."
                )
            found[experiment.name] = experiment
        if not found:
            path = self._file(test_path).path
            raise ConfigurationError(f"{path}: its list of experiments is empty.")
        return [replace(each, target=self.settings.target) for each in found.values()]

    def profiles(self, test_path: Path) -> Mapping[str, LoadProfile]:
        """The load profiles of the experiments file."""
        return self._file(test_path).profiles

    def close(self) -> None:
        """Forget the run's folder, which only the process that made it may do."""
        if self.has_folder and not self.is_worker:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, test_path: Path) -> ExperimentsFile:
        from pytest_tfserving.experiments_file import ExperimentsFile, find_file, read_file

        path = self.settings.experiments
        if path is None:
            try:
                path = find_file(test_path.parent, self.config.rootpath)
            except ConfigurationError:
                if self._from_hook():
                    return ExperimentsFile(test_path, (), {})
                raise
        if path not in self._files:
            self._files[path] = read_file(path)
        return self._files[path]

    def _from_hook(self) -> list[Experiment]:
        if self._made is None:
            lists = self.config.hook.pytest_tfserving_experiments(config=self.config)
            self._made = [experiment for made in lists for experiment in made or ()]
        return self._made
