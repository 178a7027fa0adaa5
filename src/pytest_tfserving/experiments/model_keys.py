"""Reader of ``models`` in the YAML file: several models that one server has together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.experiments.experiment import name_of_model
from pytest_tfserving.experiments.model_mix import MixedModel, model_name
from pytest_tfserving.experiments.payload_keys import weight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_tfserving.experiments.payload_choice import FilePayload, GeneratedPayload
    from pytest_tfserving.experiments.yaml_file import Value

MODELS = "models"
_KEYS = ["model", "name", "payload", "weight"]
_OF_ONE_MODEL = ("model", "payload")


def with_defaults(defaults: Mapping[str, Value], own: Mapping[str, Value]) -> dict[str, Value]:
    """Return the keys of an experiment, with the defaults in the place of missing ones.

    Several models of an experiment take the place of a default for a single model, and the other way round.

    Raises:
        ConfigurationError: if the keys are those of several models and of a single one.
    """
    replaced = _OF_ONE_MODEL if MODELS in own else (MODELS,) if "model" in own else ()
    keys = {**{name: each for name, each in defaults.items() if name not in replaced}, **own}
    if MODELS in keys and (other := next((name for name in _OF_ONE_MODEL if name in keys), "")):
        raise keys[other].error(
            f"{other!r} is for an experiment with a single model, and this one has {MODELS!r}; give each of "
            f"them its own, as {{model: resnet50, payload: json}}."
        )
    return keys


def models_of(
    value: Value,
    model_of: Callable[[Value], str],
    payload_of: Callable[[Value | None], str | FilePayload | GeneratedPayload],
) -> tuple[MixedModel, ...]:
    """Return the models of a list.

    Args:
        value: the list.
        model_of: returns the name of a model, or the path of its folder.
        payload_of: returns a payload; given None, the default.

    Raises:
        ConfigurationError: for a mistake in the list.
    """
    if not isinstance(value.raw, list) or not value.raw:
        raise value.error(f"{MODELS} must be a list of models, each as {{model: resnet50, weight: 2}}.")
    found: dict[str, MixedModel] = {}
    for each in value.raw:
        made = _model(each, model_of, payload_of)
        if made.name in found:
            raise each.error(f"two models have the name {made.name!r}; give one of them another 'name'.")
        found[made.name] = made
    return tuple(found.values())


def _model(
    value: Value,
    model_of: Callable[[Value], str],
    payload_of: Callable[[Value | None], str | FilePayload | GeneratedPayload],
) -> MixedModel:
    keys = value.mapping(f"one of the {MODELS}", _KEYS)
    if "model" not in keys:
        raise value.error(f"one of the {MODELS} has no 'model', its name or its folder.")
    model = model_of(keys["model"])
    name = keys["name"].text("name") if "name" in keys else model_name(name_of_model(model))
    weight = weight_of(keys["weight"]) if "weight" in keys else 1.0
    payload = payload_of(keys.get("payload"))
    return value.parsed(lambda _: MixedModel(name, model, payload, weight))
