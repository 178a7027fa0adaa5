"""Runs that a benchmark keeps in a file, so that it can be made in pieces."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Kept:
    """Runs that were made, of earlier pieces too if there is a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._runs: list[dict[str, Any]] = []
        if path and path.exists():
            self._runs = json.loads(path.read_text(encoding="utf-8"))

    def add(self, run: dict[str, Any]) -> None:
        """Keep a run; the file has all of them, or those before, whenever this process is ended."""
        self._runs.append(run)
        if self._path:
            new = self._path.with_suffix(".new")
            rows = ",\n".join(json.dumps(each) for each in self._runs)
            new.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
            new.replace(self._path)

    def of(self, part: str) -> list[dict[str, Any]]:
        """Return the runs of a part of the benchmark."""
        return [run for run in self._runs if run["part"] == part]


class Pace:
    """Lines on runs that were made, with the time that the others will take.

    Args:
        total: the number of runs.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._made = 0
        self._began_s = time.monotonic()

    def made(self, text: str) -> None:
        """Print a line on the next run."""
        self._made += 1
        left_s = (time.monotonic() - self._began_s) * (self._total / self._made - 1)
        print(f"{self._made} of {self._total}: {text}; about {left_s / 60:.0f} min left", flush=True)


@contextlib.contextmanager
def until_interrupted() -> Iterator[None]:
    """Leave the context on Ctrl-C and on SIGTERM, and go on after it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
