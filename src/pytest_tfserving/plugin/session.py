"""The state of the perf tests in one pytest process: settings, experiments, log, locks."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.settings_reader import read_settings
from pytest_tfserving.statistics.noise_memory import NoiseMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_tfserving.calibration.content import Calibration
    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.experiments.experiment import Experiment, Home
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.experiments.yaml_file import ExperimentsFile
    from pytest_tfserving.plugin.identity import ServedModels
    from pytest_tfserving.plugin.slo_update import Update
    from pytest_tfserving.report.comparison import Base
    from pytest_tfserving.report.schedule import Schedule
    from pytest_tfserving.report.schema import SearchData
    from pytest_tfserving.report.store import Entry, ResultStore
    from pytest_tfserving.report.stored_runs import StoredRuns
    from pytest_tfserving.report.terminal import Progress
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.system.machine_lock import MachineLock
    from pytest_tfserving.targets.target import Target

WORKER_FOLDER = "tfserving_folder"
_ON_THIS_MACHINE = ("local", "docker")


@dataclass(frozen=True, slots=True)
class Running:
    """The running deployment, with its experiment and the model folders that it serves."""

    experiment: Experiment
    deployment: Deployment
    models: ServedModels


class PerfSession:
    """The session's state; costly parts are made on first use."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._shares_no_cluster = False
        self.settings = self._for_this_worker(read_settings(config))
        self.interrupted = False
        self.calibration_problem = ""
        # The file in which the session was saved.
        self.saved: Path | None = None
        # The limits that were written into experiments files.
        self.slo_update: Update | None = None
        self.failed: set[Experiment] = set()
        self.given_up: set[Experiment] = set()
        # What is wrong with marks.
        self.mistakes: list[str] = []
        self.item: pytest.Item | None = None
        self._begun: set[str] = set()
        self._home: Home | None = None
        self._running: Running | None = None
        self._schedule: Schedule | None = None
        self._files: dict[Path, ExperimentsFile] = {}
        self._made: dict[tuple[str, ...], list[Experiment]] = {}

    def _for_this_worker(self, settings: Settings) -> Settings:
        """Return the settings of this process: of several clusters each worker gets one."""
        if not self.is_worker or len(settings.contexts) < 2:  # noqa: PLR2004 - several
            return settings
        number = int(self.config.workerinput["workerid"].removeprefix("gw"))  # type: ignore[attr-defined]
        self._shares_no_cluster = True
        return replace(settings, contexts=(settings.contexts[number % len(settings.contexts)],))

    @property
    def is_worker(self) -> bool:
        """True if this process is a worker of pytest-xdist."""
        return hasattr(self.config, "workerinput")

    @cached_property
    def folder_path(self) -> Path:
        """The path of the run's folder, the same in all its processes."""
        if self.is_worker:
            return Path(self.config.workerinput[WORKER_FOLDER])  # type: ignore[attr-defined]
        return Path(tempfile.gettempdir(), f"pytest-tfserving-{uuid4().hex}")

    @property
    def folder(self) -> Path:
        """The run's folder, shared by all its processes; the first process that needs the folder makes it."""
        self.folder_path.mkdir(mode=0o700, exist_ok=True)
        return self.folder_path

    @property
    def has_folder(self) -> bool:
        """True if a process of the run has made the run's folder."""
        return "folder_path" in self.__dict__ and self.folder_path.is_dir()

    @property
    def is_idle(self) -> bool:
        """True if there is nothing to show at the end."""
        return not (self.has_folder or "progress" in self.__dict__ or self.settings.report_files)

    @cached_property
    def log(self) -> ResultStore:
        """The run's log."""
        from pytest_tfserving.report.store import ResultStore

        writer = self.config.workerinput["workerid"] if self.is_worker else "main"  # type: ignore[attr-defined]
        return ResultStore(self.folder, writer)

    def entries(self) -> list[Entry]:
        """Return the results so far, in the order of tables."""
        return self.log.entries() if self.has_folder else []

    def searches(self) -> list[SearchData]:
        """Return the searches for the largest load so far."""
        return self.log.searches() if self.has_folder else []

    def prepare(self, item: pytest.Item) -> None:
        """Make pytest set up a test's deployment again if the one that pytest keeps does not fit the test.

        The model of a deployment can have changed. A test that is run again needs a deployment that has not
        failed, and on which no run of load was given up.
        """
        from pytest_tfserving.plugin.homes import forget, renew
        from pytest_tfserving.plugin.ownership import experiment_of

        self.item = item
        again = item.nodeid in self._begun
        self._begun.add(item.nodeid)
        if experiment := experiment_of(item):
            forget(item, self._home or experiment.home, experiment.home)
            self._home = experiment.home
            if self._is_over(experiment, again=again):
                renew(item.session.items, experiment)

    def _is_over(self, experiment: Experiment, *, again: bool) -> bool:
        running = self.running_of(experiment)
        if running and running.models.have_changed:
            return True
        # Pytest keeps the error of a deployment that did not come to be, too.
        failed = running is None or experiment in self.given_up or bool(running.deployment.failure())
        return again and failed

    @contextmanager
    def running(self, experiment: Experiment, deployment: Deployment, models: ServedModels) -> Iterator[None]:
        """Record a deployment for as long as it runs."""
        self._running = Running(experiment, deployment, models)
        try:
            yield
        finally:
            self._running = None

    def running_of(self, experiment: Experiment) -> Running | None:
        """Return the running deployment if it is the experiment's; else None."""
        return self._running if self._running and self._running.experiment == experiment else None

    def refuse(self, *mistakes: str) -> None:
        """Remember mistakes in a test's marks, for a usage error once all tests are collected.

        A worker of pytest-xdist has no usage errors, so there the mistakes are an error of the collection.

        Raises:
            pytest.Collector.CollectError: in a worker of pytest-xdist.
        """
        if self.is_worker:
            raise pytest.Collector.CollectError("\n".join(mistakes))
        self.mistakes += mistakes

    def notes(self) -> list[str]:
        """Return the lines to show when the run is over."""
        return self.log.notes() if self.has_folder else []

    @cached_property
    def machine_lock(self) -> MachineLock:
        """The lock of the machine."""
        from pytest_tfserving.system.machine_lock import MachineLock

        return MachineLock()

    @cached_property
    def target(self) -> Target:
        """The place where the session's experiments run."""
        from pytest_tfserving.targets import target_of

        return target_of(self.settings)

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
    def calibration(self) -> Calibration | None:
        """This machine's calibration by `pytest-tfserving calibrate`, if servers run here; else None."""
        from pytest_tfserving.calibration.file import calibration_path, read_calibration

        if not self.runs_here:
            return None
        try:
            return read_calibration(calibration_path())
        except ConfigurationError as error:
            self.calibration_problem = f"the default: {error}; run pytest-tfserving calibrate"
            return None

    @property
    def runs_here(self) -> bool:
        """True if servers run on this machine."""
        return self.settings.target in _ON_THIS_MACHINE

    @cached_property
    def stored_runs(self) -> StoredRuns:
        """The stored runs of the project."""
        from pytest_tfserving.report.stored_runs import FOLDER, StoredRuns

        return StoredRuns(self.config.rootpath / FOLDER)

    @cached_property
    def compared_with(self) -> Base | None:
        """The stored run to compare with; None without one.

        Raises:
            ConfigurationError: when there is no such run, and when it is of another machine.
        """
        from pytest_tfserving.plugin.stored import base_of

        return base_of(self)

    @cached_property
    def progress(self) -> Progress:
        """The line that shows the current work."""
        from pytest_tfserving.report.terminal import Progress

        return Progress(self.config, self.settings.ui)

    def begin(self, experiment: Experiment, items: Iterable[pytest.Item]) -> None:
        """Set ``experiment`` as the current one, so that the progress shows its place among all."""
        from pytest_tfserving.plugin.planned import planned
        from pytest_tfserving.report.schedule import Schedule

        if self._schedule is None:
            self._schedule = Schedule(planned(self, items))
            self.progress.schedule = self._schedule
        self._schedule.begin(experiment)

    @contextmanager
    def turn(self, purpose: str) -> Iterator[None]:
        """Hold the locks of the machine and of the cluster for ``purpose``; report the wait for a lock."""
        with ExitStack() as stack:
            if not self._has_cluster_of_its_own:
                length_s = self._schedule.this_left_s if self._schedule else None
                stack.enter_context(self.machine_lock.turn(purpose, self.progress.waiting, length_s))
            stack.enter_context(self.target.held(purpose, self.progress.waiting))
            yield

    @property
    def _has_cluster_of_its_own(self) -> bool:
        return self._shares_no_cluster

    def experiments(self, test: pytest.Item) -> list[Experiment]:
        """Return the experiments of a test, for this session's target.

        Raises:
            ConfigurationError: for a missing, mistaken or empty file, and for a name used twice.
        """
        from pytest_tfserving.experiments.experiment import Home
        from pytest_tfserving.plugin.homes import folder_name
        from pytest_tfserving.targets.common.model_folder import base_folder

        file = self._file(test)
        folder = folder_name(file.path.parent, self.config.rootpath)
        found = {each.name: replace(each, home=Home(folder)) for each in file.experiments}
        for experiment in self._from_hook(test):
            if experiment.name in found:
                raise ConfigurationError(
                    f"pytest_tfserving_experiments returned {experiment.name!r}, a name that is taken."
                )
            found[experiment.name] = experiment
        if not found:
            raise ConfigurationError(f"{file.path}: its list of experiments is empty.")
        return [
            replace(
                each,
                target=self.settings.target,
                model=base_folder(each.model),
                models=tuple(replace(one, model=base_folder(one.model)) for one in each.models),
            )
            for each in found.values()
        ]

    def profiles(self, test: pytest.Item) -> Mapping[str, LoadProfile]:
        """Return the load profiles of a test's experiments file."""
        return self._file(test).profiles

    def close(self) -> None:
        """Delete the run's folder, unless this process is a worker."""
        if self.has_folder and not self.is_worker:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, test: pytest.Item) -> ExperimentsFile:
        from pytest_tfserving.experiments.yaml_file import ExperimentsFile, find_file, read_file

        path = self.settings.experiments
        if path is None:
            try:
                path = find_file(test.path.parent, self.config.rootpath)
            except ConfigurationError:
                if self._from_hook(test):
                    return ExperimentsFile(test.path, (), {})
                raise
        if path not in self._files:
            self._files[path] = read_file(path)
        return self._files[path]

    def _from_hook(self, test: pytest.Item) -> list[Experiment]:
        """Return the experiments of the hook for a test: a conftest's hook is for tests below its folder."""
        from pytest_tfserving.experiments.experiment import Home
        from pytest_tfserving.plugin.homes import conftest_folder

        hook = test.ihook.pytest_tfserving_experiments
        plugins = tuple(impl.plugin_name for impl in hook.get_hookimpls())
        if plugins not in self._made:
            home = Home(conftest_folder(plugins, self.config.rootpath))
            lists = hook(config=self.config)
            self._made[plugins] = [replace(each, home=home) for made in lists for each in made or ()]
        return self._made[plugins]
