"""Requests generated from signatures: values that fit, and the guesses that follow from errors."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.model_server.servable import TensorSpec
from pytest_tfserving.model_server.tensorflow_c import STRING, numpy_dtype
from pytest_tfserving.protocols.generated_request import Guess, generated_inputs, other_guesses
from pytest_tfserving.protocols.grpc_messages import request_tensors

FLOAT, INT32, UINT8, INT64, BOOL, HALF, BFLOAT16 = 1, 3, 4, 9, 10, 19, 14


def spec(dtype: int, *shape: int) -> TensorSpec:
    return TensorSpec("x:0", dtype, shape)


@pytest.mark.parametrize("dtype", [FLOAT, INT32, UINT8, INT64, BOOL, HALF, BFLOAT16, STRING])
@pytest.mark.parametrize(
    ("shape", "made"), [((), ()), ((-1,), (1,)), ((-1, 2), (1, 2)), ((5, 3), (5, 3)), ((-1, -1), (1, 8))]
)
def test_values_have_the_type_and_the_shape_of_the_signature(
    dtype: int, shape: tuple[int, ...], made: tuple[int, ...]
) -> None:
    specs = {"x": spec(dtype, *shape)}

    found = generated_inputs(specs, Guess())

    tensor = request_tensors({"inputs": {"x": found["x"].value}}, specs)["x"]
    assert (tensor.dtype, tensor.shape) == (numpy_dtype(dtype), made)


def test_open_pictures_get_the_usual_size_and_colours() -> None:
    specs = {"x": spec(UINT8, -1, -1, -1, -1)}

    found = generated_inputs(specs, Guess())

    assert np.shape(np.array(found["x"].value)) == (1, 224, 224, 3)
    assert np.max(np.array(found["x"].value)) == 255


def test_the_same_guess_gives_the_same_values() -> None:
    specs = {"x": spec(FLOAT, -1, 4)}

    assert generated_inputs(specs, Guess()) == generated_inputs(specs, Guess())


@pytest.mark.parametrize(
    ("kind", "value"),
    [("row_splits", [0, 2, 8]), ("row_lengths", [2, 6]), ("value_rowids", [0, 0, *[1] * 6])],
)
def test_ragged_rows_are_known_by_the_name_of_their_partition(kind: str, value: list[int]) -> None:
    specs = {"words": spec(STRING, -1), f"words_{kind}": spec(INT64, -1)}

    found = generated_inputs(specs, Guess())

    assert found[f"words_{kind}"].value == value
    assert np.shape(np.array(found["words"].value)) == (8,)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("indices[0,1] = 8 is not in [0, 4)", {"below": 4}),
        ("Unknown image file format", {"content": "jpeg"}),
        ("StringToNumberOp could not correctly convert string", {"content": "number"}),
        ("Matrix size-incompatible: In[0]: [1,8], In[1]: [5,2]", {"size": 8}),
    ],
)
def test_an_error_leads_to_another_guess(error: str, expected: dict[str, object]) -> None:
    first = next(Guess().after(error, {"x": spec(FLOAT, -1, -1)}))

    assert {name: getattr(first, name) for name in expected} == expected
    assert first.origin(next(iter(expected)), "") == f"the model's error: {error}"


@pytest.mark.parametrize(
    "error",
    [
        "is not in [0, 0)",
        f"is not in [0, {'9' * 5000})",
        f"Key: a. output shape: [{'9' * 5000}]",
        "Key: a. output shape: [99999,99999,99999]",
        "Feature: a (data type: resource) is required",
        "\x1b[2J",
        "",
    ],
)
def test_an_error_of_a_hostile_server_leads_to_no_harm(error: str) -> None:
    known = next(Guess().after("Feature: a (data type: float) is required", {"x": spec(STRING, -1)}))

    for guess in known.after(error, {"x": spec(STRING, -1)}):
        assert generated_inputs({"x": spec(STRING, -1)}, guess)
        assert "\x1b" not in str(guess.origins)


def test_an_input_of_millions_of_values_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the input 'x' would have 16000000 values"):
        generated_inputs({"x": spec(FLOAT, 4000, 4000)}, Guess())


def test_guesses_for_silent_models_are_few_and_differ() -> None:
    guesses = [guess.assumptions for guess in other_guesses({"x": TensorSpec("x:0", STRING, None)})]

    assert len(guesses) == len(set(guesses)) < 400
