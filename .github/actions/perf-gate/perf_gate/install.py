"""``install``: installs the plugin with pip."""

from __future__ import annotations

import shlex
import subprocess
import sys

from perf_gate.inputs import REQUIREMENTS
from perf_gate.runner import Mistake, input_of, words_of


def run() -> None:
    """Install what the input ``install`` names, else the plugin with what the target needs."""
    arguments = words_of("INSTALL") or [REQUIREMENTS[input_of("TARGET")]]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    if subprocess.run(command, check=False).returncode:
        raise Mistake(f"install: pip could not install {shlex.join(arguments)}; the log has the reason.")
