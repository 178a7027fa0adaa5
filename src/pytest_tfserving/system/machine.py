"""Description of this machine."""

from __future__ import annotations

import hashlib
import platform
from contextlib import suppress
from pathlib import Path

_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


def cpu_model() -> str:
    """Return the name of the CPU model."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_class() -> str:
    """Return the class of this machine, which others may share: its CPU model and its usable cores."""
    from pytest_tfserving.system.processes import available_cores

    cores = len(available_cores())
    return f"{cpu_model()}, {cores} core{'' if cores == 1 else 's'}"


def machine_id() -> str:
    """Return a digest of the machine's id; machine-id(5) says that the id itself must not be shown."""
    text = platform.node()
    for path in _MACHINE_IDS:
        with suppress(OSError):
            text = Path(path).read_text(encoding="ascii").strip() or text
            break
    return hashlib.sha256(f"pytest-tfserving {text}".encode()).hexdigest()[:16]
