"""Description of this machine."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path


def cpu_model() -> str:
    """Return the name of the CPU model."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
