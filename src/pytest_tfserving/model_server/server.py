"""The server's life: start, configuration, listening, orderly stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.core import Labels, ServerCore
from pytest_tfserving.model_server.http import Connections, HttpProtocol
from pytest_tfserving.model_server.inference import Inference
from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.manager import LoadOptions, Manager
from pytest_tfserving.model_server.metrics import Metrics
from pytest_tfserving.model_server.model_config import ModelConfig, is_empty, models_of
from pytest_tfserving.model_server.operations import load_operations
from pytest_tfserving.model_server.proto_api import ProtoApi
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.request_log import RequestLogOptions, RequestLogs
from pytest_tfserving.model_server.rest import RestApi, RestOptions
from pytest_tfserving.model_server.source import FileSystemSource
from pytest_tfserving.model_server.status import ServingError
from pytest_tfserving.model_server.tensorflow_c import library
from pytest_tfserving.model_server.text_proto import read_text_proto

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from google.protobuf.message import Message

    from pytest_tfserving.model_server.flags import Flags
    from pytest_tfserving.model_server.grpc import GrpcOptions, GrpcServer
    from pytest_tfserving.model_server.loader import Loader

_LOOK_S = 0.25
_BACKLOG = 1024
# The fields of a ConfigProto that matter to GPUs and to clusters only.
_UNUSED_SESSION_FIELDS = frozenset(
    {
        *("gpu_options", "rpc_options", "cluster_def", "device_filters", "isolate_session_state"),
        "share_cluster_devices_in_session",
    }
)
# TF Serving's words for a changed configuration that it cannot use.
_NOT_RELOADED = "PollFilesystemAndReloadConfig failed to ReloadConfig"
_NO_TRANSITION = (
    "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
    "another."
)


async def serve(flags: Flags) -> int:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ServingError: when the models cannot be served.
        OSError: when a port is taken.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listeners = _reserve(flags)
    library()
    load_operations(_custom_libraries(flags))
    parts = _parts(flags)
    rest_options = _rest_options(flags)
    grpc_options = await asyncio.to_thread(_grpc_options, flags)
    models = _models(flags)
    if flags["file_system_poll_wait_seconds"] < 0:
        log(
            "warning",
            "--file_system_poll_wait_seconds is below 0: no folder is looked at, so nothing is served",
        )
    if models is None:
        log("info", "Taking no action for empty config.")
    else:
        await asyncio.to_thread(parts.core.configure, models)
    pollers = [
        asyncio.create_task(_poll_folders(parts.core, flags["file_system_poll_wait_seconds"])),
        asyncio.create_task(_poll_config(flags, parts.core, models)),
    ]
    while not await asyncio.to_thread(parts.core.wait_for_the_first, _LOOK_S):
        if stop.is_set():
            parts.core.stop()
            return 0
    grpc = await asyncio.to_thread(_start_grpc, flags, grpc_options, parts, listeners.pop("port", None))
    rest = await _start_rest(flags, rest_options, parts, listeners.pop("rest_api_port", None))
    await stop.wait()
    log("info", "stopping: requests under way are answered first")
    for poller in pollers:
        poller.cancel()
    parts.core.stop()
    await asyncio.gather(*([rest.stop()] if rest else []), asyncio.to_thread(grpc.stop))
    await asyncio.to_thread(parts.core.request_logs.close)
    return 0


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of the server that answer requests."""

    core: ServerCore
    inference: Inference
    api: ProtoApi
    metrics: Metrics


def _parts(flags: Flags) -> _Parts:
    metrics = Metrics()
    inference = Inference(metrics, checks_method_names=flags["enable_signature_method_name_check"])
    api = ProtoApi(inference, as_content=flags["enable_serialization_as_tensor_content"])
    options = LoadOptions(
        flags["num_load_threads"],
        flags["num_unload_threads"],
        flags["max_num_load_retries"],
        flags["load_retry_interval_micros"] / 1e6,
    )
    manager = Manager(_loader(flags, api, metrics).load, options)
    labels = Labels(manager, unavailable_allowed=flags["allow_version_labels_for_unavailable_models"])
    polls = flags["file_system_poll_wait_seconds"] >= 0
    request_logs = RequestLogs(RequestLogOptions.of(flags), metrics)
    core = ServerCore(manager, FileSystemSource(manager.aspire), labels, request_logs, polls=polls)
    return _Parts(core, inference, api, metrics)


def _loader(flags: Flags, api: ProtoApi, metrics: Metrics) -> Loader:
    from pytest_tfserving.model_server.loader import Loader
    from pytest_tfserving.model_server.quiet_threads import quiet_threads
    from pytest_tfserving.model_server.tflite import TfLiteOptions

    scheduler = None
    if flags["enable_batching"]:
        from pytest_tfserving.model_server.batching import BatchScheduler
        from pytest_tfserving.model_server.batching_parameters import read_parameters

        scheduler = BatchScheduler(read_parameters(flags["batching_parameters_file"]), metrics)
    both = flags["tensorflow_session_parallelism"]
    session_config = _session_config(flags["tensorflow_session_config_file"])
    return Loader(
        api=api,
        metrics=metrics,
        scheduler=scheduler,
        intra_op=flags["tensorflow_intra_op_parallelism"] or both,
        inter_op=flags["tensorflow_inter_op_parallelism"] or both,
        tags=tuple(flags["saved_model_tags"].split(",")),
        session_config=session_config,
        batching_per_model=flags["enable_per_model_batching_parameters"],
        warmup_iterations=max(flags["num_request_iterations_for_warmup"], 1)
        if flags["enable_model_warmup"]
        else 0,
        quiet=None
        if _has_own_threads(session_config)
        else quiet_threads(max(flags["num_load_threads"], 1), flags["load_niceness"]),
        tflite=TfLiteOptions.of(flags),
    )


def _custom_libraries(flags: Flags) -> list[Path]:
    return [Path(path).absolute() for path in flags["custom_op_libraries"].split(",") if path]


def _session_config(path: str) -> bytes:
    if not path:
        return b""
    config = read_text_proto(path, "tensorflow.ConfigProto")
    unused = [field.name for field, _ in config.ListFields() if field.name in _UNUSED_SESSION_FIELDS]
    if unused:
        reason = "this server runs on the CPUs of one machine"
        log("warning", f"{path}: without an effect, because {reason}: {', '.join(unused)}")
    serialized: bytes = config.SerializeToString()
    return serialized


def _has_own_threads(session_config: bytes) -> bool:
    """Return whether each session starts threads of its own, with the priority of their loader."""
    config = message("tensorflow.ConfigProto").FromString(session_config)
    return bool(config.use_per_session_threads or config.session_inter_op_thread_pool)


def _models(flags: Flags) -> tuple[ModelConfig, ...] | None:
    """Return the models to serve at the start; None if the file says nothing."""
    if flags["model_config_file"]:
        config = _config(flags)
        return None if is_empty(config) else models_of(config)
    return (ModelConfig(flags["model_name"], Path(flags["model_base_path"]).absolute()),)


def _config(flags: Flags) -> Message:
    return read_text_proto(flags["model_config_file"], "tensorflow.serving.ModelServerConfig")


# --- listening ---


def _reserve(flags: Flags) -> dict[str, socket.socket]:
    """Bind the ports without listening, before models are loaded, so that a taken port fails at once."""
    ports = {"port": flags["port"], "rest_api_port": flags["rest_api_port"]}
    if flags["port"] and flags["port"] == flags["rest_api_port"]:
        log("error", f"--rest_api_port is the same as --port, {flags['port']}: REST is not served")
        del ports["rest_api_port"]
    return {name: _bound(flags["bind_address"], port) for name, port in ports.items() if port}


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}") from None
    return listener


class _Rest:
    """The listening REST API."""

    def __init__(
        self,
        server: asyncio.Server,
        executor: ThreadPoolExecutor,
        connections: Connections,
        idle_timeout_s: float,
    ) -> None:
        self._server = server
        self._executor = executor
        self._connections = connections
        self._closing_idle = asyncio.create_task(connections.close_idle(idle_timeout_s))

    async def stop(self) -> None:
        """Answer the requests so far, and close."""
        self._closing_idle.cancel()
        self._server.close()
        await self._connections.drain()
        self._executor.shutdown()


def _rest_options(flags: Flags) -> RestOptions:
    return RestOptions(
        flags["rest_api_timeout_in_ms"],
        flags["rest_api_idle_timeout_in_ms"],
        flags["rest_api_num_threads"],
        flags["rest_api_enable_cors_support"],
        _metrics_path(flags["monitoring_config_file"]),
    )


async def _start_rest(
    flags: Flags, options: RestOptions, parts: _Parts, listener: socket.socket | None
) -> _Rest | None:
    if listener is None:
        return None
    executor = ThreadPoolExecutor(options.threads)
    api = RestApi(parts.core, parts.inference, parts.metrics, executor, options)
    connections = Connections()
    server = await asyncio.get_running_loop().create_server(
        lambda: HttpProtocol(api.handle, connections), sock=listener, backlog=_BACKLOG
    )
    log("info", f"Exporting HTTP/REST API at:localhost:{flags['rest_api_port']} ...")
    return _Rest(server, executor, connections, options.idle_timeout_ms / 1000)


def _metrics_path(path: str) -> str:
    """Return the path of the metrics; empty to serve none."""
    if not path:
        return ""
    config = read_text_proto(path, "tensorflow.serving.MonitoringConfig").prometheus_config
    return (config.path or "/monitoring/prometheus/metrics") if config.enable else ""


def _grpc_options(flags: Flags) -> GrpcOptions:
    from pytest_tfserving.model_server.grpc import GrpcOptions

    return GrpcOptions.of(flags)


def _start_grpc(
    flags: Flags, options: GrpcOptions, parts: _Parts, listener: socket.socket | None
) -> GrpcServer:
    from pytest_tfserving.model_server.grpc import GrpcServer

    server = GrpcServer(parts.core, parts.api, parts.metrics, options)
    if listener is not None:
        listener.close()
    server.start(flags["bind_address"])
    return server


# --- looking for changes ---


async def _poll_folders(core: ServerCore, wait_s: int) -> None:
    while wait_s > 0:
        await asyncio.sleep(wait_s)
        await asyncio.to_thread(core.poll)


async def _poll_config(flags: Flags, core: ServerCore, models: Sequence[ModelConfig] | None) -> None:
    """Configure the models again when the file changes, even while earlier models are still loading."""
    path = flags["model_config_file"]
    wait_s = flags["model_config_file_poll_wait_seconds"] if path else 0
    complained, following = "", set[asyncio.Task[None]]()
    while wait_s > 0:
        await asyncio.sleep(wait_s)
        found, complaint = _models_now(flags, core, models)
        if found is not None and found != models:
            try:
                new = await asyncio.to_thread(core.configure, found)
            except ServingError as error:
                complaint = f"{_NOT_RELOADED}: {error.message}"
            else:
                models = found
                log("info", f"{path} is in effect")
                following.add(task := asyncio.create_task(_follow(path, core, new)))
                task.add_done_callback(following.discard)
        if complaint and complaint != complained:
            log("error", complaint)
        complained = complaint


def _models_now(
    flags: Flags, core: ServerCore, models: Sequence[ModelConfig] | None
) -> tuple[Sequence[ModelConfig] | None, str]:
    """Return the models in the file; or, if it cannot be used, the present ones and the reason."""
    try:
        config = _config(flags)
    except ServingError as error:
        return models, f"Failed to read ModelServerConfig file: {error.message}"
    try:
        if not is_empty(config):
            return models_of(config, core.names), ""
    except ServingError as error:
        return models, f"{_NOT_RELOADED}: {error.message}"
    return models, "" if models is None else f"{_NOT_RELOADED}: {_NO_TRANSITION}"


async def _follow(path: str, core: ServerCore, names: Collection[str]) -> None:
    """Log whether the new models of a configuration become available."""
    try:
        await asyncio.to_thread(core.wait_for, names)
    except ServingError as error:
        log("error", f"{path}: {error.message}")
    else:
        log("info", f"{path}: all its models are available")
