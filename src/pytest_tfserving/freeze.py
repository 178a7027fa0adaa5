"""Stops what serves for a moment and lets it go on, so that nothing of it runs beside the baseline."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Freezer(Protocol):
    """Something that can be stopped and let go on; what is gone meanwhile is no error."""

    def freeze(self) -> None:
        """Stop it."""

    def thaw(self) -> None:
        """Let it go on, whether it is stopped or not."""

    def spec(self) -> dict[str, Any]:
        """Return what `freezer` makes the same one of in another process."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Processes that may be sent signals; a negative number is a process group, as kill(2) has it."""

    pids: Sequence[int]

    def freeze(self) -> None:
        """Stop them."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._send(signal.SIGCONT)

    def spec(self) -> dict[str, Any]:
        """Return the numbers."""
        return {"pids": list(self.pids)}

    def _send(self, number: signal.Signals) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Containers:
    """Containers that their engine pauses: some ten times slower than a signal."""

    def __init__(self, host: str, ids: Sequence[str]) -> None:
        import docker

        self._host = host
        self._ids = ids
        self._api = docker.APIClient(base_url=host, version="auto")
        self._refused = docker.errors.APIError

    def freeze(self) -> None:
        """Pause them."""
        for each in self._ids:
            with contextlib.suppress(self._refused):
                self._api.pause(each)

    def thaw(self) -> None:
        """Unpause them."""
        for each in self._ids:
            with contextlib.suppress(self._refused):
                self._api.unpause(each)

    def spec(self) -> dict[str, Any]:
        """Return where they run, and which they are."""
        return {"host": self._host, "ids": list(self._ids)}


def freezer(spec: dict[str, Any]) -> Freezer:
    """Return the freezer that ``spec`` was made of."""
    return Containers(**spec) if "host" in spec else Processes(**spec)
