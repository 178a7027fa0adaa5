"""Real engines for the tests of this folder, which take turns: they would measure each other."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest

from engines import IMAGE, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """No other test of this folder runs meanwhile, not even in another worker of pytest-xdist."""
    with filelock.FileLock(Path(tempfile.gettempdir()) / "pytest-tfserving-e2e.lock"):
        yield


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A Docker Engine that has this project's image."""
    try:
        import docker
    except ModuleNotFoundError as error:
        missing("docker", f"{error.name} is not installed")
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        missing("docker", f"no engine answers ({error})")
    try:
        client.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        missing("docker", f"the engine has no image {IMAGE}; see docs/images.md")
    yield client
    client.close()


@pytest.fixture(scope="session")
def half_plus_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel."""
    return _exported(tmp_path_factory, "-m", "pytest_tfserving.cli", "export-model", "half_plus_two")


@pytest.fixture(scope="session")
def greedy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that takes as much RAM as it is asked to."""
    return _exported(tmp_path_factory, str(Path(__file__).with_name("greedy_model.py")))


def _exported(factory: pytest.TempPathFactory, *program: str) -> Path:
    folder = factory.mktemp("models")
    command = [sys.executable, *program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder
