"""Writer of whole files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replace the file ``path`` in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that nobody can guess, of a file that must not exist yet: others may write to the folder.
    unfinished = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        # A name that is not valid Unicode must not prevent the report.
        with unfinished.open("x", encoding="utf-8", errors="replace") as file:
            file.write(text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
