"""Baseline of a deployment on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.protocols.answer import AnswerForm
from pytest_tfserving.protocols.prepared_requests import RequestWriter
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

    from pytest_tfserving.protocols.payload_set import PayloadSet
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
        self._sample: list[int] = []
        if order.bare and _tensorflow_is_installed():
            (base_path,) = order.model_paths().values()
            version_path = latest_version(base_path)
            payloads = order.payloads()
            requests, self._sample = _written_sample(payloads, order.folder / "bare_requests")
            start_cores = tuple(sorted(placement.generator))
            options = order.experiment.options
            plans = [
                BaselinePlan(version_path, requests, options, cores, start_cores, payloads.sampled_kinds)
                for cores in placement.replicas
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

    def right_answers(self) -> dict[int, JsonValue]:
        """Return the model's outputs in process by the index of the request, where they are known.

        Outputs that differ from call to call are not known.
        """
        ready = self._wait_until_ready()
        if not ready or not ready[0].deterministic:
            return {}
        answers = zip(self._sample, ready[0].answers, strict=False)
        return {index: next(iter(answer.values())) for index, answer in answers}

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


def _written_sample(payloads: PayloadSet, path: Path) -> tuple[Path, list[int]]:
    """Write a sample of the requests to a file; return its path, and the indices of the sample."""
    sample = payloads.sample
    with path.open("wb") as file:
        writer = RequestWriter(file)
        for index, weight in sample.items():
            payload = payloads[index].payload
            writer.add(payload.body, AnswerForm(payload.key, payload.rows), weight)
        writer.close()
    return path, list(sample)


def _tensorflow_is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("tensorflow") is not None
