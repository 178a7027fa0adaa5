"""A client of a model over REST."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from pytest_tfserving.errors import LoadError, missing_extra
from pytest_tfserving.protocols.model_state import NO_STATUS, best_state
from pytest_tfserving.protocols.plain_http import PlainHttp
from pytest_tfserving.protocols.reading import MOST_BYTES
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.protocols.payload import Payload

_STATUS_TIMEOUT_S = 5.0


class RestClient:
    """A `ModelClient` over REST."""

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        self._path = path
        self._http = PlainHttp(endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def state(self) -> tuple[str, str]:
        """Return the model's best state and its error message."""
        try:
            status, body = self._http.ask(self._path, _STATUS_TIMEOUT_S)
        except LoadError:
            return "no response", ""
        try:
            return best_state(json.loads(body))
        except (ValueError, RecursionError):
            return NO_STATUS, one_line(f"HTTP {status}: {body.decode(errors='replace')}")

    def request(self, payload: Payload) -> bytes:
        """Return the payload's body."""
        return payload.body

    def predict(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Return the HTTP status and the body of the answer.

        Raises:
            LoadError: when no answer comes within ``timeout_s``.
        """
        return self._http.ask(f"{self._path}:predict", timeout_s, body=request, most_bytes=MOST_BYTES)

    def signature_defs(self) -> dict[str, Message]:
        """Return the model's ``SignatureDef`` messages by name.

        Raises:
            LoadError: when the server does not tell them.
            ConfigurationError: when a library is missing.
        """
        try:
            from google.protobuf import json_format

            from pytest_tfserving.model_server.protos import message
        except ModuleNotFoundError as error:
            raise missing_extra(str(error.name), "grpc", "reading a model's signatures") from None
        status, body = self._http.ask(f"{self._path}/metadata", _STATUS_TIMEOUT_S)
        try:
            found = json.loads(body)["metadata"]["signature_def"]["signature_def"]
            return {
                name: json_format.ParseDict(
                    content, message("tensorflow.SignatureDef")(), ignore_unknown_fields=True
                )
                for name, content in found.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, json_format.ParseError):
            raise LoadError(
                f"its signatures are not known: HTTP {status} for {self._path}/metadata"
            ) from None
