"""Experiments with several models: their folders, and what cannot be measured of several models together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.settings import Against
    from pytest_tfserving.slo.language import Slo


def folders_of(experiment: Experiment, given: object) -> dict[str, Path]:
    """Return the base folder of each model by the model's name.

    Args:
        experiment: the experiment.
        given: the value of the fixture ``serving_model``.

    Raises:
        ConfigurationError: if the value is not the folders of the experiment's models.
    """
    if not experiment.models:
        if isinstance(given, Mapping):
            raise ConfigurationError(
                f"the fixture serving_model gives {shown(given)}, and experiment {experiment.name!r} has a "
                "single model; let the fixture return its folder."
            )
        return {experiment.model_names[0]: Path(given)}  # type: ignore[arg-type] # the user's fixture returns it
    if not isinstance(given, Mapping) or {*given} != {*experiment.model_names}:
        names = ", ".join(experiment.model_names)
        raise ConfigurationError(
            f"the fixture serving_model gives {shown(given)}, and experiment {experiment.name!r} has several "
            f"models; let the fixture return a dict with the folder of each: {names}."
        )
    return {name: Path(given[name]) for name in experiment.model_names}


def refusal(experiment: Experiment, slos: Iterable[Slo], against: Against | None) -> str:
    """Return what cannot be measured of an experiment's models together; empty if all can be.

    Args:
        experiment: the experiment.
        slos: the SLOs of the experiment and of its tests.
        against: the baseline server; None without one.
    """
    if not experiment.models:
        return ""
    several = f"experiment {experiment.name!r} has several models, {', '.join(experiment.model_names)}"
    if against and against.kind == "model":
        return (
            f"--tfserving-against={against}: {several}, and this baseline server would have one; compare "
            "with server:, image:, url: or experiment:."
        )
    if relative := next((slo for slo in slos if slo.relative), None):
        return (
            f"SLO {relative.text!r} is relative to a single model in process, and {several}; give the "
            "latency or the rate itself as the limit, or measure each model in an experiment of its own."
        )
    return ""
