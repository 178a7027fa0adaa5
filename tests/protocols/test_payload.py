"""Requests that this package has, and those of a project."""

from __future__ import annotations

import pytest

from pytest_tfserving.protocols.payload import Payload, picture, picture_jpeg, picture_payload


@pytest.mark.parametrize(
    ("kind", "signature", "least", "most"),
    [
        ("json", "serving_default", 1_000_000, 1_100_000),
        ("jpeg", "jpeg", 10_000, 40_000),
        ("raw", "raw", 200_000, 210_000),
    ],
)
def test_the_picture_as_a_request(kind: str, signature: str, least: int, most: int) -> None:
    payload = picture_payload(kind)

    assert signature == payload.signature_name
    assert least < len(payload.body) < most
    assert payload.rows == 1


def test_the_picture_is_always_the_same() -> None:
    assert picture().shape == (224, 224, 3)
    assert (picture() == picture()).all()
    assert picture_jpeg().startswith(b"\xff\xd8\xff")


def test_payloads_of_ones_own() -> None:
    assert (
        Payload.from_instances([[1.0]]).body == b'{"signature_name": "serving_default", "instances": [[1.0]]}'
    )
    assert (Payload.from_inputs({"x": [1]}).key, Payload.from_inputs({"x": [1]}).rows) == ("outputs", None)
    assert Payload.from_body(b'{"instances": [1, 2]}').rows == 2
