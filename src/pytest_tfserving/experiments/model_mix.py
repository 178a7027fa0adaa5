"""The models that one server has together, each with its requests. Frozen data, no I/O."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, shown

if TYPE_CHECKING:
    from pytest_tfserving.experiments.payload_choice import FilePayload, GeneratedPayload


@dataclass(frozen=True, slots=True)
class MixedModel:
    """A model of a server that may have several.

    Attributes:
        name: the name under which the model is served, as `model_name` makes it.
        model: name of a model of this package, or path of a SavedModel base folder, which has a ``/``.
        payload: the requests of the model, as `Experiment` has it.
        weight: how often the model is called, relative to the others.

    Raises:
        ConfigurationError: for another name than `model_name` makes, and a weight that is not above 0.
    """

    name: str
    model: str
    payload: str | FilePayload | GeneratedPayload = "json"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if model_name(self.name) != self.name:
            raise ConfigurationError(
                f"{shown(self.name)} is not a model's name, which has letters, digits, '_', '.' and '-'."
            )
        if not 0 < self.weight < math.inf:
            raise ConfigurationError(
                f"the weight of model {self.name!r} must be above 0, not {self.weight:g}."
            )


def model_name(model: str) -> str:
    """Return the name under which a model is served: the last part of its path, made valid in URLs."""
    last = model.rstrip("/").rsplit("/", 1)[-1]
    if last in (".", ".."):
        last = Path(os.path.normpath(Path(model).absolute())).name
    return "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in last) or "model"
