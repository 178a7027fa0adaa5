"""Comparison of a request with the inputs of its signature: names, types and shapes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.protocols.grpc_messages import request_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from pytest_tfserving.protocols.payload import Payload


def fits(payload: Payload, signatures: Mapping[str, Message]) -> bool:
    """Return whether a request has the shapes of its signature, which some models do not insist on.

    Args:
        payload: the request.
        signatures: ``SignatureDef`` messages by name.

    Raises:
        ConfigurationError: if the model lacks the signature, or an input has another name or type.
    """
    if payload.signature_name not in signatures:
        names = ", ".join(sorted(signatures)) or "none"
        raise ConfigurationError(f"the model has no signature {payload.signature_name!r} (it has {names}).")
    inputs = signatures[payload.signature_name].inputs
    tensors = request_tensors(json.loads(payload.body), inputs)
    return all(_has_shape(array.shape, inputs[alias]) for alias, array in tensors.items())


def _has_shape(shape: tuple[int, ...], info: Message) -> bool:
    sizes = [dim.size for dim in info.tensor_shape.dim]
    if info.tensor_shape.unknown_rank:
        return True
    return len(shape) == len(sizes) and all(
        size in {-1, found} for size, found in zip(sizes, shape, strict=True)
    )
