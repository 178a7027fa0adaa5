"""Freezing of servers for a moment, so that they do not run at the same time as the baseline."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from pytest_tfserving.deployment.deployment import Freezer
from pytest_tfserving.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_tfserving.targets.baseline.messages import ContainersSpec, FreezerSpec, ProcessesSpec

# Engines sometimes fail to pause a container that is at its CPU limit.
_TRIALS = 3


class ServerFreezer(Freezer, Protocol):
    """A freezer that another process can make again."""

    def spec(self) -> FreezerSpec:
        """Return plain values from which `freezer` makes the same object in another process."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Processes on this machine; a negative number is a process group, as in kill(2)."""

    pids: Sequence[int]

    def freeze(self) -> None:
        """Stop the processes."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the processes go on."""
        self._send(signal.SIGCONT)

    def spec(self) -> ProcessesSpec:
        """Return the process ids."""
        return {"pids": list(self.pids)}

    def _send(self, number: signal.Signals) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Containers:
    """Containers, which their engine pauses; a pause takes some ten milliseconds."""

    def __init__(self, host: str, ids: Sequence[str]) -> None:
        import docker

        self._host = host
        self._ids = ids
        self._api = docker.APIClient(base_url=host, version="auto")

    def freeze(self) -> None:
        """Pause the containers.

        Raises:
            DeploymentError: when the engine cannot pause them.
        """
        self._each(self._api.pause)

    def thaw(self) -> None:
        """Unpause the containers.

        Raises:
            DeploymentError: when the engine cannot unpause them.
        """
        self._each(self._api.unpause)

    def spec(self) -> ContainersSpec:
        """Return the engine's address and the containers' ids."""
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
                raise DeploymentError(f"the engine no longer answers: {error}") from None


def freezable(servers: ServerFreezer) -> ServerFreezer | None:
    """Return ``servers`` if they can be frozen, else None."""
    return servers if can_be_frozen(servers) else None


def can_be_frozen(servers: Freezer) -> bool:
    """Freeze the servers for a moment; return whether that is possible."""
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


def freezer(spec: FreezerSpec) -> ServerFreezer:
    """Return the freezer whose ``spec`` method returned ``spec``."""
    return Containers(**spec) if "host" in spec else Processes(**spec)
