"""Calibration file: written as a whole, checked when it is read.

The file is in the user's cache folder, because it belongs to the machine, not to a project. Reading the file
needs no heavy imports.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pytest_tfserving.errors import ConfigurationError, shown
from pytest_tfserving.system.own_file import read_own, write_own

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.calibration.content import Calibration, Machine
    from pytest_tfserving.text.json_value import JsonValue

# Version of the file, raised whenever older files lack a value.
VERSION = 1
PLACE = "PYTEST_TFSERVING_CALIBRATION"
_WORDS = {"cpu": "its CPU", "cores": "its usable cores", "ram_gb": "its RAM in GB", "id": "its identity"}


def calibration_path() -> Path:
    """Return the path of the file: ``PYTEST_TFSERVING_CALIBRATION``, else in the user's cache folder."""
    from pytest_tfserving.models.store import cache_folder

    own = os.environ.get(PLACE)
    return Path(own) if own else cache_folder() / "calibration.json"


def this_machine() -> Machine:
    """Return the identity of this machine, which a calibration must match."""
    import psutil

    from pytest_tfserving.system.machine import cpu_model, machine_id
    from pytest_tfserving.system.processes import available_cores

    return {
        "cpu": cpu_model(),
        "cores": len(available_cores()),
        "ram_gb": round(psutil.virtual_memory().total / 2**30),
        "id": machine_id(),
    }


def write_calibration(path: Path, content: Mapping[str, object]) -> None:
    """Write a calibration, as a whole or not at all."""
    write_own(path, {"version": VERSION, **content})


def read_calibration(path: Path) -> Calibration | None:
    """Return the calibration of this machine; None if the file does not exist.

    Raises:
        ConfigurationError: if the file is damaged, of another version, or of another machine.
    """
    try:
        content = read_own(path, "calibration")
    except ConfigurationError as error:
        raise ConfigurationError(str(error).removesuffix(".")) from None
    if content is None:
        return None
    version = content.get("version")
    if version != VERSION:
        raise ConfigurationError(f"{path} has version {shown(version)}; this release reads version {VERSION}")
    memory_s = content["noise_memory_s"]
    if not isinstance(memory_s, int | float) or not 0 < memory_s < math.inf:
        raise ConfigurationError(f"{path} has a noise_memory_s of {memory_s!r}, which is not a time above 0")
    if difference := _difference(content["machine"], this_machine()):
        raise ConfigurationError(f"{path} is of another machine: {difference}")
    return cast("Calibration", content)


def _difference(its: JsonValue, ours: Mapping[str, object]) -> str:
    """Return the first difference between two machines in words; empty if they are the same."""
    for name, value in ours.items():
        other = its.get(name) if isinstance(its, dict) else None
        if other != value:
            return f"{_WORDS[name]} was {other!r}, here it is {value!r}".replace("'", "")
    return ""
