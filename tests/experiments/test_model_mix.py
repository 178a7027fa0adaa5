"""Several models in a server, and their names."""

from __future__ import annotations

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import PROFILES
from pytest_tfserving.experiments.model_mix import MixedModel, model_name


@pytest.mark.parametrize(
    ("model", "name"),
    [("resnet50", "resnet50"), ("./a/my model", "my-model"), ("/x/y/", "y"), ("/", "model")],
)
def test_a_model_is_served_under_a_name_urls_can_hold(model: str, name: str) -> None:
    assert name == model_name(model)


@pytest.mark.parametrize(
    ("name", "weight", "cause"),
    [
        ("a/b", 1.0, "'a/b' is not a model's name, which has letters, digits, '_', '.' and '-'."),
        ("a", 0.0, "the weight of model 'a' must be above 0, not 0."),
        ("a", float("nan"), "the weight of model 'a' must be above 0, not nan."),
    ],
)
def test_a_model_of_a_hook_is_checked(name: str, weight: float, cause: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MixedModel(name, "resnet50", weight=weight)

    assert str(caught.value) == cause


def test_two_models_of_one_name_are_refused() -> None:
    models = (MixedModel("a", "resnet50"), MixedModel("a", "half_plus_two"))

    with pytest.raises(ConfigurationError, match="experiment 'e' has two models of the name 'a'"):
        Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "", "", PROFILES["quick"], models=models)
