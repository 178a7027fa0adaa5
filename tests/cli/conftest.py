"""Models as newcomers bring them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import filelock
import pytest

EXPORT = Path(__file__).parents[1] / "support" / "export_newcomers.py"


@pytest.fixture(scope="session")
def newcomers(shared: Path) -> Path:
    """A folder with a model for each trait, written once for all processes of a run."""
    folder = shared / "newcomers"
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "stubborn").exists():
            done = subprocess.run(
                [sys.executable, EXPORT, folder],
                check=False,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
    return folder
