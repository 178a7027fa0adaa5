"""Models as newcomers bring them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import filelock
import pytest

TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def newcomers(shared: Path) -> Path:
    """A folder with a model for each trait, written once for all processes of a run."""
    folder = shared / "newcomers"
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "stubborn").exists():
            done = subprocess.run(
                [sys.executable, "-m", "cli.export_newcomers", str(folder)],
                check=False,
                capture_output=True,
                text=True,
                cwd=TESTS,
            )
            assert done.returncode == 0, done.stderr
    return folder
