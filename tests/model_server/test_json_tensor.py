"""The path for many numbers gives what the exact one gives, or leaves the body to it."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_tfserving.model_server import json_parser, json_tensor, json_text, main
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
        b'{"instances": [1, {"x": 1}, 2]}',
        b'{"instances": [1, , 2]}',
        b'{"instances": [1, 2, ]}',
        b'{"instances": [, 1]}',
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_numbers_are_written_as_each_alone(dtype: type[np.floating[Any]]) -> None:
    chance = np.random.default_rng(0)
    bits = chance.integers(0, 2**32, 3000 * dtype().itemsize // 4, np.uint32).view(dtype)
    short = np.array([f"{number:g}" for number in chance.normal(size=3000)], dtype)
    borders = np.array([10.0**power for power in range(-45, 39)], dtype)
    beside = [np.nextafter(each, dtype(end)) for each in (short, borders) for end in (0, np.inf)]
    whole = chance.integers(10**6, 10**8, 3000).astype(dtype)
    for array in (bits, short, borders, *beside, whole, chance.random(3000).astype(dtype), bits[:63]):
        assert json_text.decimals(array) == [json_text.decimal(number) for number in array]


# --- large bodies beside others ---

TEXT, COUNT = "a text of some length, as users write it", 60_000
LARGE: dict[str, bytes] = {
    "texts": json.dumps({"instances": [f"{TEXT} é"] * COUNT}, ensure_ascii=False).encode(),
    "escapes": json.dumps({"instances": [f"{TEXT} é"] * COUNT}).encode(),
    "objects": json.dumps({"instances": [{"x": TEXT, "y": 1.5}] * COUNT}).encode(),
    "one text": json.dumps({"instances": [{"b64": "abcd" * COUNT * 20}]}).encode(),
    "rows": json.dumps({"instances": [[1.5, 2], [TEXT]] * COUNT}).encode(),
    "damaged": json.dumps({"instances": [1.5] * 10 * COUNT}).encode()[:-2] + b"x]}",
}


@pytest.mark.needs("linux")
@pytest.mark.parametrize("kind", LARGE)
def test_a_large_body_lets_others_work(kind: str) -> None:
    """No step takes the interpreter lock for a quarter of the time; a busy machine may spoil some rounds."""
    assert any(longest_share(LARGE[kind]) < 0.25 for _ in range(5))


def longest_share(body: bytes) -> float:
    """The longest time without another thread, of the CPU time to decode a body."""
    clock = time.pthread_getcpuclockid(threading.get_ident())
    seen: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.0001):
            seen.append(time.clock_gettime(clock))

    switch_s, collections = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(0.0001)
    gc.set_threshold(*main._COLLECTIONS)
    thread = threading.Thread(target=look)
    began = time.thread_time()
    thread.start()
    try:
        exactly(body, STRING)
    finally:
        ended = time.thread_time()
        done.set()
        sys.setswitchinterval(switch_s)
        gc.set_threshold(*collections)
        thread.join()
    gaps = [later - earlier for earlier, later in pairwise([began, *seen, ended])]
    return max(gaps) / (ended - began)


@pytest.mark.parametrize("size", [1, 4, 3 * 4, 4096])
@pytest.mark.parametrize("ending", ["", "/w==", "/wA=", "/wAB", "=", "/w==/wAB"])
def test_long_base64_is_decoded_in_parts(monkeypatch: pytest.MonkeyPatch, size: int, ending: str) -> None:
    text = "AAEC" * size + ending
    whole = decoded(text)
    monkeypatch.setattr(json_tensor, "_PART", 4)

    assert decoded(text) == whole


def decoded(text: str) -> bytes | str:
    try:
        return json_tensor.to_bytes({"b64": text})
    except ServingError as error:
        return error.message
