"""The REST API: which path asks for what, and the answers' bodies."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pytest_tfserving.model_server import json_tensor
from pytest_tfserving.model_server.http import Request, Response, inflated
from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.status import Code, ServingError, invalid

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pytest_tfserving.model_server.manager import ModelManager

_INT64_MAX = 2**63 - 1
_DISPATCH = re.compile(r"/v1/.*", re.IGNORECASE)
_POST = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)",
    re.IGNORECASE,
)
_GET = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?", re.IGNORECASE
)
_NOT_FOUND = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


class RestApi:
    """Answers requests for the models of a manager; inference runs in ``executor``."""

    def __init__(self, manager: ModelManager, executor: Executor, *, timeout_ms: int, cors: bool) -> None:
        self._manager = manager
        self._executor = executor
        self._timeout_ms = timeout_ms
        self._headers = _CORS if cors else {}

    async def handle(self, request: Request) -> Response:
        """The answer to one request; never raises."""
        if not _DISPATCH.fullmatch(request.target):
            return Response(404, _NOT_FOUND, "text/html")
        try:
            return self._with_headers(await self._dispatch(request))
        except ServingError as error:
            return self._with_headers(_error(error))
        except Exception:  # noqa: BLE001 - a client never sees a traceback, the log does
            log("error", "a request failed", exc_info=True)
            return self._with_headers(_error(ServingError(Code.INTERNAL, "Internal error")))

    async def _dispatch(self, request: Request) -> Response:
        if request.too_large:
            raise invalid("Request body is too large")
        if request.method == "OPTIONS":
            return _options(request)
        if request.method == "POST" and (match := _POST.fullmatch(request.target)):
            return await self._post(request, match)
        if request.method == "GET" and (match := _GET.fullmatch(request.target)):
            return self._get(request, match)
        raise _malformed(request)

    async def _post(self, request: Request, match: re.Match[str]) -> Response:
        name, version_text, label, verb = match.groups()
        version = _version(version_text)
        if version is None and version_text:
            return Response(400)
        if verb != "predict":
            raise _unsupported(verb) if verb in ("classify", "regress") else _malformed(request)
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(
            self._executor, self._predict, request, unquote(name), version, unquote(label) if label else ""
        )
        return Response(200, body)

    def _predict(self, request: Request, name: str, version: int | None, label: str) -> bytes:
        body = request.body
        if "gzip" in request.headers.get("content-encoding", ""):
            body = inflated(body)
        try:
            with self._manager.acquire(name, version, label) as servable:
                decoded = json_tensor.decode(body, servable)
                outputs = servable.run(decoded.signature_name, decoded.inputs, self._timeout_ms)
            return json_tensor.encode(outputs, decoded.row_format)
        except ServingError as error:
            # The body is checked before the model is looked up: its error is the one to tell.
            if error.code in (Code.NOT_FOUND, Code.UNAVAILABLE):
                document = json_tensor.parse(body)
                if isinstance(document, dict):
                    json_tensor.signature_name_of(document)
            raise

    def _get(self, request: Request, match: re.Match[str]) -> Response:  # noqa: ARG002 - as _post
        name, version_text, label, metadata = match.groups()
        if not name:
            raise invalid("Missing model name in request.")
        version = _version(version_text)
        if version is None and version_text:
            return Response(400)
        if metadata:
            return Response(200, self._metadata(unquote(name), version, unquote(label) if label else ""))
        return Response(200, self._status(unquote(name), version))

    def _status(self, name: str, version: int | None) -> bytes:
        states = self._manager.states(name, version)
        status = [
            {
                "version": str(state.version),
                "state": state.state,
                "status": {"error_code": state.error_code, "error_message": state.error_message},
            }
            for state in sorted(states, key=lambda state: -state.version)
        ]
        return (json.dumps({"model_version_status": status}, indent=1) + "\n").encode()

    def _metadata(self, name: str, version: int | None, label: str) -> bytes:
        from google.protobuf import json_format

        with self._manager.acquire(name, version, label) as servable:
            signatures = {
                alias: json_format.MessageToDict(
                    proto, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
                )
                for alias, proto in servable.signature_defs.items()
            }
            spec = {"name": name, "signature_name": "", "version": str(servable.version)}
        document = {
            "model_spec": spec,
            "metadata": {"signature_def": {"signature_def": signatures}},
        }
        return (json.dumps(document, indent=1) + "\n").encode()

    def _with_headers(self, response: Response) -> Response:
        response.headers.update(self._headers)
        return response


def _error(error: ServingError) -> Response:
    text = json.dumps(error.message, ensure_ascii=False)
    return Response(error.http_status, f'{{\n    "error": {text}\n}}'.encode())


def _options(request: Request) -> Response:
    origin = request.headers.get("origin", "")
    return Response(200 if re.match(r"https?://", origin) else 400)


def _version(text: str | None) -> int | None:
    """The version of a path, None for none and for one no 64-bit number holds."""
    return int(text) if text and len(text) < 20 and int(text) <= _INT64_MAX else None  # noqa: PLR2004


def _malformed(request: Request) -> ServingError:
    return invalid(f"Malformed request: {request.method} {request.target}")


def _unsupported(verb: Any) -> ServingError:
    return ServingError(Code.UNIMPLEMENTED, f"The embedded server does not serve :{verb}")
