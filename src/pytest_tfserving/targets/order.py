"""What a target is asked to deploy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.experiment import Experiment
    from pytest_tfserving.load.payload import Payload
    from pytest_tfserving.options import Settings


@dataclass(frozen=True, slots=True)
class Order:
    """One deployment to make.

    ``model_path`` gives the SavedModel base folder and ``payload`` the request to be sent, each called only
    where a target needs it, and when; ``folder`` is the target's own, for logs and generated files;
    ``progress`` shows one line of text now and ``note`` one when the run is over; ``failed`` tells whether a
    test of the experiment has failed so far. ``bare`` says whether a bare session is of use. ``namespace`` is
    the cluster's to deploy into, empty for one of its own; ``adjust`` changes Kubernetes manifests in place.
    """

    experiment: Experiment
    settings: Settings
    model_path: Callable[[], Path]
    payload: Callable[[], Payload]
    folder: Path
    progress: Callable[[str], None]
    note: Callable[[str], None]
    failed: Callable[[], bool]
    bare: bool = True
    namespace: str = ""
    adjust: Callable[[list[dict[str, Any]]], Any] = lambda _: None
