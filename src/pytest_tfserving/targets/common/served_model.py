"""SavedModel that is served: its newest version and its files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfserving.experiments.experiment import Experiment

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")


def rest_paths(experiment: Experiment) -> dict[str, str]:
    """Return the path of each of an experiment's models in REST, by the model's name."""
    return {name: f"/v1/models/{name}" for name in experiment.model_names}


def in_the_image(names: Sequence[str]) -> str:
    """Return in words that models are those in an image."""
    return f"{', '.join(names)} in the image"


def latest_version(base_path: Path) -> Path:
    """Return the folder of the highest version in a SavedModel base folder.

    Raises:
        ConfigurationError: if the folder has no version, or does not exist.
    """
    versions = [path for path in base_path.iterdir() if path.name.isdigit()] if base_path.is_dir() else []
    if not versions and any((base_path / name).is_file() for name in SAVED_MODEL_FILES):
        raise ConfigurationError(without_base(base_path))
    if not versions:
        problem = "has no version in it" if base_path.is_dir() else "does not exist"
        raise ConfigurationError(
            f"the model folder {base_path} {problem}; a SavedModel lies in a numbered folder below it, "
            f"as {base_path.name}/1/saved_model.pb."
        )
    return max(versions, key=lambda path: int(path.name))


def without_base(path: Path) -> str:
    """Return what to do with a folder that is a SavedModel, and no base folder of versions."""
    if path.name.isdigit():
        return (
            f"{path} is a version of a model, and a server takes the newest version in {path.parent}; give "
            f"{path.parent}, and remove the versions that are not to be served."
        )
    return (
        f"{path} is a SavedModel without a version; TensorFlow Serving reads it from a numbered folder: "
        f"mkdir {path}-served && cp -r {path} {path}-served/1, then give {path}-served."
    )


def contents(base_path: Path, start: Path | None = None) -> Iterator[Path]:
    """Yield every file and folder of a model folder, or of ``start`` in it; follow links.

    Raises:
        ConfigurationError: if a link leads out of the folder or nowhere, or an entry is neither a file nor a
            folder.
    """
    base = base_path.resolve()
    yield from _walked(start or base_path, base, (base,) if start else ())


def check_mounted(base_path: Path) -> None:
    """Check that the newest version can be read in a container that mounts only this model folder.

    Raises:
        ConfigurationError: if a link leads out of the folder. The message names the first such link.
    """
    for path in contents(base_path, latest_version(base_path)):
        if path.is_symlink() and _leads_elsewhere(path, base_path.resolve()):
            raise ConfigurationError(
                f"{one_line(str(path))} is a link to {one_line(str(path.readlink()))}, which a container "
                "does not have; make it a relative one inside of the model folder, or put the file there."
            )


def _leads_elsewhere(link: Path, base: Path) -> bool:
    """Return whether the path in a link leaves the folder, even if the path's end is in the folder."""
    way = link.readlink()
    return way.is_absolute() or not Path(os.path.normpath(link.parent.resolve() / way)).is_relative_to(base)


def _walked(path: Path, base: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Yield ``path`` and its contents; ``above`` are the folders above it, to detect loops."""
    place = _inside(path, base)
    if place in above:
        raise _refused(path, "is a link to a folder that it lies in")
    mode = place.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _refused(path, "is neither a file nor a folder")
    yield path
    if stat.S_ISDIR(mode):
        for each in sorted(path.iterdir()):
            yield from _walked(each, base, (*above, place))


def _inside(path: Path, base: Path) -> Path:
    """Return the path in ``base`` that ``path`` leads to.

    Raises:
        ConfigurationError: if ``path`` leads elsewhere.
    """
    try:
        place = path.resolve(strict=True)
    except FileNotFoundError:
        raise _refused(path, "is a link that leads nowhere") from None
    except (OSError, RuntimeError):  # RuntimeError before Python 3.13
        raise _refused(path, "is a link that leads to itself") from None
    if not place.is_relative_to(base):
        raise _refused(path, f"is a link that leads out of the model folder, to {place}")
    return place


def _refused(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"{one_line(str(path))} {problem}; put what is to be served into the folder, or remove it."
    )
