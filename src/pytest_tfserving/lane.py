"""One measurement at a time on one machine: the turn that every deployment waits for."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_S = 0.25
_SAY_AGAIN_S = 30.0


class Lane:
    """The lock of this machine and user; taking it again in the process that has it is free."""

    def __init__(self, folder: Path | None = None) -> None:
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
        path = (folder or Path(tempfile.gettempdir())) / f"pytest-tfserving-{user}.lock"
        self._lock = filelock.FileLock(path, thread_local=False)
        self._holder = path.with_suffix(".holder")

    @contextmanager
    def turn(self, purpose: str, say: Callable[[str], None]) -> Iterator[None]:
        """Wait for the turn, saying whom for, and keep it inside the context."""
        said_at = 0.0
        while True:
            try:
                self._lock.acquire(timeout=_LOOK_S)
                break
            except filelock.Timeout:
                if time.monotonic() - said_at > _SAY_AGAIN_S:
                    say(f"{purpose} waits for its turn on this machine: {self._held_by()}")
                    said_at = time.monotonic()
        try:
            self._holder.write_text(json.dumps({"pid": os.getpid(), "purpose": purpose}), encoding="utf-8")
            yield
        finally:
            self._lock.release()

    def _held_by(self) -> str:
        try:
            holder = json.loads(self._holder.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "another measurement is running"
        return f"process {holder['pid']} is measuring {holder['purpose']}"


def say_on_stderr(text: str) -> None:
    """Say something from a worker, whose standard output nobody sees."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
