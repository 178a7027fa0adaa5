"""TensorFlow Serving's REST API."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_tfserving.errors import LoadError
from pytest_tfserving.protocols.reading import MESSAGE_LENGTH, with_text
from pytest_tfserving.protocols.serving_protocol import MODEL_PATTERN, ServingProtocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.protocols.http_connection import PreparedHttp
    from pytest_tfserving.protocols.serving_protocol import Connection, ModelClient, SentRequests
    from pytest_tfserving.text.json_value import JsonValue


class Rest(ServingProtocol):
    """REST: JSON over HTTP/1.1."""

    name = "rest"
    server_port = 8501
    port_flag = "rest_api_port"
    url_schemes = MappingProxyType({"http": (80, False), "https": (443, True)})
    url_path = re.compile(rf"/v1/models/{MODEL_PATTERN}(:predict|/)?")
    url_example = "http://host:8501/v1/models/NAME"
    is_http = True
    success = int(HTTPStatus.OK)

    def value(self, body: bytes, key: str) -> JsonValue:
        """Return the value under a key of the JSON."""
        try:
            document: JsonValue = json.loads(body)
        except ValueError:
            raise LoadError("the response is not JSON") from None
        if isinstance(document, dict) and key in document:
            return document[key]
        raise LoadError(_lacking(document, key))

    def failure(self, status: int, body: bytes, most: int = MESSAGE_LENGTH) -> str:
        """Return the HTTP status, and the error's text if the body has one."""
        try:
            text = _text(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            text = ""
        return with_text(f"HTTP {status}", text, most)

    def client(self, endpoint: Endpoint, path: str) -> AbstractContextManager[ModelClient]:
        """Return a client that uses the standard library."""
        from pytest_tfserving.protocols.rest_client import RestClient

        return RestClient(endpoint, path)

    def framed(self, request: bytes) -> bytes:
        """Return the request itself."""
        return request

    def connections(self, requests: SentRequests) -> Callable[[int], Connection]:
        """Return keep-alive connections, one for each user."""
        from pytest_tfserving.protocols.client_access import tls_context
        from pytest_tfserving.protocols.http_connection import HttpConnection
        from pytest_tfserving.protocols.transport import LoadContext

        endpoints, most_bytes = requests.endpoints, requests.most_bytes
        sent = [_prepared(each, requests) for each in endpoints]
        tls = [tls_context(endpoint, kind=LoadContext) for endpoint in endpoints]

        def connection(number: int) -> Connection:
            index = number % len(endpoints)
            at = endpoints[index]
            return HttpConnection(
                at.host, at.port, sent[index], tls=tls[index], most_bytes=most_bytes, late=requests.late
            )

        return connection


def _lacking(document: JsonValue, key: str) -> str:
    """Return the error text for a JSON response that lacks ``key``."""
    if isinstance(document, dict) and document.get("error"):
        return with_text(f"HTTP {HTTPStatus.OK:d} with an error inside", _text(document["error"]))
    return f"the response has no {key!r}"


def _text(error: JsonValue) -> str:
    return error if isinstance(error, str) else json.dumps(error)


def _prepared(endpoint: Endpoint, requests: SentRequests) -> PreparedHttp:
    """Return the requests to one endpoint."""
    from pytest_tfserving.protocols.http_connection import PreparedHttp

    heads = [_head(endpoint, path) for path in requests.paths]
    return PreparedHttp(heads, requests.bodies, requests.path_numbers, in_one=endpoint.tls)


def _head(endpoint: Endpoint, path: str) -> bytes:
    """Return the head of requests, up to the length of the body."""
    from pytest_tfserving.protocols.client_access import host_of, own_headers

    own = "".join(f"{name}: {value}\r\n" for name, value in own_headers(endpoint))
    head = f"POST {path} HTTP/1.1\r\nHost: {host_of(endpoint)}\r\n{own}Content-Type: application/json\r\n"
    return head.encode()
