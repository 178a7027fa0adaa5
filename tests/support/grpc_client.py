"""A gRPC client made of the server's own messages: the official stubs require the whole tensorflow wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import grpc

from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto, to_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message
    from numpy.typing import NDArray

_TIMEOUT_S = 60.0
_ANSWERS = {
    "Predict": ("PredictRequest", "PredictResponse"),
    "Classify": ("ClassificationRequest", "ClassificationResponse"),
    "Regress": ("RegressionRequest", "RegressionResponse"),
    "MultiInference": ("MultiInferenceRequest", "MultiInferenceResponse"),
    "GetModelMetadata": ("GetModelMetadataRequest", "GetModelMetadataResponse"),
    "GetModelStatus": ("GetModelStatusRequest", "GetModelStatusResponse"),
    "HandleReloadConfigRequest": ("ReloadConfigRequest", "ReloadConfigResponse"),
}
_MODEL_SERVICE = ("GetModelStatus", "HandleReloadConfigRequest")


def serving(name: str) -> type[Message]:
    """A message class of TensorFlow Serving."""
    return message(f"tensorflow.serving.{name}")


def tensor(array: NDArray[Any], *, as_content: bool = False) -> Message:
    """An array as a message."""
    proto = serving("PackedTensor")()
    fill_proto(proto, array, as_content=as_content)
    return proto


class Client:
    """A channel; leaving the context closes it."""

    def __init__(
        self, address: str, credentials: grpc.ChannelCredentials | None = None, **options: object
    ) -> None:
        pairs = [("grpc.max_receive_message_length", -1), *options.items()]
        self.channel = (
            grpc.secure_channel(address, credentials, pairs)
            if credentials
            else grpc.insecure_channel(address, pairs)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def call(self, method: str, request: Message | bytes, timeout_s: float = _TIMEOUT_S) -> Message:
        """Send a message, or bytes, and return the answer."""
        service = "ModelService" if method in _MODEL_SERVICE else "PredictionService"
        ask = self.channel.unary_unary(
            f"/tensorflow.serving.{service}/{method}",
            request_serializer=lambda sent: sent if isinstance(sent, bytes) else sent.SerializeToString(),
            response_deserializer=serving(_ANSWERS[method][1]).FromString,
        )
        return ask(request, timeout=timeout_s, wait_for_ready=True)

    def request(self, method: str, model: str, signature: str = "", **spec: int | str) -> Message:
        """An empty request for a model."""
        request = serving(_ANSWERS[method][0])()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        if "version" in spec:
            request.model_spec.version.value = spec["version"]
        if "label" in spec:
            request.model_spec.version_label = spec["label"]
        return request

    def predict(
        self, model: str, inputs: Mapping[str, NDArray[Any]], signature: str = "", **spec: int | str
    ) -> dict[str, NDArray[Any]]:
        """The outputs for some inputs."""
        request = self.request("Predict", model, signature, **spec)
        for alias, array in inputs.items():
            request.inputs[alias].CopyFrom(tensor(array))
        outputs = self.call("Predict", request).outputs
        return {alias: to_array(outputs[alias]) for alias in outputs}

    def failure(
        self, method: str, request: Message | bytes, timeout_s: float = _TIMEOUT_S
    ) -> tuple[str, str]:
        """The code and text of the error that a request is answered with."""
        try:
            self.call(method, request, timeout_s)
        except grpc.RpcError as error:
            failed: Any = error
            return failed.code().name, failed.details()
        raise AssertionError("the request was answered")


def add_examples(request: Message, examples: Sequence[bytes], context: bytes = b"") -> Message:
    """The request with serialized examples."""
    if context:
        request.input.example_list_with_context.context = context
        request.input.example_list_with_context.examples.extend(examples)
    else:
        request.input.example_list.examples.extend(examples)
    return request
