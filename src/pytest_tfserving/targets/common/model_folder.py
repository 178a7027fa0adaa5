"""The folder of a SavedModel as a person names it: the base folder, or a version in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.experiment import BYTES_PER_GB
from pytest_tfserving.targets.common.served_model import latest_version

if TYPE_CHECKING:
    from pathlib import Path

# While a model loads, its variables are in memory more than once.
_TIMES_ITS_FILES = 4
_SERVER_GB = 2
_FILES = ("saved_model.pb", "saved_model.pbtxt")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A SavedModel on disk.

    Attributes:
        version_path: the folder with the SavedModel.
        base_path: the folder that a server is given; None if the SavedModel is in no numbered folder.
        note: how the named folder was understood; empty if it is a base folder.
    """

    version_path: Path
    base_path: Path | None
    note: str = ""

    @property
    def served_path(self) -> Path:
        """The folder that a server is given.

        Raises:
            ConfigurationError: if the SavedModel is in no numbered folder.
        """
        if self.base_path is None:
            path = self.version_path
            raise ConfigurationError(
                f"{path} is a SavedModel without a version; TensorFlow Serving reads it from a numbered "
                f"folder: mkdir {path}-served && cp -r {path} {path}-served/1, then give {path}-served."
            )
        return self.base_path


def find_model(path: Path) -> ModelFolder:
    """Return the SavedModel in ``path``: a base folder, a version in it, or the file in a version.

    Raises:
        ConfigurationError: if there is no SavedModel.
    """
    if path.is_file() and path.name in _FILES:
        path = path.parent
    if not _is_saved_model(path):
        return _newest(path)
    # The name of `.` is its own.
    path = path.resolve()
    if not path.name.isdigit():
        return ModelFolder(path, None, f"{path} has no version, which a server needs")
    newest = latest_version(path.parent)
    served = "" if newest == path else f", of which a server takes version {newest.name}"
    return ModelFolder(path, path.parent, f"{path} is a version of the model {path.parent}{served}")


def _newest(path: Path) -> ModelFolder:
    version_path = latest_version(path)
    if not _is_saved_model(version_path):
        raise ConfigurationError(f"{version_path} has no {_FILES[0]}, so it is not a SavedModel.")
    return ModelFolder(version_path, path)


def _is_saved_model(path: Path) -> bool:
    return any((path / name).is_file() for name in _FILES)


def ram_gb(version_path: Path) -> int:
    """Return the GB of RAM that a server of this SavedModel gets: four times its files, and two GB."""
    size = sum(path.stat().st_size for path in version_path.rglob("*") if path.is_file())
    return _SERVER_GB + math.ceil(_TIMES_ITS_FILES * size / BYTES_PER_GB)
