"""The environment of a result: deployment, machine, versions and commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import psutil

from pytest_tfserving.system.machine import cpu_model, machine_id

if TYPE_CHECKING:
    from pytest_tfserving.deployment.deployment import Deployment

_PACKAGES = ("pytest-tfserving", "pytest", "locust", "gevent", "numpy", "tensorflow", "tensorflow-cpu")


def environment(deployment: Deployment) -> dict[str, object]:
    """Return the deployment's own facts, the machine, the versions, the commit and the load average."""
    return {**deployment.environment, **_of_this_machine(), "load_average_1min": psutil.getloadavg()[0]}


def this_machine() -> dict[str, object]:
    """Return the facts of this machine; the id is a digest."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "ram_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "id": machine_id(),
    }


@cache
def _of_this_machine() -> dict[str, object]:
    return {
        "machine": this_machine(),
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": _commit(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _commit() -> str | None:
    """Return the commit of the current folder, with a ``+`` if files have changed since; None without git."""
    with suppress(OSError, subprocess.SubprocessError):
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],  # noqa: S607 - from PATH
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        return described.stdout.strip()
    return None
