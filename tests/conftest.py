"""A project of a user: experiments, a model folder, a stand-in server, tests that load it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest
import yaml

from harness import FAKE_SERVER, Project
from idle_cluster import IdleCluster
from kubeconfigs import config
from pytest_tfserving.load.generator import build_result
from pytest_tfserving.models.store import exported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

EXPORT_NEWCOMERS = Path(__file__).parent / "support" / "export_newcomers.py"


def pytest_configure() -> None:
    """Take Ctrl-C where it is ignored, as in a background job, whose child processes would ignore it, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers `-n auto` means: tests wait for servers and for load half of their time."""
    return 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Let workers that are done take tests from others: some tests take a hundred times longer than most."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(autouse=True, scope="session")
def installed_plugins() -> Iterator[None]:
    """Let runs of pytest in this process look for plugins where there are some.

    Each run reads the metadata of all packages twice, and takes a third of its time for it.
    """
    found = [
        each
        for each in importlib.metadata.distributions()
        if any(entry.group == "pytest11" for entry in each.entry_points)
    ]
    search = importlib.metadata.distributions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            importlib.metadata,
            "distributions",
            lambda **where: search(**where) if where else iter(found),
        )
        yield


@pytest.fixture
def add_property(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Adds a property to the test's report; pytest's own fixture warns of the usual kind of JUnit XML."""
    return lambda name, value: request.node.user_properties.append((name, value))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of a run share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def model_cache(shared: Path) -> Path:
    """Where the models of this package are exported to, once a run."""
    return shared / "models"


@pytest.fixture(scope="session")
def half_plus_two(model_cache: Path) -> Path:
    """A SavedModel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_TFSERVING_CACHE", str(model_cache))
        return exported("half_plus_two", print)


@pytest.fixture(scope="session")
def newcomers(shared: Path) -> Path:
    """A folder with a model for each trait, written once for all processes of a run."""
    folder = shared / "newcomers"
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "stubborn").exists():
            done = subprocess.run(
                [sys.executable, EXPORT_NEWCOMERS, folder],
                check=False,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_cache: Path
) -> Project:
    """A project with one small experiment and one test; measurements of other tests don't make it wait."""
    server = pytester.path / "fake_server"
    server.write_text(f"#!{sys.executable}\n{FAKE_SERVER.read_text(encoding='utf-8')}", encoding="utf-8")
    server.chmod(0o755)
    (pytester.path / "models" / "half" / "1").mkdir(parents=True)
    (pytester.path / "request.json").write_text('{"instances": [1.0, 2.0, 5.0]}', encoding="utf-8")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    for name in [name for name in os.environ if name == "CI" or name.startswith(("PYTEST_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_TFSERVING_CALIBRATION", str(tmp_path / "calibration.json"))
    monkeypatch.setenv("PYTEST_TFSERVING_CACHE", str(model_cache))
    # Load of a moment has figures, too.
    monkeypatch.setattr(build_result, "SHORTEST_WINDOW_S", 0.2)
    made = Project(pytester, monkeypatch, server)
    made.write()
    return made


@pytest.fixture
def newcomer(project: Project, newcomers: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project that has models and no tests."""
    folder = project.pytester.path
    for name in ("experiments.yaml", "test_perf.py", "request.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "models")
    shutil.copytree(newcomers, folder / "models")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cluster(project: Project) -> Iterator[IdleCluster]:
    """A cluster that the project's kubeconfig leads to, where nothing ever starts."""
    path = project.pytester.path / "kubeconfig"
    project.monkeypatch.setenv("KUBECONFIG", str(path))
    with IdleCluster() as made:
        path.write_text(yaml.safe_dump(config(server=made.address)))
        yield made
