"""Bundled models, exported once and kept in the user's cache."""

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
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = {
    "resnet50": "pytest_tfserving.models.resnet50",
    "half_plus_two": "pytest_tfserving.models.half_plus_two",
}
# Number of the exporters' edition, raised whenever an exporter writes another model.
_EDITION = 1


def cache_folder() -> Path:
    """Return the folder of exported models: ``PYTEST_TFSERVING_CACHE``, else the user's cache folder."""
    import platformdirs

    own = os.environ.get("PYTEST_TFSERVING_CACHE")
    return Path(own) if own else platformdirs.user_cache_path("pytest-tfserving")


def exported(name: str, progress: Callable[[str], None]) -> Path:
    """Return the SavedModel base folder of a bundled model; export it with random weights if it is missing.

    If several processes need the model at once, one process exports it and the others wait.

    Args:
        name: the name of the model.
        progress: called with a line of text before an export.

    Raises:
        ConfigurationError: if there is no such model, TensorFlow is not installed, or the export fails.
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
    """Check that ``name`` is a bundled model.

    Raises:
        ConfigurationError: if ``name`` is not a bundled model.
    """
    if name not in MODELS:
        raise ConfigurationError(
            f"no model {name!r}; {nearest(name, sorted(MODELS))}, or a folder, as ./{name}."
        )


def tensorflow_version() -> str:
    """Return the version of the installed TensorFlow, without importing TensorFlow.

    Raises:
        ConfigurationError: if TensorFlow is not installed.
    """
    for distribution in ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise missing_extra("TensorFlow", "embedded", "exporting a model")


def _export_beside(name: str, target: Path) -> None:
    """Export in another process, then rename the folder, so that no incomplete model is ever visible."""
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
