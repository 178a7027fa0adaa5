"""TensorFlow Serving's gRPC API."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_tfserving.protocols.reading import MESSAGE_LENGTH, with_text
from pytest_tfserving.protocols.serving_protocol import MODEL_PATTERN, ServingProtocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.protocols.serving_protocol import Connection, ModelClient, SentRequests
    from pytest_tfserving.text.json_value import JsonValue

# The names of gRPC's codes, by number (grpc/doc/statuscodes.md).
_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)


class Grpc(ServingProtocol):
    """gRPC: tensors in protobuf messages over HTTP/2."""

    name = "grpc"
    server_port = 8500
    port_flag = "port"
    url_schemes = MappingProxyType({"grpc": (8500, False), "grpcs": (443, True)})
    url_path = re.compile(rf"/{MODEL_PATTERN}/?")
    url_example = "grpc://host:8500/NAME"
    is_http = False
    success = 0

    def value(self, body: bytes, key: str) -> JsonValue:
        """Return the tensors of the message as the JSON value that REST would have."""
        from pytest_tfserving.protocols.grpc_messages import answer_document

        return answer_document(body, key)

    def failure(self, status: int, body: bytes, most: int = MESSAGE_LENGTH) -> str:
        """Return the name of the code, and the server's details."""
        name = _CODES[status] if status < len(_CODES) else f"status {status}"
        return with_text(name, body.decode(errors="replace"), most)

    def client(self, endpoint: Endpoint, path: str) -> AbstractContextManager[ModelClient]:
        """Return a client that uses the official library."""
        from pytest_tfserving.protocols.grpc_client import GrpcClient

        return GrpcClient(endpoint, path)

    def framed(self, request: bytes) -> bytes:
        """Return the message with the prefix that says its length."""
        return b"\0" + len(request).to_bytes(4, "big") + request

    def connections(self, requests: SentRequests) -> Callable[[int], Connection]:
        """Return connections of this package's HTTP/2, which users share if the requests say so."""
        from pytest_tfserving.protocols.grpc_connection import Channels

        return Channels(
            requests.endpoints, requests.bodies, requests.shared, requests.timeout_s, requests.most_bytes
        )
