"""The models and requests of experiments, as far as mistakes in them are found when tests are collected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError

if TYPE_CHECKING:
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.experiments.model_mix import MixedModel
    from pytest_tfserving.plugin.session import PerfSession
# Larger payload sets take longer to read than a collection should.
_MOST_BYTES = 1 << 20


def mistake(perf: PerfSession, experiment: Experiment) -> str:
    """Return what is wrong with an experiment's models or requests; empty if nothing is.

    A file or folder that is missing may be made by a fixture, so the test itself reports it.
    """
    for each in experiment.served_models:
        try:
            _check_model(perf, experiment, each.model)
            _check_payload(experiment, each)
        except ConfigurationError as error:
            model = f"model {each.name!r}: " if experiment.models else ""
            return f"experiment {experiment.name!r}: {model}{error}"
    return ""


def _check_model(perf: PerfSession, experiment: Experiment, model: str) -> None:
    from pytest_tfserving.models.store import check_name
    from pytest_tfserving.targets.common.served_model import latest_version

    if not perf.runs_here or any(map(experiment.home.standing_for, ("serving_model", "serving"))):
        return
    if "/" not in model:
        check_name(model)
    elif Path(model).exists():
        latest_version(Path(model))


def _check_payload(experiment: Experiment, mixed: MixedModel) -> None:
    from pytest_tfserving.experiments.payload_paths import REQUEST, is_lines, is_set_path
    from pytest_tfserving.protocols.payload import default_payload
    from pytest_tfserving.protocols.payload_files import set_of

    payload = mixed.payload
    # Generated requests need the model: the test itself reports a mistake.
    if not isinstance(payload, str) or experiment.home.standing_for("request_payload"):
        return
    if is_set_path(payload):
        if is_lines(payload) and Path(payload).is_file() and Path(payload).stat().st_size <= _MOST_BYTES:
            set_of(Path(payload))
        return
    # The request of a bundled model is made of a picture, and has no mistake.
    if Path(payload).exists() if payload.endswith(REQUEST) else "/" in mixed.model:
        default_payload(mixed.model, payload)
