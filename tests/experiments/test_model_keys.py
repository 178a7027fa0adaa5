"""Several models of an experiment in the YAML file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.model_mix import MixedModel
from pytest_tfserving.experiments.payload_choice import FilePayload
from pytest_tfserving.experiments.yaml_file import experiments_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfserving.experiments.experiment import Experiment


def experiment(folder: Path, text: str, defaults: str = "{}") -> Experiment:
    content = f"defaults: {defaults}\nexperiments:\n- {text}\n"
    return experiments_of(folder / "experiments.yaml", content).experiments[0]


def test_each_model_has_a_name_a_payload_and_a_weight(tmp_path: Path) -> None:
    text = (
        "{models: [{model: resnet50, weight: 3}, {model: ./m/fraud/2, payload: a.json}, "
        "{model: ./m/fraud, name: other, payload: {file: b.jsonl}}]}"
    )

    found = experiment(tmp_path, text)

    assert found.models == (
        MixedModel("resnet50", "resnet50", "json", 3.0),
        MixedModel("fraud", str(tmp_path / "m/fraud/2"), str(tmp_path / "a.json")),
        MixedModel("other", str(tmp_path / "m/fraud"), FilePayload(str(tmp_path / "b.jsonl"))),
    )
    assert found.model_names == ("resnet50", "fraud", "other")
    assert found.name == "resnet50-fraud-other"
    assert found.configuration["model"] == "resnet50, fraud, other"
    assert str(found.configuration["payload"]).startswith("resnet50: json (weight 3), fraud: ")


def test_a_single_model_is_the_only_one(tmp_path: Path) -> None:
    found = experiment(tmp_path, "{model: ./my model, payload: jpeg}")

    assert not found.models
    assert found.served_models == (MixedModel("my-model", str(tmp_path / "my model"), "jpeg"),)


@pytest.mark.parametrize(
    ("own", "defaults", "names"),
    [
        ("{models: [{model: a}]}", "{model: b, payload: jpeg}", ("a",)),
        ("{model: b}", "{models: [{model: a}]}", ("b",)),
        ("{shape: 1cpu-1gb-1n}", "{models: [{model: a}]}", ("a",)),
    ],
)
def test_the_models_of_an_experiment_replace_those_of_defaults(
    tmp_path: Path, own: str, defaults: str, names: tuple[str, ...]
) -> None:
    assert experiment(tmp_path, own, defaults).model_names == names


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{models: []}", "models must be a list of models, each as {model: resnet50, weight: 2}."),
        ("{models: {model: a}}", "models must be a list of models"),
        ("{models: [a]}", "one of the models must be a mapping, not 'a'."),
        ("{models: [{name: a}]}", "one of the models has no 'model', its name or its folder."),
        (
            "{models: [{model: a, wieght: 1}]}",
            "unknown key 'wieght' in one of the models; did you mean 'weight'?",
        ),
        ("{models: [{model: a, weight: 0}]}", "a weight must be a number above 0, not 0."),
        ("{models: [{model: a, weight: -1}]}", "a weight must be a number above 0, not -1."),
        (
            "{models: [{model: a}, {model: ./b/a}]}",
            "two models have the name 'a'; give one of them another 'name'.",
        ),
        ("{models: [{model: a, name: b/c}]}", "'b/c' is not a model's name, which has letters, digits, "),
        ("{models: [{model: 'http://a'}]}", "model is a name or a path on this machine, not an address."),
        (
            "{models: [{model: a}], model: b}",
            "'model' is for an experiment with a single model, and this one has",
        ),
        ("{models: [{model: a}], payload: json}", "'payload' is for an experiment with a single model"),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(cause)) as caught:
        experiment(tmp_path, text)

    assert str(caught.value).startswith(f"{tmp_path}/experiments.yaml:3: ")
