"""The SavedModel that is served: its newest version, and the name it is served under."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def latest_version(base_path: Path) -> Path:
    """The folder of the highest version below a SavedModel base folder.

    Raises:
        ConfigurationError: when there is none.
    """
    versions = [path for path in base_path.iterdir() if path.name.isdigit()] if base_path.is_dir() else []
    if not versions:
        problem = "has no version in it" if base_path.is_dir() else "does not exist"
        raise ConfigurationError(
            f"the model folder {base_path} {problem}; a SavedModel lies in a numbered folder below it, "
            f"as {base_path.name}/1/saved_model.pb."
        )
    return max(versions, key=lambda path: int(path.name))


def model_name(model: str) -> str:
    """The name a model is served under: the last part of its path, with what URLs cannot hold replaced."""
    last = model.rstrip("/").rsplit("/", 1)[-1]
    return "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in last) or "model"
