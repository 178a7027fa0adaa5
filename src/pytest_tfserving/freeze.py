"""Stops what serves for a moment and lets it go on, so that nothing of it runs beside the baseline."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from pytest_tfserving.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Engines now and then fail to pause a container that is at its CPU limit.
_TRIALS = 3


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
    """Containers that their engine pauses, which takes it some ten milliseconds."""

    def __init__(self, host: str, ids: Sequence[str]) -> None:
        import docker

        self._host = host
        self._ids = ids
        self._api = docker.APIClient(base_url=host, version="auto")

    def freeze(self) -> None:
        """Pause them.

        Raises:
            DeploymentError: when the engine cannot.
        """
        self._each(self._api.pause)

    def thaw(self) -> None:
        """Unpause them.

        Raises:
            DeploymentError: when the engine cannot.
        """
        self._each(self._api.unpause)

    def spec(self) -> dict[str, Any]:
        """Return where they run, and which they are."""
        return {"host": self._host, "ids": list(self._ids)}

    def _each(self, call: Callable[[str], object]) -> None:
        import docker
        import requests

        for each in self._ids:
            try:
                call(each)
            except docker.errors.APIError as error:
                if error.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                    raise DeploymentError(
                        f"the engine cannot pause a container: {error.explanation}"
                    ) from None
            except requests.RequestException as error:
                raise DeploymentError(f"the engine does not answer any more: {error}") from None


def can_be_frozen(servers: Freezer) -> bool:
    """Whether what serves can be stopped; it is, for a moment."""
    return any(_is_frozen_once(servers) for _ in range(_TRIALS))


def _is_frozen_once(servers: Freezer) -> bool:
    try:
        try:
            servers.freeze()
        finally:
            servers.thaw()
    except (DeploymentError, PermissionError):
        return False
    return True


def freezer(spec: dict[str, Any]) -> Freezer:
    """Return the freezer that ``spec`` was made of."""
    return Containers(**spec) if "host" in spec else Processes(**spec)
