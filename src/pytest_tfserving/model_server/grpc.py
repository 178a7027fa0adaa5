"""The gRPC API: TensorFlow Serving's services, and gRPC's own health service."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

from pytest_tfserving.errors import missing_extra
from pytest_tfserving.model_server import prediction_log
from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.memory import populate
from pytest_tfserving.model_server.model_config import models_of
from pytest_tfserving.model_server.proto_api import check_tasks
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.status import Code, ServingError, invalid
from pytest_tfserving.model_server.text_proto import read_text_proto

try:
    import grpc
    from google.protobuf.message import DecodeError
except ImportError:
    raise missing_extra("grpcio", "grpc", "the gRPC API of the embedded server") from None

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from pytest_tfserving.model_server.core import ServerCore
    from pytest_tfserving.model_server.flags import Flags
    from pytest_tfserving.model_server.manager import Loaded
    from pytest_tfserving.model_server.metrics import Metrics
    from pytest_tfserving.model_server.proto_api import ProtoApi

_SERVING = "tensorflow.serving."
_LONGEST_TEXT = 1024
# A request from this size on has memory before it is parsed: its copy in the message, and a tensor's copy.
_LARGE_BYTES, _COPIES = 2**20, 2
_INT32_MAX = 2**31 - 1
_PEM = "-----BEGIN "
_CHANNEL_ARGUMENTS = {
    "grpc.max_receive_message_length": _INT32_MAX,
    "grpc.max_send_message_length": _INT32_MAX,
    "grpc.so_reuseport": 0,
}
_GRACE_S = 24 * 3600.0
# Extra threads, which refuse requests while all others are busy.
_REFUSING_THREADS = 2


@dataclass(frozen=True, slots=True)
class GrpcOptions:
    """Options of the gRPC API, read from the flags.

    Attributes:
        port: TCP port; 0 for no port.
        socket_path: UNIX socket; empty for no socket.
        threads: requests worked on at once.
        channel_arguments: gRPC's own arguments, as name and value.
        credentials: grpcio's server credentials; None to serve without TLS.
        health: whether the health service is served.
    """

    port: int
    socket_path: str
    threads: int
    channel_arguments: tuple[tuple[str, int | str], ...]
    credentials: grpc.ServerCredentials | None
    health: bool

    @classmethod
    def of(cls, flags: Flags) -> GrpcOptions:
        """Read the options from the flags and from the files that the flags name.

        Raises:
            ServingError: when a file cannot be read or used.
        """
        return cls(
            flags["port"],
            flags["grpc_socket_path"],
            flags["grpc_max_threads"],
            channel_arguments(flags["grpc_channel_arguments"]),
            _credentials(flags["ssl_config_file"]),
            flags["enable_grpc_healthcheck_service"],
        )


def channel_arguments(text: str) -> tuple[tuple[str, int | str], ...]:
    """Read ``name=value,name=value``; whole numbers become ``int``."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    return tuple((name.strip(), _number(value.strip())) for name, _, value in pairs)


def _number(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


_Call: TypeAlias = "Callable[[Message, int | None], Message]"


class GrpcServer:
    """The gRPC services, on their port and socket."""

    def __init__(self, core: ServerCore, api: ProtoApi, metrics: Metrics, options: GrpcOptions) -> None:
        self._options = options
        self._core = core
        self._metrics = metrics
        self._free = threading.Semaphore(options.threads)
        self._server = grpc.server(
            ThreadPoolExecutor(options.threads + _REFUSING_THREADS, thread_name_prefix="grpc"),
            options=list({**_CHANNEL_ARGUMENTS, **dict(options.channel_arguments)}.items()),
        )
        models, predictions = _ModelService(core), _PredictionService(core, api)
        self._add("ModelService", "GetModelStatus", "GetModelStatusRequest", models.status)
        self._add("ModelService", "HandleReloadConfigRequest", "ReloadConfigRequest", models.reload)
        for name, request, call in (
            ("Predict", "PredictRequest", predictions.predict),
            ("Classify", "ClassificationRequest", predictions.classify),
            ("Regress", "RegressionRequest", predictions.regress),
            ("MultiInference", "MultiInferenceRequest", predictions.several),
            ("GetModelMetadata", "GetModelMetadataRequest", predictions.metadata),
        ):
            self._add("PredictionService", name, request, call)
        if options.health:
            _add_health(self._server)

    def start(self, host: str) -> None:
        """Listen on the port and the socket.

        Raises:
            OSError: when the port or the socket is taken.
        """
        if self._options.port:
            shown = f"[{host}]" if ":" in host else host
            self._listen(f"{shown}:{self._options.port}")
        if self._options.socket_path:
            self._listen(f"unix:{self._options.socket_path}")
        self._server.start()

    def stop(self) -> None:
        """Take no more requests, and answer the requests under way."""
        self._server.stop(_GRACE_S).wait()

    def _listen(self, address: str) -> None:
        try:
            if self._options.credentials:
                self._server.add_secure_port(address, self._options.credentials)
            else:
                self._server.add_insecure_port(address)
        except RuntimeError:
            raise OSError(f"cannot listen on {address} for gRPC") from None
        log("info", f"Running gRPC ModelServer at {address} ...")

    def _add(self, service: str, name: str, request: str, call: _Call) -> None:
        kind = message(f"{_SERVING}{request}")

        def handle(content: bytes, context: grpc.ServicerContext) -> Message:
            return self._answer(name, kind, call, content, context)

        handler = grpc.unary_unary_rpc_method_handler(
            handle, response_serializer=lambda answer: answer.SerializeToString()
        )
        services = grpc.method_handlers_generic_handler(f"{_SERVING}{service}", {name: handler})
        self._server.add_generic_rpc_handlers((services,))

    def _answer(
        self, name: str, kind: type[Message], call: _Call, content: bytes, context: grpc.ServicerContext
    ) -> Message:
        if not self._free.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        started = perf_counter()
        model = ""
        try:
            request = _parsed(kind, content)
            model = _model_name(request)
            answer = call(request, _remaining_ms(context))
        except ServingError as error:
            # No reference to the error is kept: its traceback refers to this frame, which would be a cycle.
            code, text = error.code, error.message
        except Exception:  # noqa: BLE001 - a client never sees a traceback, the log does
            log("error", f"{name} failed", exc_info=True)
            code, text = Code.INTERNAL, "Internal error"
        else:
            self._record(name, model, Code.OK, started)
            return answer
        finally:
            self._free.release()
        self._record(name, model, code, started)
        return context.abort(_STATUS[code], _shortened(text))

    def _record(self, name: str, model: str, code: Code, started: float) -> None:
        if name in ("GetModelStatus", "HandleReloadConfigRequest"):
            return
        self._metrics.count("request_count", model_name=model, status=code.name)
        if code is Code.OK:
            micros = (perf_counter() - started) * 1e6
            self._metrics.observe("request_latency", micros, model_name=model, API=name, entrypoint="GRPC")


_STATUS: dict[int, grpc.StatusCode] = {status.value[0]: status for status in grpc.StatusCode}


def _parsed(kind: type[Message], content: bytes) -> Message:
    if len(content) >= _LARGE_BYTES:
        populate(len(content), _COPIES)
    try:
        return kind.FromString(content)
    except DecodeError:
        raise invalid(f"The request is not a {kind.DESCRIPTOR.full_name}") from None


def _model_name(request: Message) -> str:
    if hasattr(request, "model_spec"):
        return str(request.model_spec.name)
    tasks = getattr(request, "tasks", ())
    return str(tasks[0].model_spec.name) if tasks else ""


def _remaining_ms(context: grpc.ServicerContext) -> int | None:
    remaining_s = context.time_remaining()
    if remaining_s is None or remaining_s > _INT32_MAX:
        return None
    if remaining_s <= 0:
        raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
    return max(int(remaining_s * 1000), 1)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}...TRUNCATED"


class _PredictionService:
    """The gRPC service for inference."""

    def __init__(self, core: ServerCore, api: ProtoApi) -> None:
        self._core = core
        self._api = api

    def predict(self, request: Message, timeout_ms: int | None) -> Message:
        return self._ask("predict_log", self._api.predict, request, timeout_ms)

    def classify(self, request: Message, timeout_ms: int | None) -> Message:
        return self._ask("classify_log", self._api.classify, request, timeout_ms)

    def regress(self, request: Message, timeout_ms: int | None) -> Message:
        return self._ask("regress_log", self._api.regress, request, timeout_ms)

    def several(self, request: Message, timeout_ms: int | None) -> Message:
        check_tasks(request)
        with self._core.acquire(*_asked(request.tasks[0].model_spec)) as model:
            answer = self._api.several(model, request, timeout_ms)
        self._log("multi_inference_log", request.tasks[0].model_spec.name, request, answer)
        return answer

    def metadata(self, request: Message, _timeout_ms: int | None) -> Message:
        asked = _asked(_spec(request))
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        response = message(f"{_SERVING}GetModelMetadataResponse")()
        signatures = message(f"{_SERVING}SignatureDefMap")()
        with self._core.acquire(*asked) as model:
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = model.version
            for name, signature in model.signature_defs.items():
                signatures.signature_def[name].CopyFrom(signature)
        response.metadata["signature_def"].Pack(signatures)
        return response

    def _ask(
        self,
        kind: str,
        call: Callable[[Loaded, Message, int | None], Message],
        request: Message,
        timeout_ms: int | None,
    ) -> Message:
        with self._core.acquire(*_asked(_spec(request))) as model:
            answer = call(model, request, timeout_ms)
        self._log(kind, request.model_spec.name, request, answer)
        return answer

    def _log(self, kind: str, name: str, request: Message, answer: Message) -> None:
        if self._core.request_logs.samples(name):
            self._core.request_logs.put(prediction_log.of_messages(kind, request, answer))


class _ModelService:
    """The gRPC service for model states and new configurations."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def status(self, request: Message, _timeout_ms: int | None) -> Message:
        spec = _spec(request)
        version = spec.version.value if spec.HasField("version") else None
        response = message(f"{_SERVING}GetModelStatusResponse")()
        kind = message(f"{_SERVING}ModelVersionStatus")
        for state in self._core.manager.states(spec.name, version):
            entry = response.model_version_status.add(
                version=state.version, state=kind.State.Value(state.state)
            )
            entry.status.error_code = state.error_code
            entry.status.error_message = state.error_message
        return response

    def reload(self, request: Message, _timeout_ms: int | None) -> Message:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                "currently supported"
            )
        self._core.reconfigure(models_of(request.config, self._core.names))
        response = message(f"{_SERVING}ReloadConfigResponse")()
        response.status.error_code = Code.OK
        return response


def _spec(request: Message) -> Message:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return request.model_spec


def _asked(spec: Message) -> tuple[str, int | None, str]:
    if not spec.name:
        raise invalid("ModelSpec has no name specified.")
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label


def _add_health(server: grpc.Server) -> None:
    try:
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    except ImportError:
        raise missing_extra("grpcio-health-checking", "grpc", "the health service") from None
    servicer = health.HealthServicer()
    for service in ("", "ModelService", "PredictionService"):
        servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)


def _credentials(path: str) -> grpc.ServerCredentials | None:
    """Return the credentials that an SSLConfig file describes; None without a file."""
    if not path:
        return None
    config = read_text_proto(path, f"{_SERVING}SSLConfig", secret=True)
    if not all(_PEM in each for each in (config.server_key, config.server_cert)):
        raise invalid(f"{path} needs server_key and server_cert, both PEM")
    if config.client_verify and _PEM not in config.custom_ca:
        raise invalid(f"{path}: client_verify needs custom_ca, the PEM certificate of who certifies clients")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
