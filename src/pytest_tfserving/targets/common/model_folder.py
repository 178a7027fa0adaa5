"""The folder of a SavedModel as a person names it: the base folder, or a version in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.experiment import BYTES_PER_GB
from pytest_tfserving.targets.common.served_model import SAVED_MODEL_FILES, latest_version, without_base

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.experiments.experiment import Shape

# While a model loads, its variables are in memory more than once.
_TIMES_ITS_FILES = 4
_SERVER_GB = 2


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
            raise ConfigurationError(without_base(self.version_path))
        return self.base_path


def find_model(path: Path) -> ModelFolder:
    """Return the SavedModel in ``path``: a base folder, a version in it, or the file in a version.

    Raises:
        ConfigurationError: if there is no SavedModel.
    """
    if path.is_file() and path.name in SAVED_MODEL_FILES:
        path = path.parent
    if not is_saved_model(path):
        return _newest(path)
    # The name of `.` is its own.
    path = path.resolve()
    if not path.name.isdigit():
        return ModelFolder(path, None, f"{path} has no version, which a server needs")
    newest = latest_version(path.parent)
    served = "" if newest == path else f", of which a server takes version {newest.name}"
    return ModelFolder(path, path.parent, f"{path} is a version of the model {path.parent}{served}")


def base_folder(model: str) -> str:
    """Return the base folder if ``model`` is the path of the newest version in it; else ``model``."""
    path = Path(model)
    is_version = "/" in model and path.name.isdigit() and is_saved_model(path)
    is_newest = is_version and latest_version(path.parent) == path
    return str(path.parent) if is_newest else model


def _newest(path: Path) -> ModelFolder:
    version_path = latest_version(path)
    if not is_saved_model(version_path):
        raise ConfigurationError(f"{version_path} has no {SAVED_MODEL_FILES[0]}, so it is not a SavedModel.")
    return ModelFolder(version_path, path)


def is_saved_model(path: Path) -> bool:
    """Return whether a folder is itself a SavedModel, as a version of a model is."""
    return any((path / name).is_file() for name in SAVED_MODEL_FILES)


def check_memory(base_paths: Mapping[str, Path], shape: Shape) -> None:
    """Check that the graphs and variables of all models of a server fit into a node's RAM together.

    Args:
        base_paths: the base folder of each model, by the model's name.
        shape: the shape with the node.

    Raises:
        ConfigurationError: if they do not fit, or a folder has no version.
    """
    needed = sum(map(_loaded_bytes, map(latest_version, base_paths.values())))
    if needed > shape.ram_bytes:
        names, size = ", ".join(base_paths), f"{needed / BYTES_PER_GB:.1f} GB of graphs and variables"
        have = f"models {names} have {size} together" if len(base_paths) > 1 else f"model {names} has {size}"
        raise ConfigurationError(
            f"the {have}, more than the {shape.ram_gb} GB of a node; "
            "give the experiment a shape with more RAM."
        )


def _loaded_bytes(version_path: Path) -> int:
    """Return the size of the files that a server loads into memory."""
    graphs = [version_path / name for name in SAVED_MODEL_FILES]
    return sum(path.stat().st_size for path in (*graphs, *version_path.glob("variables/*")) if path.is_file())


def ram_gb(version_path: Path) -> int:
    """Return the GB of RAM that a server of this SavedModel gets: four times its files, and two GB."""
    size = sum(path.stat().st_size for path in version_path.rglob("*") if path.is_file())
    return _SERVER_GB + math.ceil(_TIMES_ITS_FILES * size / BYTES_PER_GB)
