"""Types, shapes and layouts that JSON carries, and those that it does not."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from server_process import Server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("dtype", "values", "text"),
    [
        ("float32", "[1, 2.5, 1e39, -1e39, 1e-50]", "1.0, 2.5, Infinity, -Infinity, 0.0"),
        ("float32", "[0.1, 16777216, 123456.789]", "0.1, 16777216.0, 123456.789"),
        ("float64", "[0.1, 1e300, 123456789.25]", "0.1, 1e+300, 123456789.25"),
        ("int8", "[-128, 127]", "-128, 127"),
        ("int16", "[-32768, 32767]", "-32768, 32767"),
        ("int32", "[-2147483648, 2147483647]", "-2147483648, 2147483647"),
        ("int64", "[-9223372036854775808, 9223372036854775807]", "-9223372036854775808, 9223372036854775807"),
        ("uint8", "[0, 255]", "0, 255"),
        ("uint32", "[4294967295]", "4294967295"),
        ("uint64", "[18446744073709551615]", "18446744073709551615"),
        ("bool", "[true, false]", "true, false"),
        (
            "string",
            '["a\\u00e4\\n", {"b64": "YQ"}, {"b64": "YQ=="}, {"b64": "YQ.."}]',
            '"aä\\n", "a", "a", "a"',
        ),
    ],
)
def test_types_that_json_carries(kinds: Server, dtype: str, values: str, text: str) -> None:
    body = f'{{"signature_name": "echo_{dtype}", "instances": {values}}}'.encode()

    response = kinds.predict(body)

    assert response.status_code == 200, response.text
    assert response.content.decode() == f'{{\n    "predictions": [{text}\n    ]\n}}'


def test_an_output_that_refers_to_a_variable(kinds: Server) -> None:
    response = kinds.predict({"signature_name": "reference", "instances": [[1.0]]})

    assert response.json() == {"predictions": [1.5]}


@pytest.mark.parametrize(
    ("dtype", "value", "name"),
    [
        ("int8", 128, "int8"),
        ("uint8", -1, "uint8"),
        ("uint32", 2**32, "uint32"),
        ("uint64", -1, "uint64"),
        ("int64", 2**63, "int64"),
        ("int32", 1.0, "int32"),
        ("bool", 1, "bool"),
        ("string", 1, "string"),
        ("float32", "1", "float"),
        ("float64", True, "double"),
    ],
)
def test_values_that_do_not_fit_a_type(kinds: Server, dtype: str, value: object, name: str) -> None:
    response = kinds.predict({"signature_name": f"echo_{dtype}", "inputs": [value]})

    assert response.status_code == 400
    assert response.json()["error"].endswith(f"is not of expected type: {name}")


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "uint16", "complex64", "complex128"])
def test_types_that_json_does_not_carry(kinds: Server, dtype: str) -> None:
    row = kinds.predict({"signature_name": f"echo_{dtype}", "instances": [1]})
    column = kinds.predict({"signature_name": f"echo_{dtype}", "inputs": [1]})

    assert (row.status_code, column.status_code) == (400, 501)
    assert column.json()["error"] == f"Conversion of JSON Value: 1 to type: {dtype}"


@pytest.mark.parametrize(
    ("signature", "body", "answer"),
    [
        ("matrix", {"instances": [[1, 2], [3, 4]]}, [[3.0], [7.0]]),
        ("sum", {"instances": [[[1], [2]], [[3], [4]]]}, [3.0, 7.0]),
        ("rows", {"instances": [5, 6, 7]}, [3, 3, 3]),
        ("text", {"instances": ["a"]}, [{"text": "a", "text_bytes": {"b64": "YQ=="}}]),
        (
            "two",
            {"instances": [{"pair": [1, 2], "count": 3}]},
            [{"added": [4.0, 5.0], "doubled": 6}],
        ),
    ],
)
def test_answers_in_rows(kinds: Server, signature: str, body: dict[str, object], answer: object) -> None:
    response = kinds.predict({"signature_name": signature, **body})

    assert response.json() == {"predictions": answer}


@pytest.mark.parametrize(
    ("signature", "body", "text"),
    [
        (
            "two",
            {"instances": [{"pair": [1, 2], "count": 3}, {"pair": [3, 4], "count": 5}]},
            """{
    "predictions": [
        {
            "added": [4.0, 5.0],
            "doubled": 6
        },
        {
            "added": [8.0, 9.0],
            "doubled": 10
        }
    ]
}""",
        ),
        (
            "two",
            {"inputs": {"pair": [[1, 2], [3, 4]], "count": [3, 5]}},
            """{
    "outputs": {
        "added": [
            [
                4.0,
                5.0
            ],
            [
                8.0,
                9.0
            ]
        ],
        "doubled": [
            6,
            10
        ]
    }
}""",
        ),
        (
            "text",
            {"instances": ["a"]},
            """{
    "predictions": [
        {
            "text": "a",
            "text_bytes": {
                "b64": "YQ=="
            }
        }
    ]
}""",
        ),
        (
            "text",
            {"inputs": [{"b64": "Hw=="}, "\\ä/"]},
            """{
    "outputs": {
        "text": [
            "\\u001F",
            "\\\\ä/"
        ],
        "text_bytes": [
            {
                "b64": "Hw=="
            },
            {
                "b64": "XMOkLw=="
            }
        ]
    }
}""",
        ),
        (
            "only_bytes",
            {"instances": ["a", "b"]},
            """{
    "predictions": [{
            "b64": "YQ=="
        }, {
            "b64": "Yg=="
        }
    ]
}""",
        ),
        ("echo_string", {"inputs": {"b64": "YQ=="}}, '{\n    "outputs": "a"\n}'),
        ("echo_float32", {"inputs": []}, '{\n    "outputs": []\n}'),
        ("nothing_left", {"instances": [-1.0, -2.0]}, '{\n    "predictions": []\n}'),
        ("nothing_left", {"inputs": [-1.0]}, '{\n    "outputs": []\n}'),
        ("none_of_two", {"instances": [1]}, '{\n    "predictions": []\n}'),
        (
            "none_of_two",
            {"inputs": [1]},
            '{\n    "outputs": {\n        "a": [],\n        "b_bytes": []\n    }\n}',
        ),
        (
            "only_bytes",
            {"inputs": [{"b64": "/w"}, "a"]},
            '{\n    "outputs": [\n        {\n            "b64": "/w=="\n        },\n'
            '        {\n            "b64": "YQ=="\n        }\n    ]\n}',
        ),
        (
            "only_bytes",
            {"instances": [{"b64": "/w.."}]},
            '{\n    "predictions": [{\n            "b64": "/w=="\n        }\n    ]\n}',
        ),
        ("echo_float32", {"instances": [[], []]}, '{\n    "predictions": [[], []\n    ]\n}'),
    ],
)
def test_layouts(kinds: Server, signature: str, body: dict[str, object], text: str) -> None:
    response = kinds.predict({"signature_name": signature, **body})

    assert response.content.decode() == text


@pytest.mark.parametrize(
    "encoded",
    [
        "/wAB",
        " /w\nA\tB ",
        "/wAB\r\n",
        "/wABYQ",
        "/wABYQ==",
        "/wABYQ..",
        "/wABYQ=.",
        "/wABYQ = =",
        "/wABYR==",
    ],
)
def test_base64_that_is_read(kinds: Server, encoded: str) -> None:
    response = kinds.predict({"signature_name": "only_bytes", "instances": [{"b64": encoded}]})

    (found,) = response.json()["predictions"]
    assert base64.b64decode(found["b64"]) == b"\xff\x00\x01" + (b"a" if "Y" in encoded else b"")


@pytest.mark.parametrize(
    "encoded", ["/wA=B", "/", "/wABY", "/wABYQ=", "/wABYWE==", "=", "/wAB=", "/wAB====", "_w", "/w\xa0=="]
)
def test_base64_that_is_refused(kinds: Server, encoded: str) -> None:
    response = kinds.predict({"signature_name": "only_bytes", "instances": [{"b64": encoded}]})

    assert response.status_code == 400
    assert response.json()["error"].endswith("Unable to base64 decode")


@pytest.mark.parametrize("text", [b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"\xe4", b"\xc3\xa4\xc0\x80"])
@pytest.mark.parametrize("spaces", [0, 10_000])
def test_strings_that_are_not_utf8(kinds: Server, text: bytes, spaces: int) -> None:
    body = b'{"signature_name": "text", "inputs": ["%s"]%s}' % (text, b" " * spaces)

    response = kinds.predict(body)

    assert response.status_code == 200
    assert b'"text": [\n            "%s"\n        ]' % text in response.content
    assert base64.b64encode(text) in response.content


def test_errors_quote_strings_that_are_not_utf8(kinds: Server) -> None:
    response = kinds.predict(b'{"instances": ["caf\xe9"]}')

    assert b'JSON Value: \\"caf\xe9\\" Type: String' in response.content


def test_half_a_surrogate_pair_is_three_bytes(kinds: Server) -> None:
    response = kinds.predict(b'{"signature_name": "only_bytes", "inputs": "\\udc80"}')

    assert base64.b64decode(response.json()["outputs"]["b64"]) == b"\xed\xb2\x80"


@pytest.mark.parametrize(
    ("signature", "body", "message"),
    [
        ("uneven_nothing", {"instances": [1]}, "Tensor name: b has inconsistent batch size: 1 expecting: 0"),
        (
            "sum",
            {"instances": [[[1], 2]]},
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ("sum", {"instances": [[1, [2]]]}, "Encountered list at unexpected level: 1 expected < 1"),
        ("scalar", {"instances": [1]}, "Tensor name: y has no shape information "),
        ("uneven", {"instances": [1]}, "Tensor name: b has inconsistent batch size: 2 expecting: 1"),
        ("no_inputs", {"instances": [1]}, "Failed to get input map for signature: no_inputs"),
        ("two", {"instances": [1]}, "instances is a plain list, but expecting list of objects"),
        ("two", {"inputs": [1]}, "inputs is a plain value/list, but expecting an object"),
        ("two", {"inputs": {"pair": [[1, 2]]}}, "Missing named input: count in 'inputs' object."),
        ("text", {"inputs": [{"b64": "a"}]}, "Unable to base64 decode"),
        ("text", {"inputs": [{"b64": "YQ="}]}, "Unable to base64 decode"),
        (
            "text",
            {"inputs": [{"b6": "YQ"}]},
            'JSON Value: {\n    "b6": "YQ"\n} not formatted correctly for base64',
        ),
        ("matrix", {"instances": [[1, 2, 3]]}, "Matrix size-incompatible"),
    ],
)
def test_what_a_signature_refuses(
    kinds: Server, signature: str, body: dict[str, object], message: str
) -> None:
    response = kinds.predict({"signature_name": signature, **body})

    assert response.status_code == 400
    assert message in response.json()["error"]


def test_method_names_are_checked_when_asked_for(models: Path) -> None:
    with Server("kinds", models / "kinds", "--enable_signature_method_name_check") as server:
        odd = server.predict({"signature_name": "odd_method", "instances": [[1]]})
        regress = server.post({"signature_name": "scores_only", "examples": [{}]}, ":regress")
        good = server.post({"signature_name": "regress", "examples": [{}]}, ":regress")

    assert odd.json()["error"].endswith("Was: another/method")
    assert regress.json()["error"] == (
        "Expected regression signature method_name to be tensorflow/serving/regress. "
        "Was: tensorflow/serving/classify"
    )
    assert good.status_code == 200


def test_cors(models: Path) -> None:
    with Server("half_plus_two", models / "half_plus_two", "--rest_api_enable_cors_support") as server:
        response = server.predict({"instances": [1]})

    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Allow-Methods"] == "POST, GET"
    assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"
