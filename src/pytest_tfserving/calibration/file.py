"""The calibration file: which machine it is of, written as a whole, read with care.

It lives in the user's cache folder, since it is the machine's and no project's. A run of pytest reads it
without loading anything heavy.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import ConfigurationError, shown
from pytest_tfserving.own_file import read_own, write_own

if TYPE_CHECKING:
    from collections.abc import Mapping

# Raised whenever a calibration of before no longer says what is needed.
VERSION = 1
PLACE = "PYTEST_TFSERVING_CALIBRATION"
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_WORDS = {"cpu": "its CPU", "cores": "its usable cores", "ram_gb": "its RAM in GB", "id": "its identity"}


def calibration_path() -> Path:
    """Return where the calibration is kept: ``PYTEST_TFSERVING_CALIBRATION``, else in the user's cache."""
    from pytest_tfserving.models.store import cache_folder

    own = os.environ.get(PLACE)
    return Path(own) if own else cache_folder() / "calibration.json"


def this_machine() -> dict[str, Any]:
    """Return what a calibration must have in common with the machine that uses it."""
    import psutil

    from pytest_tfserving.circumstances import cpu_model
    from pytest_tfserving.processes import available_cores

    return {
        "cpu": cpu_model(),
        "cores": len(available_cores()),
        "ram_gb": round(psutil.virtual_memory().total / 2**30),
        "id": _machine_id(),
    }


def _machine_id() -> str:
    """Return a digest of what stays the same over reboots; machine-id(5) asks not to show the id itself."""
    text = platform.node()
    for path in _MACHINE_IDS:
        with suppress(OSError):
            text = Path(path).read_text(encoding="ascii").strip() or text
            break
    return hashlib.sha256(f"pytest-tfserving {text}".encode()).hexdigest()[:16]


def write_calibration(path: Path, content: Mapping[str, Any]) -> None:
    """Keep a calibration, as a whole or not at all."""
    write_own(path, {"version": VERSION, **content})


def read_calibration(path: Path) -> dict[str, Any] | None:
    """Return the calibration of this machine; None where there is none.

    Raises:
        ConfigurationError: for one that is cut off or was changed, of another version or of another machine.
    """
    try:
        content = read_own(path, "calibration")
    except ConfigurationError as error:
        raise ConfigurationError(str(error).removesuffix(".")) from None
    if content is None:
        return None
    version = content.get("version")
    if version != VERSION:
        raise ConfigurationError(f"{path} is of version {shown(version)}, this version reads {VERSION}")
    memory_s = content["noise_memory_s"]
    if not isinstance(memory_s, int | float) or not 0 < memory_s < math.inf:
        raise ConfigurationError(f"{path} has a noise_memory_s of {memory_s!r}, which is no time above 0")
    if difference := _difference(content["machine"], this_machine()):
        raise ConfigurationError(f"{path} is of another machine: {difference}")
    return content


def _difference(its: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return the first thing in which two machines differ, in words; empty when there is none."""
    for name, value in ours.items():
        other = its.get(name) if isinstance(its, dict) else None
        if other != value:
            return f"{_WORDS[name]} was {other!r}, here it is {value!r}".replace("'", "")
    return ""
