"""Records of request logs: a request with its answer, as a ``PredictionLog``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_tfserving.model_server.proto_api import fill_classes, fill_regressions
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from google.protobuf.message import Message
    from numpy.typing import NDArray

    from pytest_tfserving.model_server.inference import Classes

_SERVING = "tensorflow.serving."


class LoggedRequest(NamedTuple):
    """A request with its answer, which become a record later, in another thread.

    Attributes:
        model: name of the model that answered.
        version: its version.
        signature_name: the signature that ran.
        kind: field of ``PredictionLog`` that holds such requests.
        fill: writes request and answer into the message of this field.
        size_bytes: memory that the request and the answer take.
    """

    model: str
    version: int
    signature_name: str
    kind: str
    fill: Callable[[Message], None]
    size_bytes: int

    def record(self, sampling_rate: float, tags: Sequence[str], timestamp_s: int) -> bytes:
        """Return the record, a serialized ``PredictionLog``."""
        record = message(f"{_SERVING}PredictionLog")()
        metadata = record.log_metadata
        spec = metadata.model_spec
        spec.name, spec.version.value, spec.signature_name = self.model, self.version, self.signature_name
        metadata.sampling_config.sampling_rate = sampling_rate
        metadata.saved_model_tags.extend(tags)
        metadata.timestamp_secs = timestamp_s
        self.fill(getattr(record, self.kind))
        serialized: bytes = record.SerializeToString()
        return serialized


def of_messages(kind: str, request: Message, answer: Message) -> LoggedRequest:
    """Return a gRPC request with its answer; nobody may change the messages after that."""

    def fill(entry: Message) -> None:
        entry.request.CopyFrom(request)
        entry.response.CopyFrom(answer)

    spec = (answer.results[0] if kind == "multi_inference_log" else answer).model_spec
    size_bytes = request.ByteSize() + answer.ByteSize()
    return LoggedRequest(spec.name, spec.version.value, spec.signature_name, kind, fill, size_bytes)


class RestSpec(NamedTuple):
    """The model that a REST request names, by its version or a label if it names one, and what answered."""

    model: str
    asked_version: int | None
    label: str
    version: int
    signature_name: str


def of_predict(
    spec: RestSpec,
    inputs: Mapping[str, NDArray[np.generic]],
    outputs: Mapping[str, NDArray[np.generic]],
    body_bytes: int,
) -> LoggedRequest:
    """Return a predict request over REST with its answer."""

    def fill(entry: Message) -> None:
        for proto, arrays in ((entry.request.inputs, inputs), (entry.response.outputs, outputs)):
            for alias, array in arrays.items():
                fill_proto(proto[alias], array, as_content=False)

    size_bytes = body_bytes + sum(array.nbytes for array in (*inputs.values(), *outputs.values()))
    return _of_rest(spec, "predict_log", fill, size_bytes)


def of_classify(
    spec: RestSpec, examples: Sequence[bytes], classes: Classes, body_bytes: int
) -> LoggedRequest:
    """Return a classify request over REST with its answer."""

    def fill(entry: Message) -> None:
        entry.request.input.example_list.examples.extend(examples)
        fill_classes(entry.response.result, classes)

    return _of_rest(spec, "classify_log", fill, 2 * body_bytes)


def of_regress(
    spec: RestSpec, examples: Sequence[bytes], values: NDArray[np.generic], body_bytes: int
) -> LoggedRequest:
    """Return a regress request over REST with its answer."""

    def fill(entry: Message) -> None:
        entry.request.input.example_list.examples.extend(examples)
        fill_regressions(entry.response.result, values)

    return _of_rest(spec, "regress_log", fill, 2 * body_bytes)


def _of_rest(spec: RestSpec, kind: str, fill: Callable[[Message], None], size_bytes: int) -> LoggedRequest:
    def fill_all(entry: Message) -> None:
        asked, answered = entry.request.model_spec, entry.response.model_spec
        asked.name = answered.name = spec.model
        asked.signature_name = answered.signature_name = spec.signature_name
        if spec.asked_version is not None:
            asked.version.value = spec.asked_version
        if spec.label:
            asked.version_label = spec.label
        answered.version.value = spec.version
        fill(entry)

    return LoggedRequest(spec.model, spec.version, spec.signature_name, kind, fill_all, size_bytes)
