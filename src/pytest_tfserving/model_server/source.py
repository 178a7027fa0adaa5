"""Search of the models' base folders for versions to serve."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_tfserving.model_server.model_config import ModelConfig

_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)
_INT64 = range(-(2**63), 2**63)
_LONGEST_NAME = 40


class FileSystemSource:
    """The base folders of the configured models; ``aspire`` is called with the versions to serve."""

    def __init__(self, aspire: Callable[[str, Mapping[int, Path]], None]) -> None:
        self._aspire = aspire
        self._models: tuple[ModelConfig, ...] = ()
        self._lock = threading.Lock()
        self._complaints: dict[str, str] = {}

    def configure(self, models: Sequence[ModelConfig]) -> None:
        """Look for these models from now on; stop serving all others."""
        with self._lock:
            gone = {model.name for model in self._models} - {model.name for model in models}
            self._models = tuple(models)
            for name in gone:
                self._aspire(name, {})

    def poll(self) -> None:
        """Look once; if a base folder cannot be read, change nothing for any model."""
        with self._lock:
            try:
                found = {model.name: self._versions(model) for model in self._models}
            except _UnreadableError as error:
                self._complain(error.name, str(error))
                return
            for name, paths in found.items():
                self._aspire(name, paths)

    def _versions(self, model: ModelConfig) -> dict[int, Path]:
        children = _children(model)
        chosen = model.policy.chosen(list(children))
        for version in sorted(model.policy.specific - set(children)):
            text = f"version {version} of {model.name} is to be served, but not in {model.base_path}"
            self._complain(f"{model.name}/{version}", text)
        if not chosen:
            text = f"no versions of {model.name} found under {model.base_path}; waiting for one"
            self._complain(model.name, text)
        else:
            self._complaints.pop(model.name, None)
        for version in chosen:
            if len(children[version]) > 1:
                names = ", ".join(path.name for path in children[version])
                text = f"{model.base_path} has version {version} of {model.name} more than once: {names}"
                self._complain(f"{model.name}/{version}", f"{text}; the first is served")
        return {version: children[version][0] for version in chosen}

    def _complain(self, about: str, text: str) -> None:
        if self._complaints.get(about) != text:
            log("warning", text)
            self._complaints[about] = text


class _UnreadableError(Exception):
    """A base folder that cannot be read."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


def _children(model: ModelConfig) -> dict[int, list[Path]]:
    """Return the folders of a model by the version that their names stand for."""
    try:
        paths = sorted(model.base_path.iterdir())
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise _UnreadableError(
            model.name,
            f"Could not find base path {model.base_path} for servable {model.name}: {reason}; "
            "waiting for one",
        ) from None
    found: dict[int, list[Path]] = {}
    for path in paths:
        number = _version(path.name)
        if number is not None:
            found.setdefault(number, []).append(path)
    return found


def _version(name: str) -> int | None:
    """Return the version that a folder's name stands for: 123 for ``00000123``, None for other names."""
    if not _NUMBER.fullmatch(name) or len(name) > _LONGEST_NAME:
        return None
    number = int(name)
    return number if number in _INT64 else None
