"""Running servers, and what they serve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest

from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def models(shared: Path) -> Path:
    """A folder with the models half_plus_two and many, written once for all processes of a run."""
    folder = shared / "served"
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "many").exists():
            done = subprocess.run(
                [sys.executable, "-m", "model_server.export_models", str(folder)],
                check=False,
                capture_output=True,
                text=True,
                cwd=TESTS,
            )
            assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def half(models: Path) -> Iterator[Server]:
    """The model half_plus_two."""
    with Server("half_plus_two", models / "half_plus_two") as server:
        yield server


@pytest.fixture(scope="session")
def kinds(models: Path) -> Iterator[Server]:
    """A model with a signature for each kind of tensor and answer."""
    with Server("kinds", models / "kinds") as server:
        yield server


@pytest.fixture(scope="session")
def many(models: Path) -> Iterator[Server]:
    """A model with several inputs, outputs and types."""
    with Server("many", models / "many") as server:
        yield server
