"""Baseline of a deployment on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.targets.baseline.freeze import can_be_frozen
from pytest_tfserving.targets.baseline.session import (
    BaselinePlan,
    BaselineReady,
    BaselineSession,
    SessionPulses,
    start_sessions,
)
from pytest_tfserving.targets.common.served_model import latest_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.targets.baseline.freeze import ServerFreezer
    from pytest_tfserving.targets.common.placement import Placement
    from pytest_tfserving.targets.common.request import DeploymentRequest
    from pytest_tfserving.text.json_value import JsonValue


class BaselineSessions:
    """The baseline's processes, one for each replica, which start while the replicas start.

    A baseline is missing if the replicas cannot be frozen, TensorFlow is not installed, or TensorFlow cannot
    load the model. SLOs that need a baseline are then NOT JUDGED.

    Args:
        order: the request for the deployment.
        placement: the cores of the replicas and of the load generator.
        servers: returns the object that freezes the replicas.
    """

    def __init__(
        self, order: DeploymentRequest, placement: Placement, servers: Callable[[], ServerFreezer]
    ) -> None:
        self._timeout_s = order.settings.ready_timeout_s
        self._servers = servers
        self._sessions: list[BaselineSession] = []
        self._ready: list[BaselineReady] | None = None
        if order.bare and _tensorflow_is_installed():
            version_path = latest_version(order.model_path())
            body = order.folder / "bare_body"
            body.write_bytes(order.payload().body)
            start_cores = tuple(sorted(placement.generator))
            options = order.experiment.options
            plans = [
                BaselinePlan(version_path, body, options, cores, start_cores) for cores in placement.replicas
            ]
            self._sessions = start_sessions(plans, order.folder)

    def pulses(self, clock_path: Path) -> SessionPulses | None:
        """Return the pulses of a run of load, not yet begun; None without a baseline.

        Args:
            clock_path: the file of the load clock.
        """
        if not self._wait_until_ready():
            return None
        servers = self._servers()
        return SessionPulses(self._sessions, servers, clock_path) if can_be_frozen(servers) else None

    def right_answer(self) -> JsonValue:
        """Return the model's output in process; None if it is not known, or differs from call to call."""
        ready = self._wait_until_ready()
        if not ready or not ready[0].deterministic:
            return None
        return next(iter(ready[0].answer.values()))

    def close(self) -> None:
        """End the baseline's processes."""
        for session in self._sessions:
            session.close()

    def _wait_until_ready(self) -> list[BaselineReady]:
        if self._ready is None:
            try:
                self._ready = [session.wait_until_ready(self._timeout_s) for session in self._sessions]
            except DeploymentError:
                self._ready = []
        return self._ready


def _tensorflow_is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("tensorflow") is not None
