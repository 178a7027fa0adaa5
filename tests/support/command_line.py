"""The program ``pytest-tfserving``, run in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_tfserving.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
