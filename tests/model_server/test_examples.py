"""Classification and regression over REST: examples as JSON, answers, errors."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import requests

    from server_process import Server

B64 = {"b64": base64.b64encode(b"bytes").decode()}


def ask(server: Server, verb: str, signature: str, **body: object) -> requests.Response:
    return server.post({"signature_name": signature, **body}, f":{verb}")


@pytest.mark.parametrize(
    ("signature", "example", "answer"),
    [
        ("classify", {"x": 1.5, "name": "a"}, '[["a", 1.5], ["none", 3.0]]'),
        ("classify", {"x": [1.5], "name": ["a"]}, '[["a", 1.5], ["none", 3.0]]'),
        ("classify", {"count": 3, "name": B64}, '[["bytes", 3.0], ["none", 6.0]]'),
        ("classify", {"count": True, "name": "grüß"}, '[["grüß", 1.0], ["none", 2.0]]'),
        ("classify", {}, '[["", 0.0], ["none", 0.0]]'),
        ("classes_only", {"name": "a"}, '[["a", 0.0], ["none", 0.0]]'),
        ("scores_only", {"x": 0.1}, '[["", 0.1], ["", 0.2]]'),
    ],
)
def test_classify(kinds: Server, signature: str, example: object, answer: str) -> None:
    response = ask(kinds, "classify", signature, examples=[example])

    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert response.text == f'{{\n    "results": [{answer}\n    ]\n}}'


@pytest.mark.parametrize("signature", ["regress", "regress_flat"])
def test_regress(kinds: Server, signature: str) -> None:
    response = ask(kinds, "regress", signature, examples=[{"x": 3.0}, {"x": 4.0}])

    assert response.text == '{\n    "results": [3.5, 4.0]\n}'


def test_context_is_common_to_all_examples(kinds: Server) -> None:
    response = ask(
        kinds, "classify", "classes_only", context={"word": "all"}, examples=[{"name": "a"}, {"name": "b"}]
    )

    labels = [[label for label, _ in classes] for classes in response.json()["results"]]
    assert labels == [["a", "all"], ["b", "all"]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"[]", "JSON Value: [] Is not object"),
        ({"signature_name": 3}, "'signature_name' key must be a string value."),
        ({}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        (
            {"examples": 3},
            "JSON Value: {\n    \"examples\": 3\n} Expecting 'examples' value to be an list/array",
        ),
        ({"examples": []}, "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ({"examples": [3]}, "Example must be JSON object but got JSON Number"),
        ({"context": "a", "examples": [{}]}, "Example must be JSON object but got JSON String"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": {"a": 1}}]}, "Feature: x has element with unexpected JSON type: Object"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": [1, 2.5]}]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"examples": [{"x": [2.5, 1]}]}, "Unexpected element type in feature: x expecting type: float"),
        ({"examples": [{"x": ["a", 1]}]}, "Unexpected element type in feature: x expecting type: bytes"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64 element. Only int64 is supported."),
        ({"examples": [{"x": {"b64": "!"}}]}, "Unable to base64 decode"),
        (b'{"examples": [{"\\ud800": 1}]}', "JSON Parse error: The surrogate pair in string is invalid."),
    ],
)
def test_bodies_that_hold_no_examples(kinds: Server, body: object, message: str) -> None:
    for path in (":classify", ":regress", "/versions/99:classify"):
        response = kinds.post(body, path)

        assert response.status_code == 400
        assert message in response.json()["error"]


@pytest.mark.parametrize(
    ("verb", "signature", "status", "message"),
    [
        ("classify", "nothing", 400, "No signature was found with the name: nothing"),
        ("regress", "nothing", 400, "No signature was found with the name: nothing"),
        ("classify", "regress", 400, "Expected classification signature outputs to contain at least one of"),
        ("classify", "", 400, "No classification inputs found in SignatureDef: "),
        ("classify", "two", 400, "Expected one input Tensor."),
        ("regress", "classify", 400, "Expected one output Tensor."),
        ("regress", "scores_only", 400, "No regression outputs found in SignatureDef: "),
        ("classify", "flat_scores", 400, "Expected Tensor shape: [batch_size num_classes] but got [1]"),
        ("classify", "wrong_scores", 400, "Expected scores Tensor of DT_FLOAT. Got: DT_STRING"),
        ("regress", "regress_wide", 400, "either [batch_size] or [batch_size, 1] but got [1,2]"),
        ("regress", "regress_text", 400, "Expected output Tensor of DT_FLOAT.  Got: DT_STRING"),
    ],
)
def test_signatures_that_do_not_fit(
    kinds: Server, verb: str, signature: str, status: int, message: str
) -> None:
    response = ask(kinds, verb, signature, examples=[{"x": 1.0}])

    assert response.status_code == status
    assert message in response.json()["error"]


def test_as_many_answers_as_examples(kinds: Server) -> None:
    response = ask(kinds, "regress", "regress_short", examples=[{}, {}])

    assert response.status_code == 400
    assert response.json()["error"] == "Input batch size did not match output batch size: 2 vs. 1"


def test_an_unknown_model(kinds: Server) -> None:
    response = ask(kinds, "classify", "classify", examples=[{}])
    other = kinds.session.post(
        f"{kinds.address}/v1/models/other:regress", json={"examples": [{}]}, timeout=60
    )

    assert response.status_code == 200
    assert (other.status_code, other.json()["error"]) == (
        404,
        "Servable not found for request: Latest(other)",
    )


def test_a_wrong_feature_type_is_the_models_to_refuse(kinds: Server) -> None:
    response = ask(kinds, "regress", "regress", examples=[{"x": "text"}])

    assert response.status_code == 400
    assert "Data types don't match" in response.json()["error"]


def test_strings_that_are_not_utf8(kinds: Server) -> None:
    body = b'{"signature_name": "classify", "examples": [{"name": "caf\xe9", "n\xff": 1, "x": 1.5}]}'

    response = kinds.post(body, ":classify")

    assert response.status_code == 200
    assert b'["caf\xe9", 1.5]' in response.content


def test_whole_numbers_beyond_64_bits_are_decimal(kinds: Server) -> None:
    body = b'{"signature_name": "scores_only", "examples": [{"x": 18446744073709551616}]}'
    refused = b'{"signature_name": "scores_only", "examples": [{"count": 18446744073709551615}]}'

    assert b'["", 1.84467441e+19]' in kinds.post(body, ":classify").content
    assert "has uint64 element. Only int64 is supported." in kinds.post(refused, ":classify").text
