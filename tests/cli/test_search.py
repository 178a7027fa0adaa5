"""``pytest-tfserving search``."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import Project


def test_the_command_searches(project: Project) -> None:
    command = [sys.executable, "-m", "pytest_tfserving.cli", "search", "1cpu-1gb-1n-interop1"]
    own = [
        "--slo=max<100s",
        "--most=1",
        "--",
        f"--tfserving-server={project.server}",
        "--tfserving-run-time=2",
    ]
    done = subprocess.run(
        [*command, *own], cwd=project.pytester.path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 is the largest load that held, confirmed, after 2 probes" in done.stdout
