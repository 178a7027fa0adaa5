"""A client of a model over REST."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from pytest_tfserving.errors import LoadError
from pytest_tfserving.protocols.model_state import best_state
from pytest_tfserving.protocols.plain_http import PlainHttp
from pytest_tfserving.protocols.reading import MOST_BYTES

if TYPE_CHECKING:
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
            _, body = self._http.ask(self._path, _STATUS_TIMEOUT_S)
        except LoadError:
            return "no response", ""
        try:
            return best_state(json.loads(body))
        except (ValueError, RecursionError):
            return "no model status", ""

    def request(self, payload: Payload) -> bytes:
        """Return the payload's body."""
        return payload.body

    def predict(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Return the HTTP status and the body of the answer.

        Raises:
            LoadError: when no answer comes within ``timeout_s``.
        """
        return self._http.ask(f"{self._path}:predict", timeout_s, body=request, most_bytes=MOST_BYTES)
