"""A private folder of this user in the temporary folder, which no other user can enter."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = 0o077


def private_folder(temporary: Path) -> Path:
    """Return the user's private folder in ``temporary``; make the folder if it is missing.

    Raises:
        ConfigurationError: when the path is not a private folder of this user, or cannot be made.
    """
    path = temporary / f"pytest-tfserving-of-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        problem = _problem(path.lstat())
    except FileExistsError:
        problem = "is not a folder"
    except OSError as error:
        problem = f"cannot be made ({error.strerror})"
    if problem:
        raise ConfigurationError(
            f"{path} {problem}, so this user's measurements cannot wait for each other; remove it, or set "
            "TMPDIR to a folder of your own."
        )
    return path


def _problem(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if found.st_uid != os.getuid():
        return "belongs to another user"
    return "can be entered by other users" if found.st_mode & _OTHERS else ""
