"""The models this package can make, exported once and kept in the user's cache."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, missing_extra, nearest
from pytest_tfserving.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = {
    "resnet50": "pytest_tfserving.models.resnet50",
    "half_plus_two": "pytest_tfserving.models.half_plus_two",
}
# Raised whenever an exporter changes what it writes.
_EDITION = 1


def cache_folder() -> Path:
    """Where exported models are kept: ``PYTEST_TFSERVING_CACHE``, else the user's cache folder."""
    import platformdirs

    own = os.environ.get("PYTEST_TFSERVING_CACHE")
    return Path(own) if own else platformdirs.user_cache_path("pytest-tfserving")


def exported(name: str, progress: Callable[[str], None]) -> Path:
    """The SavedModel base folder of a model of ours, exported with random weights if it is not there yet.

    Safe when several processes want it at once: one exports, the others wait.

    Raises:
        ConfigurationError: for an unknown name, and where TensorFlow is not installed.
    """
    import filelock

    check_name(name)
    target = cache_folder() / f"{name}-tf{tensorflow_version()}-{_EDITION}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            progress(f"exporting {name}, once; it is kept in {target}")
            _export_beside(name, target)
    return target


def check_name(name: str) -> None:
    """Raise a ConfigurationError unless ``name`` is a model of ours."""
    if name not in MODELS:
        raise ConfigurationError(
            f"no model {name!r}; {nearest(name, sorted(MODELS))}, or a folder, as ./{name}."
        )


def tensorflow_version() -> str:
    """The installed TensorFlow's version, read without importing it."""
    for distribution in ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise missing_extra("TensorFlow", "embedded", "exporting a model")


def _export_beside(name: str, target: Path) -> None:
    """Export in another process and move the whole folder into place, so that no half model is ever seen."""
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest_tfserving.cli", "export-model", name, str(unfinished)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = one_line((done.stderr.strip().splitlines() or ["no output"])[-1])
            raise ConfigurationError(f"the model {name!r} could not be exported: {last}")
        unfinished.chmod(0o755)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
