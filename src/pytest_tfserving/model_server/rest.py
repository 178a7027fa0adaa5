"""The REST API: its paths, and the bodies of its answers."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeVarTuple
from urllib.parse import unquote

from pytest_tfserving.model_server import example, json_tensor, prediction_log
from pytest_tfserving.model_server.http import Response, inflated
from pytest_tfserving.model_server.json_parser import parse
from pytest_tfserving.model_server.json_text import encoded, quoted
from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.status import Code, LongError, ServingError, invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from pytest_tfserving.model_server.core import ServerCore
    from pytest_tfserving.model_server.http_requests import Request
    from pytest_tfserving.model_server.inference import Inference
    from pytest_tfserving.model_server.metrics import Counter, MetricHistogram, Metrics

_Arguments = TypeVarTuple("_Arguments")

_INT64_MAX = 2**63 - 1
_LONGEST_VERSION = 1000
_SMALL_BODY_BYTES = 4096
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
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)
# How many parsed paths are remembered, and how long a remembered path may be.
_MOST_KNOWN_PATHS = 1024
_LONGEST_KNOWN_PATH = 512


@dataclass(frozen=True, slots=True)
class RestOptions:
    """Options of the REST API; ``metrics_path`` is the path of the metrics, empty to serve none."""

    timeout_ms: int
    idle_timeout_ms: int
    threads: int
    cors: bool
    metrics_path: str = ""


class RestApi:
    """Answers to requests for the models of a core; long inference runs in ``executor``."""

    def __init__(
        self,
        core: ServerCore,
        inference: Inference,
        metrics: Metrics,
        executor: Executor,
        options: RestOptions,
    ) -> None:
        self._core = core
        self._request_logs = core.request_logs
        self._metrics = metrics
        self._inference = inference
        self._executor = executor
        self._options = options
        self._metrics_path = options.metrics_path
        self._most_threads = options.threads
        self._in_threads = 0
        self._headers = _CORS if options.cors else ()
        self._routes: dict[str, _Route] = {}

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Return the answer to a request, or an awaitable of the answer if the work may take long.

        Call this method on the event loop only. It never raises.
        """
        fits = len(request.body) < _SMALL_BODY_BYTES and not request.more
        small = fits or request.head.method != "POST"
        if small and self._in_threads < self._most_threads:
            try:
                return self._answer(request, on_loop=True)
            except LongError:
                pass
        return self._answer_in_thread(request)

    async def _answer_in_thread(self, request: Request) -> Response:
        self._in_threads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, partial(self._answer, request, on_loop=False)
            )
        finally:
            self._in_threads -= 1

    def _answer(self, request: Request, *, on_loop: bool) -> Response:
        method, target = request.head.method, request.head.target
        if target == self._metrics_path:
            if on_loop:
                raise LongError
            return Response(200, self._metrics.text().encode(), "text/plain")
        route = self._route(target) if method == "POST" else None
        if route is None and not _DISPATCH.fullmatch(target):
            return Response(404, _NOT_FOUND, "text/html")
        try:
            response = self._post(request, route, on_loop) if route else self._without_route(request, on_loop)
        except LongError:
            raise
        except ServingError as error:
            response = _error(error)
        except Exception:  # noqa: BLE001 - a client never sees a traceback, the log does
            log("error", "a request failed", exc_info=True)
            response = _error(ServingError(Code.INTERNAL, "Internal error"))
        return response._replace(headers=self._headers) if self._headers else response

    def _without_route(self, request: Request, on_loop: bool) -> Response:  # noqa: FBT001 - as `_predict`
        method, target = request.head.method, request.head.target
        if method == "OPTIONS":
            return _options(request)
        if method == "GET" and (match := _GET.fullmatch(target)):
            return self._get(match, on_loop)
        raise _malformed(request)

    def _route(self, target: str) -> _Route | None:
        """Return the route of a POST; None if the path has none."""
        found = self._routes.get(target)
        if found is None and (match := _POST.fullmatch(target)):
            *named, verb = match.groups()
            found = _Route(self._metrics, _Asked.of(*named), verb)
            if len(target) <= _LONGEST_KNOWN_PATH:
                if len(self._routes) >= _MOST_KNOWN_PATHS:
                    self._routes.clear()
                self._routes[target] = found
        return found

    def _post(self, request: Request, route: _Route, on_loop: bool) -> Response:  # noqa: FBT001 - as `_predict`
        if route.asked is None:
            return Response(400)
        if route.verb == "predict":
            return route.counted(self._predict, request, route.asked, on_loop)
        calls = {"classify": self._classify, "regress": self._regress}
        if route.verb not in calls:
            raise _malformed(request)
        if on_loop:
            raise LongError
        return route.counted(calls[route.verb], request, route.asked)

    def _predict(self, request: Request, asked: _Asked, on_loop: bool) -> bytes:  # noqa: FBT001 - as `_Route.counted` passes it
        if on_loop and request.head.encoding:
            raise LongError
        # A request in parts, as a large one is, never gets here on the loop.
        body = request.body if on_loop else _content(request)
        try:
            with self._core.acquire(*asked) as model:
                decoded = json_tensor.decode(body, model, soon=on_loop)
                if on_loop and (model.may_wait or not model.paces[decoded.signature_name].is_short):
                    raise LongError
                timeout_ms = None if on_loop else self._options.timeout_ms
                outputs = self._inference.predict(
                    model, decoded.signature_name, decoded.inputs, timeout_ms, inline=on_loop
                )
                version = model.version
            content = json_tensor.encode(outputs, decoded.row_format)
            model.paces[decoded.signature_name].answered(len(content))
        except ServingError as error:
            # TF Serving checks the body before it looks up the model, so an error in the body comes first.
            if error.code in (Code.NOT_FOUND, Code.UNAVAILABLE) or asked.label:
                document = parse(body, soon=on_loop)
                if isinstance(document, dict):
                    json_tensor.signature_name_of(document)
            raise
        if self._request_logs.samples(asked.name):
            spec = prediction_log.RestSpec(*asked, version, decoded.signature_name)
            self._request_logs.put(prediction_log.of_predict(spec, decoded.inputs, outputs, len(body)))
        return content

    def _classify(self, request: Request, asked: _Asked) -> bytes:
        body = _content(request)
        decoded = example.decode(body)
        with self._core.acquire(*asked) as model:
            classes = self._inference.classify(
                model, decoded.signature_name, decoded.examples, self._options.timeout_ms
            )
            spec = prediction_log.RestSpec(*asked, model.version, decoded.signature_name)
        if self._request_logs.samples(asked.name):
            self._request_logs.put(prediction_log.of_classify(spec, decoded.examples, classes, len(body)))
        return json_tensor.encode_classes(classes)

    def _regress(self, request: Request, asked: _Asked) -> bytes:
        body = _content(request)
        decoded = example.decode(body)
        with self._core.acquire(*asked) as model:
            values = self._inference.regress(
                model, decoded.signature_name, decoded.examples, self._options.timeout_ms
            )
            spec = prediction_log.RestSpec(*asked, model.version, decoded.signature_name)
        if self._request_logs.samples(asked.name):
            self._request_logs.put(prediction_log.of_regress(spec, decoded.examples, values, len(body)))
        return json_tensor.encode_regressions(values)

    def _get(self, match: re.Match[str], on_loop: bool) -> Response:  # noqa: FBT001 - as `_predict`
        name, version_text, label, metadata = match.groups()
        if metadata and on_loop:
            raise LongError
        if not name:
            raise invalid("Missing model name in request.")
        asked = _Asked.of(name, version_text, label)
        if asked is None:
            return Response(400)
        return _Route(self._metrics, asked, "").counted(self._metadata if metadata else self._status, asked)

    def _status(self, asked: _Asked) -> bytes:
        """Return the states of versions; of all of them for a label, because TF Serving ignores the label."""
        status = [
            {
                "version": str(state.version),
                "state": state.state,
                "status": {"error_code": state.error_code.name, "error_message": state.error_message},
            }
            for state in self._core.manager.states(asked.name, asked.version)
        ]
        return (json.dumps({"model_version_status": status}, indent=1) + "\n").encode()

    def _metadata(self, asked: _Asked) -> bytes:
        from google.protobuf import json_format

        with self._core.acquire(*asked) as model:
            signatures = {
                alias: json_format.MessageToDict(
                    proto, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
                )
                for alias, proto in model.signature_defs.items()
            }
            spec = {"name": asked.name, "signature_name": "", "version": str(model.version)}
        document = {
            "model_spec": spec,
            "metadata": {"signature_def": {"signature_def": signatures}},
        }
        return (json.dumps(document, indent=1) + "\n").encode()


class _Route:
    """The model and the verb that a path names, with the metrics of requests to that path."""

    __slots__ = ("_metrics", "_of_successes", "asked", "verb")

    def __init__(self, metrics: Metrics, asked: _Asked | None, verb: str) -> None:
        self._metrics = metrics
        self._of_successes: tuple[Counter, MetricHistogram] | None = None
        self.asked = asked
        self.verb = verb

    def counted(self, work: Callable[[*_Arguments], bytes], *arguments: *_Arguments) -> Response:
        """Answer with the body that ``work`` returns; count and time the request."""
        started = perf_counter()
        try:
            body = work(*arguments)
        except ServingError as error:
            self._counter(error.code).add()
            raise
        counter, latency = self._of_successes or self._successes()
        counter.add()
        latency.observe((perf_counter() - started) * 1e6)
        return Response(200, body)

    def _counter(self, code: Code) -> Counter:
        assert self.asked
        return self._metrics.counter("request_count", model_name=self.asked.name, status=code.name)

    def _successes(self) -> tuple[Counter, MetricHistogram]:
        assert self.asked
        labels = {"model_name": self.asked.name, "API": self.verb, "entrypoint": "REST"}
        latency = self._metrics.histogram("request_latency", **labels)
        self._of_successes = self._counter(Code.OK), latency
        return self._of_successes


class _Asked(NamedTuple):
    """The model that a path names."""

    name: str
    version: int | None
    label: str

    @classmethod
    def of(cls, name: str, version: str | None, label: str | None) -> _Asked | None:
        """Read the parts of a path; return None if the version does not fit into 64 bits."""
        number = int(version) if version and len(version) < _LONGEST_VERSION else None
        if version and (number is None or number > _INT64_MAX):
            return None
        return cls(unquote(name), number, unquote(label) if label else "")


def _content(request: Request) -> bytes:
    compressed = "gzip" in request.head.encoding
    return inflated(request.content()) if compressed else request.content()


def _error(error: ServingError) -> Response:
    return Response(error.http_status, encoded(f'{{\n    "error": {quoted(error.message)}\n}}'))


def _options(request: Request) -> Response:
    return Response(200 if re.match(r"https?://", request.head.header(b"origin")) else 400)


def _malformed(request: Request) -> ServingError:
    return invalid(f"Malformed request: {request.head.method} {request.head.target}")
