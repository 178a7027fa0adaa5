"""Folders of models: whether all models of a server fit into the RAM of a node."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.experiment import Shape
from pytest_tfserving.targets.common.model_folder import check_memory

if TYPE_CHECKING:
    from pathlib import Path


def model(folder: Path, size: int) -> Path:
    """Make a model with variables of a size in bytes, which take no room on the disk."""
    variables = folder / "1" / "variables"
    variables.mkdir(parents=True)
    (variables / "variables.data-00000-of-00001").touch()
    os.truncate(variables / "variables.data-00000-of-00001", size)
    return folder


def test_models_that_fit_each_may_be_too_large_together(tmp_path: Path) -> None:
    models = {name: model(tmp_path / name, 600 * 2**20) for name in ("a", "b")}

    for name, path in models.items():
        check_memory({name: path}, Shape(1, 1, 1))
    with pytest.raises(ConfigurationError) as caught:
        check_memory(models, Shape(1, 1, 1))

    assert str(caught.value) == (
        "the models a, b have 1.2 GB of graphs and variables together, more than the 1 GB of a node; "
        "give the experiment a shape with more RAM."
    )


def test_a_model_may_be_too_large_alone(tmp_path: Path) -> None:
    path = model(tmp_path / "a", 3 * 2**30)

    with pytest.raises(
        ConfigurationError, match=r"the model a has 3\.0 GB of graphs and variables, more than the 2 GB"
    ):
        check_memory({"a": path}, Shape(1, 2, 1))
