"""The bare sessions that a deployment on this machine is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfserving.bare import BarePlan, BareReady, BareSession, measure_slice
from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.targets.served_model import latest_version

if TYPE_CHECKING:
    from pytest_tfserving.load.result import BareRates
    from pytest_tfserving.targets.order import Order
    from pytest_tfserving.targets.placement import Placement


class BareSessions:
    """The bare session of each replica, started beside it so that their start-ups overlap.

    Where TensorFlow is missing or cannot load the model there is none, and what needs one is NOT JUDGED.
    """

    def __init__(self, order: Order, placement: Placement) -> None:
        self._timeout_s = order.settings.ready_timeout_s
        self._sessions: list[BareSession] = []
        self._ready: list[BareReady] | None = None
        if order.bare and _tensorflow_is_installed():
            version_path = latest_version(order.model_path())
            body = order.folder / "bare_body"
            body.write_bytes(order.payload().body)
            for index, cores in enumerate(placement.replicas):
                log = order.folder / f"bare{index}.log"
                start_cores = tuple(sorted(placement.generator))
                plan = BarePlan(version_path, body, order.experiment.options, cores, start_cores)
                self._sessions.append(BareSession(plan, log))

    def slice(self) -> BareRates | None:
        """One slice on all replicas' cores at once."""
        return measure_slice(self._sessions) if self._wait_until_ready() else None

    def right_answer(self) -> Any:
        """What the model answers in process, None when that is not known or never the same twice."""
        ready = self._wait_until_ready()
        if not ready or not ready[0].deterministic:
            return None
        return next(iter(ready[0].answer.values()))

    def close(self) -> None:
        """End the sessions' processes."""
        for session in self._sessions:
            session.close()

    def _wait_until_ready(self) -> list[BareReady]:
        if self._ready is None:
            try:
                self._ready = [session.wait_until_ready(self._timeout_s) for session in self._sessions]
            except DeploymentError:
                self._ready = []
        return self._ready


def _tensorflow_is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("tensorflow") is not None
