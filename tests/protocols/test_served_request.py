"""Requests for models that are served: the server is asked for signatures, and requests are tried on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.protocols.served_request import served_request
from pytest_tfserving.targets.url import parse_url
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_tfserving.protocols.served_request import ServedRequest

SERVED = ("strings", "images", "open_size", "half", "ragged", "several_signatures")


@pytest.fixture(scope="module")
def server(newcomers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of several models."""
    config = tmp_path_factory.mktemp("served") / "models.conf"
    models = (
        f'config {{ name: "{name}" base_path: "{newcomers / name}" model_platform: "tensorflow" }}'
        for name in SERVED
    )
    config.write_text(f"model_config_list {{ {' '.join(models)} }}", encoding="utf-8")
    with Server("strings", None, f"--model_config_file={config}") as found:
        yield found


def request_over(server: Server, protocol: str, model: str, signature: str = "") -> ServedRequest:
    rest, grpc = f"{server.address}/v1/models/{model}", f"grpc://127.0.0.1:{server.grpc_port}/{model}"
    endpoint, path, _ = parse_url(rest if protocol == "rest" else grpc)
    return served_request(endpoint, path, signature)


FOUND = {
    "strings": ("instances", "s: a short text (made up, the type is string)"),
    "images": (
        "instances",
        "image_bytes: a JPEG picture of 224 x 224 pixels (the model's error: Unknown image",
    ),
    "open_size": ("instances", "x: 5 as the size of axis 1 (the model's error: Matrix size-incompatible"),
    "ragged": ("inputs", "row_splits: two ragged rows, of 2 and 6 values (by the input's name)"),
}


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize("model", FOUND)
def test_a_request_that_fits_is_found(server: Server, model: str, protocol: str) -> None:
    form, note = FOUND[model]

    found = request_over(server, protocol, model)

    assert form in json.loads(found.body)
    assert any(each.startswith(note) for each in found.notes), found.notes


def test_a_type_that_json_cannot_carry_needs_grpc(server: Server) -> None:
    assert request_over(server, "grpc", "half").notes
    with pytest.raises(ConfigurationError, match=r"Conversion of JSON .* to type: half; give one"):
        request_over(server, "rest", "half")


def test_a_signature_is_chosen(server: Server) -> None:
    first = request_over(server, "rest", "several_signatures")
    named = request_over(server, "rest", "several_signatures", "shout")

    assert (first.signature_name, named.signature_name) == ("score", "shout")


def test_a_signature_that_is_not_there_is_named(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="no signature 'shut'; did you mean 'shout'"):
        request_over(server, "rest", "several_signatures", "shut")


def test_a_model_that_is_not_there_is_named(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="are not known: HTTP 404 for /v1/models/none"):
        request_over(server, "rest", "none")
