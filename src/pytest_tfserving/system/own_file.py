"""Files that only this plugin writes, for a later run; a digest shows whether a file was changed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.text.text_file import MissingFileError, json_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfserving.text.json_value import JsonObject

_MOST_BYTES = 1 << 24


def write_own(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON values to a file, completely or not at all."""
    from pytest_tfserving.system.files import write_whole

    write_whole(path, json.dumps({**content, "digest": _digest(content)}, allow_nan=False) + "\n")


def read_own(path: Path, kind: str) -> JsonObject | None:
    """Return the content of a file of this ``kind``; None if there is no such file.

    Raises:
        ConfigurationError: when the file cannot be read, or was not written by this version.
    """
    try:
        content = json_of(path, kind, _MOST_BYTES)
    except MissingFileError:
        return None
    if not isinstance(content, dict) or content.pop("digest", None) != _digest(content):
        raise ConfigurationError(
            f"the {kind} {path} is not what this version of pytest-tfserving has written there."
        )
    return content


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
