"""Payloads: the bytes of one request, built once and sent again and again."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

SIDE = 224


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of a predict request, and the form of its response.

    Attributes:
        body: the JSON that is sent, as bytes.
        signature_name: the model's signature that is called.
        key: the response's key with the output: ``predictions`` in the row format (``instances``),
            ``outputs`` in the columnar format (``inputs``).
        rows: the number of instances; None in the columnar format.
    """

    body: bytes
    signature_name: str = "serving_default"
    key: str = "predictions"
    rows: int | None = 1

    @classmethod
    def from_instances(cls, instances: Sequence[object], signature_name: str = "serving_default") -> Payload:
        """Return a payload in the row format.

        Args:
            instances: one element for each instance, of any values that JSON can hold.
            signature_name: the model's signature.
        """
        body = json.dumps({"signature_name": signature_name, "instances": list(instances)})
        return cls(body.encode(), signature_name, "predictions", len(instances))

    @classmethod
    def from_inputs(
        cls, inputs: Mapping[str, object] | Sequence[object], signature_name: str = "serving_default"
    ) -> Payload:
        """Return a payload in the columnar format.

        Args:
            inputs: one tensor as nested lists, or a tensor for each input's name.
            signature_name: the model's signature.
        """
        body = json.dumps({"signature_name": signature_name, "inputs": inputs})
        return cls(body.encode(), signature_name, "outputs", None)

    @classmethod
    def from_body(cls, body: bytes) -> Payload:
        """Return the payload of a request's body, in the row or the columnar format.

        Raises:
            ConfigurationError: if ``body`` is not a JSON object with ``instances`` or ``inputs``. For other
                text than JSON the message has its line and column.
        """
        try:
            request = json.loads(body)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise ConfigurationError(f"it is not JSON: {error.msg} at {place}.") from None
        except (ValueError, RecursionError) as error:  # no text, a number too long, or nested too deeply
            raise ConfigurationError(f"it is not JSON that can be read: {one_line(str(error))}.") from None
        try:
            signature_name = request.get("signature_name") or "serving_default"
            if "instances" in request:
                return cls(body, signature_name, "predictions", len(request["instances"]))
            return cls(body, signature_name, "outputs", None) if "inputs" in request else _reject()
        except (AttributeError, TypeError):
            return _reject()


def _reject() -> Payload:
    raise ConfigurationError("a request's body is a JSON object with 'instances' or 'inputs'.")


def picture() -> NDArray[np.uint8]:
    """Return a generated picture, uint8 of shape ``(224, 224, 3)``: gradients, rings and a fixed grain."""
    import numpy as np

    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    rings = 0.5 + 0.5 * np.sin(40 * np.hypot(x - 0.6, y - 0.4))
    grain = np.random.default_rng(224).uniform(-12, 12, (SIDE, SIDE, 3))
    channels = np.stack([255 * x, 255 * y * rings, 255 * (1 - x) * rings], axis=-1)
    return np.clip(channels + grain, 0, 255).astype(np.uint8)


def picture_jpeg() -> bytes:
    """Return the same picture as a JPEG file."""
    return resources.files("pytest_tfserving.protocols").joinpath("picture.jpg").read_bytes()


def picture_payload(kind: str) -> Payload:
    """Return a REST request with one picture.

    Args:
        kind: ``json`` sends numbers, about 1 MB, as the study did. ``jpeg`` sends a JPEG file in base64, for
            the signature that decodes in the graph. ``raw`` sends the pixels' bytes in base64, the smallest
            form without loss.
    """
    if kind == "json":
        return Payload.from_instances([picture().astype(float).tolist()])
    content = picture_jpeg() if kind == "jpeg" else picture().tobytes()
    return Payload.from_instances([{"b64": base64.b64encode(content).decode()}], signature_name=kind)


def default_payload(model: str, kind: str) -> Payload:
    """Return the request for a bundled model, or the request in a file.

    Args:
        model: the name of a bundled model, or the path of another model.
        kind: ``json``, ``jpeg`` or ``raw`` for pictures, or the path of a ``.json`` file with a request.

    Raises:
        ConfigurationError: if the file has no request in it, or the model is not a bundled one.
    """
    if kind.endswith(".json"):
        return _payload_file(Path(kind))
    if model == "half_plus_two":
        return Payload.from_instances([[1.0], [2.0], [5.0]])
    if "/" in model:
        raise ConfigurationError(
            f"the request for the model {model} is not known; give its experiment a 'payload: request.json', "
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
