"""What is sent: the bytes of one request, built once and sent again and again."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

SIDE = 224


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of a predict request, and what its answer must have.

    ``key`` is where the answer is (``predictions`` of ``instances``, ``outputs`` of ``inputs``); ``rows`` is
    the number of instances, None in the columnar format.
    """

    body: bytes
    signature_name: str = "serving_default"
    key: str = "predictions"
    rows: int | None = 1

    @classmethod
    def from_instances(cls, instances: Sequence[Any], signature_name: str = "serving_default") -> Payload:
        """The row format: one element an instance; anything JSON can hold."""
        body = json.dumps({"signature_name": signature_name, "instances": list(instances)})
        return cls(body.encode(), signature_name, "predictions", len(instances))

    @classmethod
    def from_inputs(
        cls, inputs: Mapping[str, Any] | Sequence[Any], signature_name: str = "serving_default"
    ) -> Payload:
        """The columnar format: a tensor, or a tensor a name."""
        body = json.dumps({"signature_name": signature_name, "inputs": inputs})
        return cls(body.encode(), signature_name, "outputs", None)

    @classmethod
    def from_body(cls, body: bytes) -> Payload:
        """A request as it is sent, in either format.

        Raises:
            ConfigurationError: when it is not a JSON object with ``instances`` or ``inputs``.
        """
        try:
            request = json.loads(body)
            signature_name = request.get("signature_name") or "serving_default"
            if "instances" in request:
                return cls(body, signature_name, "predictions", len(request["instances"]))
            return cls(body, signature_name, "outputs", None) if "inputs" in request else _reject()
        except (ValueError, AttributeError, TypeError, RecursionError):
            return _reject()


def _reject() -> Payload:
    raise ConfigurationError("a request's body is a JSON object with 'instances' or 'inputs'.")


def picture() -> NDArray[np.uint8]:
    """One made picture, uint8 of shape ``(224, 224, 3)``: gradients, rings and a fixed grain."""
    import numpy as np

    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    rings = 0.5 + 0.5 * np.sin(40 * np.hypot(x - 0.6, y - 0.4))
    grain = np.random.default_rng(224).uniform(-12, 12, (SIDE, SIDE, 3))
    channels = np.stack([255 * x, 255 * y * rings, 255 * (1 - x) * rings], axis=-1)
    return np.clip(channels + grain, 0, 255).astype(np.uint8)


def picture_jpeg() -> bytes:
    """The same picture as a JPEG file."""
    return resources.files("pytest_tfserving.load").joinpath("picture.jpg").read_bytes()


def picture_payload(kind: str) -> Payload:
    """One picture as a REST request.

    ``json`` is the study's: numbers, about 1 MB. ``jpeg`` is base64 of a JPEG file for the signature that
    decodes in the graph. ``raw`` is base64 of the pixels' bytes, the smallest form without loss.
    """
    if kind == "json":
        return Payload.from_instances([picture().astype(float).tolist()])
    content = picture_jpeg() if kind == "jpeg" else picture().tobytes()
    return Payload.from_instances([{"b64": base64.b64encode(content).decode()}], signature_name=kind)


def default_payload(model: str, kind: str) -> Payload:
    """The request for a model of ours, or the one in the file that ``kind`` names.

    Raises:
        ConfigurationError: when the file does not hold a request, and for a model whose request is not known.
    """
    if kind.endswith(".json"):
        return _payload_file(Path(kind))
    if model == "half_plus_two":
        return Payload.from_instances([[1.0], [2.0], [5.0]])
    if "/" in model:
        raise ConfigurationError(
            f"what to send to the model {model} is not known; give its experiment a 'payload: request.json', "
            "or override the fixture request_payload."
        )
    return picture_payload(kind)


def _payload_file(path: Path) -> Payload:
    try:
        return Payload.from_body(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read the payload {path}: {error.strerror}.") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"payload {path}: {error}") from None
