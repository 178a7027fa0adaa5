"""The path for many numbers gives what the exact one gives, or leaves the body to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_tfserving.model_server import json_parser, json_tensor, json_text
from pytest_tfserving.model_server.servable import Signature, TensorSpec
from pytest_tfserving.model_server.status import ServingError
from pytest_tfserving.model_server.tensorflow_c import STRING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FLOAT = 1
NUMBERS = (FLOAT, *(number for number in json_tensor.DTYPES if number not in (FLOAT, STRING)))


@dataclass
class OneInput:
    """Something with one input."""

    dtype: int

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return {"serving_default": Signature({"x": TensorSpec("x:0", self.dtype, None)}, {})}


def exactly(body: bytes, dtype: int) -> NDArray[np.generic] | str:
    try:
        return json_tensor.decode_document(json_parser.parse(body), OneInput(dtype)).inputs["x"]
    except ServingError as error:
        return error.message


BORDERS = [sign * 2**power + by for power in (7, 8, 31, 63, 64) for sign in (-1, 1) for by in (-1, 0)]
NUMBER = (
    st.integers(-(2**40), 2**40)
    | st.sampled_from(
        [sign * 2**power + by for power in (7, 8, 31, 63, 64) for sign in (-1, 1) for by in (-1, 0)]
    )
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.floats(allow_nan=False, allow_infinity=False)
)
NESTED = st.recursive(NUMBER, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=30)


@settings(deadline=None)  # a busy machine takes any time
@given(st.lists(NESTED, min_size=1, max_size=5), st.sampled_from(NUMBERS), st.booleans())
def test_the_fast_path_agrees_with_the_exact_one(value: list[Any], dtype: int, row: bool) -> None:  # noqa: FBT001
    body = json.dumps({"instances" if row else "inputs": value}).encode()
    expected = exactly(body, dtype)

    fast = json_tensor._decode_numbers(body, OneInput(dtype))

    if fast is not None:
        assert not isinstance(expected, str)
        assert fast.row_format is row
        np.testing.assert_array_equal(fast.inputs["x"], expected, strict=True)


@pytest.mark.parametrize("rows", [[[1.5, 2], [3, 4.25]], [1, 2, 3], [[[1]], [[2]]]])
def test_regular_numbers_take_the_fast_path(rows: list[Any]) -> None:
    body = json.dumps({"signature_name": "serving_default", "instances": rows}, indent=2).encode()

    fast = json_tensor._decode_numbers(body, OneInput(FLOAT))

    assert fast is not None
    np.testing.assert_array_equal(fast.inputs["x"], np.array(rows, np.float32), strict=True)


@pytest.mark.parametrize("shape", [(50,), (5, 10), (1, 25, 2), (2, 5, 1, 5)])
@pytest.mark.parametrize("piece_bytes", [1, 7, 40, 2**20])
@pytest.mark.parametrize("special", ["", "NaN", "-Infinity", "Inf"])
def test_an_array_may_be_parsed_in_pieces(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], piece_bytes: int, special: str
) -> None:
    monkeypatch.setattr(json_tensor, "_PIECE_BYTES", piece_bytes)
    array = np.arange(50).reshape(shape) * 1.5
    text = json.dumps(array.tolist()).replace(" 30.0", f"\n {special or '30.0'} ")
    body = f'{{"signature_name": "", "instances": {text}, "other": 3}} behind'.encode()

    fast = json_tensor._decode_numbers(body, OneInput(FLOAT))

    assert fast is not None
    exact = json_tensor.decode_document(json_parser.parse(body), OneInput(FLOAT))
    np.testing.assert_array_equal(fast.inputs["x"], exact.inputs["x"], strict=True)


@pytest.mark.parametrize("piece_bytes", [1, 2**20])
@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [[1], [1, 2]]}',
        b'{"instances": [[1, 2], [3], [4, 5, 6]]}',
        b'{"instances": [1, "2"]}',
        b'{"instances": [1, true]}',
        b'{"instances": [NaN, "N"]}',
        b'{"instances": []}',
        b'{"instances": [{"x": 1}]}',
        b'{"instances": [1], "inputs": [1]}',
        b'{"instances": [[1]2, [3]]}',
        b'{"instances": [1[2], [3]]}',
        b'{"instances": [[1, 2], 3[4, 5]]}',
        b'{"instances": [[1], [2],]}',
        b'{"instances": [1 2, 3]}',
        b'{"a": {"instances": [1]}}',
        b'{"instances": [1]} ]',
        b'{"signature_name": "other", "instances": [1]}',
    ],
)
def test_anything_unusual_is_left_to_the_exact_path(
    monkeypatch: pytest.MonkeyPatch, body: bytes, piece_bytes: int
) -> None:
    monkeypatch.setattr(json_tensor, "_PIECE_BYTES", piece_bytes)

    assert json_tensor._decode_numbers(body, OneInput(FLOAT)) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(3), "3.0"),
        (np.float32(9e6), "9e+06"),
        (np.float32(3e-5), "3e-05"),
        (np.float32(0.2), "0.2"),
        (np.float32(1 / 3), "0.333333343"),
        (np.float64(1 / 3), "0.33333333333333331"),
        (np.float32("nan"), "NaN"),
        (np.float32("-inf"), "-Infinity"),
        (np.float64(123456.5), "123456.5"),
    ],
)
def test_numbers_are_written_as_tf_serving_writes_them(value: np.floating[Any], text: str) -> None:
    assert text == json_text.decimal(value)
