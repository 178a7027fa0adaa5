"""Asks a model over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import requests

from pytest_tfserving.addresses import without_secrets
from pytest_tfserving.errors import LoadError
from pytest_tfserving.probe import best_state

if TYPE_CHECKING:
    from pytest_tfserving.load.payload import Payload
    from pytest_tfserving.targets.deployment import Endpoint

_STATUS_TIMEOUT_S = 5.0


class RestAsker:
    """See `probe.Asker`."""

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        self._url = f"{endpoint}{path}"
        self._session = requests.Session()
        self._session.trust_env = (
            False  # neither proxies nor credentials belong between a gate and its server
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def state(self) -> tuple[str, str]:
        """What the model's status says."""
        try:
            return best_state(self._session.get(self._url, timeout=_STATUS_TIMEOUT_S).json())
        except requests.JSONDecodeError:
            return "no model status", ""
        except requests.RequestException:
            return "no answer", ""

    def request(self, payload: Payload) -> bytes:
        """The payload itself."""
        return payload.body

    def predict(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """The HTTP status and the body of the answer."""
        try:
            answer = self._session.post(f"{self._url}:predict", data=request, timeout=timeout_s)
        except requests.Timeout:
            raise LoadError(f"no answer within {timeout_s:g} s") from None
        except requests.RequestException as error:
            raise LoadError(without_secrets(_innermost(error))) from None
        return answer.status_code, answer.content

    def signed_sizes(self, signature_name: str) -> list[int] | None:
        """What the model's metadata says of an only output."""
        try:
            metadata = self._session.get(f"{self._url}/metadata", timeout=_STATUS_TIMEOUT_S).json()
            signatures = metadata["metadata"]["signature_def"]["signature_def"]
            (output,) = signatures[signature_name]["outputs"].values()
            if output["tensor_shape"].get("unknown_rank"):
                return None
            return [int(size["size"]) for size in output["tensor_shape"]["dim"]]
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
            return None


def _innermost(error: BaseException) -> str:
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _innermost(reason)
    text = str(error)
    return text.rsplit(": ", 1)[-1] if text.startswith("<") else text
