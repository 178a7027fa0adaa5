"""The models and the servers that the server's tests share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest

from model_server.serving import Gate, Server, exported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with the models ``half`` and ``kinds``, written once for all processes of a run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "models"
    folder.mkdir(exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        if not (folder / "done").exists():
            exported("-m", "pytest_tfserving.cli", "export-model", "half_plus_two", str(folder / "half"))
            exported(str(Path(__file__).parent / "export_kinds.py"), str(folder / "kinds"))
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the model ``kinds``, with the default flags."""
    with Server(models / "kinds", tmp_path_factory.mktemp("server") / "log") as started:
        yield started.ready()


@pytest.fixture
def add_version(models: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Puts a version of ``half`` into a base folder of the test's own, whole at once; the base folder."""
    base = tmp_path / "base"

    def add(version: int) -> Path:
        base.mkdir(exist_ok=True)
        unfinished = shutil.copytree(models / "half" / "1", tmp_path / "unfinished")
        unfinished.rename(base / str(version))
        return base

    return add


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gate of the test's own."""
    return Gate(tmp_path)
