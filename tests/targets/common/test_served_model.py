"""The model that is served, and its name."""

from __future__ import annotations

import pytest

from pytest_tfserving.targets.common.served_model import model_name


@pytest.mark.parametrize(
    ("model", "name"),
    [("resnet50", "resnet50"), ("./a/my model", "my-model"), ("/x/y/", "y"), ("/", "model")],
)
def test_a_model_is_served_under_a_name_urls_can_hold(model: str, name: str) -> None:
    assert name == model_name(model)
