"""A client of a model over gRPC, with the official library, which is fast enough before load begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pytest_tfserving.errors import LoadError, missing_extra
from pytest_tfserving.protocols.client_access import (
    content_of,
    host_of,
    metadata_of,
    server_name,
    tls_context,
)
from pytest_tfserving.protocols.grpc_messages import fill_model_spec, predict_request
from pytest_tfserving.protocols.model_state import NO_STATUS, best_state
from pytest_tfserving.protocols.reading import MOST_BYTES
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message
    from grpc import Channel

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.protocols.payload import Payload
    from pytest_tfserving.text.json_value import JsonValue

_STATUS_TIMEOUT_S = 5.0
_PREDICTION = "/tensorflow.serving.PredictionService/"
_MODEL = "/tensorflow.serving.ModelService/"
# The states of versions by number (get_model_status.proto).
_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


class GrpcClient:
    """A `ModelClient` over gRPC."""

    def __init__(self, endpoint: Endpoint, path: str) -> None:
        try:
            import grpc
            import hpack  # noqa: F401 - load needs hpack, and a missing library must fail before the deployment
        except ModuleNotFoundError as error:
            raise missing_extra(str(error.name), "grpc", "load over gRPC") from None
        from pytest_tfserving.model_server.protos import message

        self._grpc = grpc
        self._message = message
        self._path = path
        self._signatures: dict[str, Message] | None = None
        options = [
            ("grpc.max_receive_message_length", MOST_BYTES),
            ("grpc.enable_http_proxy", 0),
            ("grpc.default_authority", host_of(endpoint)),
        ]
        self._metadata = metadata_of(endpoint)
        self._channel = (
            _secure_channel(endpoint, options)
            if endpoint.tls
            else grpc.insecure_channel(endpoint.address, options)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def state(self) -> tuple[str, str]:
        """Return the model's best state and its error message."""
        request = self._message("tensorflow.serving.GetModelStatusRequest")()
        fill_model_spec(request.model_spec, self._path)
        try:
            content = self._call(f"{_MODEL}GetModelStatus", request.SerializeToString(), _STATUS_TIMEOUT_S)
        except self._grpc.RpcError as error:
            known = error.code() in (self._grpc.StatusCode.NOT_FOUND, self._grpc.StatusCode.UNIMPLEMENTED)
            return (NO_STATUS, one_line(str(error.details()))) if known else ("no response", "")
        try:
            answer = self._read("GetModelStatusResponse", content)
        except LoadError:
            return NO_STATUS, ""
        versions: list[JsonValue] = [
            {
                "state": _STATES.get(each.state, "UNKNOWN"),
                "status": {"error_message": each.status.error_message},
            }
            for each in answer.model_version_status
        ]
        return best_state({"model_version_status": versions})

    def request(self, payload: Payload) -> bytes:
        """Return the payload as a ``PredictRequest``, with numbers in the types of the model's signature."""
        return predict_request(payload, self._path, self.signature_defs())

    def predict(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Return gRPC's code, and the answer's message or the error's details.

        Raises:
            LoadError: when no answer comes within ``timeout_s``.
        """
        try:
            return 0, self._call(f"{_PREDICTION}Predict", request, timeout_s)
        except self._grpc.RpcError as error:
            if error.code() is self._grpc.StatusCode.DEADLINE_EXCEEDED:
                raise LoadError(f"no response within {timeout_s:g} s") from None
            return int(error.code().value[0]), str(error.details()).encode(errors="replace")

    def signature_defs(self) -> dict[str, Message]:
        """Return the model's ``SignatureDef`` messages by name.

        Raises:
            LoadError: when the server does not tell them.
        """
        if self._signatures is None:
            request = self._message("tensorflow.serving.GetModelMetadataRequest")()
            fill_model_spec(request.model_spec, self._path)
            request.metadata_field.append("signature_def")
            name = f"{_PREDICTION}GetModelMetadata"
            try:
                content = self._call(name, request.SerializeToString(), _STATUS_TIMEOUT_S)
            except self._grpc.RpcError as error:
                raise LoadError(f"its signatures are not known: {one_line(str(error.details()))}") from None
            answer = self._read("GetModelMetadataResponse", content)
            found = self._read("SignatureDefMap", answer.metadata["signature_def"].value)
            self._signatures = dict(found.signature_def)
        return self._signatures

    def _read(self, name: str, content: bytes) -> Message:
        from google.protobuf.message import DecodeError

        try:
            return self._message(f"tensorflow.serving.{name}").FromString(content)
        except DecodeError:
            raise LoadError(f"the response is not a {name}") from None

    def _call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        # Bytes in and bytes out: the first requests must be the same bytes as the load's.
        call = self._channel.unary_unary(method)
        found: bytes = call(request, timeout=timeout_s, metadata=self._metadata)
        return found


def _secure_channel(endpoint: Endpoint, options: Sequence[tuple[str, object]]) -> Channel:
    """Return a channel over TLS.

    Raises:
        ConfigurationError: for a file that cannot be used.
    """
    import grpc

    tls_context(endpoint)  # the official library only logs what is wrong with a file
    client = endpoint.client
    files = {"CA file": client.ca_file, "client key": client.key or client.certificate}
    ca, key = (content_of(path, what) if path else None for what, path in files.items())
    chain = content_of(client.certificate, "client certificate") if client.certificate else None
    name = ("grpc.ssl_target_name_override", server_name(endpoint))
    credentials = grpc.ssl_channel_credentials(ca, key, chain)
    return grpc.secure_channel(endpoint.address, credentials, [*options, name])
