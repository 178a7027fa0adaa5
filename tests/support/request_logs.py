"""Logs of requests, as TensorFlow Serving writes them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto
from pytest_tfserving.model_server.tfrecord import masked_crc

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def tfrecord(content: bytes) -> bytes:
    """A record as TFRecord files have it."""
    head = struct.pack("<Q", len(content))
    sums = [struct.pack("<I", masked_crc(part)) for part in (head, content)]
    return head + sums[0] + content + sums[1]


def prediction_log(signature_name: str = "", **inputs: ArrayLike) -> bytes:
    """A PredictionLog of a predict request."""
    log = message("tensorflow.serving.PredictionLog")()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "half", signature_name
    for alias, value in inputs.items():
        fill_proto(request.inputs[alias], np.asarray(value), as_content=True)
    return bytes(log.SerializeToString())
