"""The flags of ``tensorflow_model_server``, and some of this server's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

_THREADS = 4 * (os.cpu_count() or 1)
_PORTS = range(65536)
_NICENESS = range(20)


class Handling(Enum):
    """The way a flag is handled: used, accepted without an effect, or refused."""

    USED = "used"
    IGNORED = "ignored"
    REFUSED = "refused"


FlagValue: TypeAlias = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag; its default has the type of its values."""

    name: str
    default: FlagValue
    help: str
    kind: Handling = Handling.USED


def _ignored(name: str, default: FlagValue, why: str) -> Flag:
    return Flag(name, default, f"accepted without an effect: {why}", Handling.IGNORED)


def _refused(name: str, default: FlagValue, why: str) -> Flag:
    return Flag(name, default, f"refused: {why}", Handling.REFUSED)


_NO_ACCELERATOR = "this server runs on CPUs"

GROUPS: dict[str, tuple[Flag, ...]] = {
    "Where to listen": (
        Flag("port", 8500, "port of the gRPC API; 0 for no port"),
        Flag("rest_api_port", 0, "port of the REST API; 0 does not start it"),
        Flag("bind_address", "127.0.0.1", "address to listen on; TF Serving listens on all: 0.0.0.0 or ::"),
        Flag("grpc_socket_path", "", "also listen for gRPC on this UNIX socket"),
        Flag("ssl_config_file", "", "text file with an SSLConfig: gRPC then asks for SSL"),
        _refused("use_alts_credentials", False, "ALTS works only on Google's own machines"),
    ),
    "What to serve": (
        Flag("model_name", "default", "name of the model if there is no --model_config_file"),
        Flag("model_base_path", "", "folder with the model's versions, each in a folder named by its number"),
        Flag("model_config_file", "", "text file with a ModelServerConfig: several models, policies, labels"),
        Flag(
            "model_config_file_poll_wait_seconds",
            0,
            "seconds between checks of that file for changes; 0 reads it once",
        ),
        Flag(
            "file_system_poll_wait_seconds",
            1,
            "seconds between searches for new versions; 0 searches once, below 0 never",
        ),
        Flag(
            "allow_version_labels_for_unavailable_models",
            False,
            "let a new label stand for a version that is not loaded yet",
        ),
        Flag("saved_model_tags", "serve", "tags of the graph to load, separated by commas"),
        Flag(
            "custom_op_libraries",
            "",
            "shared libraries of operations that TensorFlow does not have, separated by commas",
        ),
        _refused("platform_config_file", "", "use flags instead"),
    ),
    "Loading": (
        Flag("num_load_threads", 0, "threads that load versions; 0 loads one after the other"),
        Flag("num_unload_threads", 0, "threads that unload versions; 0 unloads one after the other"),
        Flag("max_num_load_retries", 5, "how often a load that failed is tried again"),
        Flag("load_retry_interval_micros", 60_000_000, "microseconds between these tries"),
        Flag(
            "load_niceness",
            14,
            "how much lower the priority of a load beside requests is, from 0 to 19; at full load 0 gets "
            "half a core, 5 a quarter, 10 a tenth, 14 a 24th",
        ),
        Flag(
            "enable_model_warmup", True, "run the requests in assets.extra/tf_serving_warmup_requests first"
        ),
        Flag(
            "num_request_iterations_for_warmup", 0, "how often each of these requests is run; 0 runs it once"
        ),
    ),
    "Running": (
        Flag("tensorflow_session_parallelism", 0, "sets both thread counts below; 0 lets TensorFlow choose"),
        Flag("tensorflow_intra_op_parallelism", 0, "threads of one operation; 0 lets TensorFlow choose"),
        Flag("tensorflow_inter_op_parallelism", 0, "operations at once; 0 lets TensorFlow choose"),
        Flag("tensorflow_session_config_file", "", "text file with TensorFlow's ConfigProto"),
        Flag("enable_batching", False, "join requests that wait into batches"),
        Flag("batching_parameters_file", "", "text file with BatchingParameters"),
        Flag(
            "enable_per_model_batching_parameters",
            False,
            "read BatchingParameters from each version's batching_params.pbtxt; without it, no batching",
        ),
        Flag(
            "prefer_tflite_model",
            False,
            "serve a version's model.tflite if it has one; needs the extra tflite",
        ),
        Flag("num_tflite_pools", os.cpu_count() or 1, "requests that a TFLite model runs at once"),
        Flag(
            "num_tflite_interpreters_per_pool",
            1,
            "above 1, requests for a TFLite model are joined, and large ones are split into this many parts",
        ),
        Flag(
            "enable_signature_method_name_check",
            False,
            "let classify and regress run only signatures made for them",
        ),
    ),
    "REST": (
        Flag("rest_api_num_threads", _THREADS, "requests worked on at once"),
        Flag("rest_api_timeout_in_ms", 30000, "longest time a request may run"),
        Flag(
            "rest_api_idle_timeout_in_ms",
            600_000,
            "longest wait for a client that sends nothing, and for a whole head; 0 waits without end",
        ),
        Flag("rest_api_enable_cors_support", False, "send CORS headers"),
        Flag("monitoring_config_file", "", "text file with a MonitoringConfig: metrics for Prometheus"),
    ),
    "gRPC": (
        Flag("grpc_max_threads", _THREADS, "requests worked on at once; those beyond are refused"),
        Flag("grpc_channel_arguments", "", "gRPC's own arguments, as name=value,name=value"),
        Flag(
            "enable_serialization_as_tensor_content", False, "send outputs as bytes, which is faster if large"
        ),
        Flag("enable_grpc_healthcheck_service", False, "serve grpc.health.v1.Health"),
    ),
    "Request logs": (
        Flag(
            "enable_request_logging",
            False,
            "log sampled requests with their responses, for models with a logging_config",
        ),
        Flag(
            "request_log_prefix", "", "beginning of the paths of the logs of models without a logging_config"
        ),
        Flag("request_log_sampling_rate", 1.0, "share of the requests for these models that is logged"),
        Flag("request_log_file_bytes", 64 * 2**20, "size after which another file begins; 0 for no limit"),
        Flag(
            "request_log_file_records",
            0,
            "records after which another file begins; 0 for no limit; a warm-up file may have 1000",
        ),
    ),
    "Without an effect": (
        _ignored("enable_profiler", True, "there is no profiler"),
        _ignored("flush_filesystem_caches", True, "the files are read once, by the loader"),
        _ignored("remove_unused_fields_from_bundle_metagraph", True, "only the signatures are kept"),
        _ignored("per_process_gpu_memory_fraction", 0.0, _NO_ACCELERATOR),
        _ignored("xla_cpu_compilation_enabled", False, "graphs run as they are"),
        _ignored("xla_gpu_compilation_enabled", False, _NO_ACCELERATOR),
        _ignored("mixed_precision", "", _NO_ACCELERATOR),
        _ignored("skip_initialize_tpu", False, _NO_ACCELERATOR),
        _ignored("thread_pool_factory_config_file", "", "TensorFlow's own thread pools are used"),
    ),
    "About": (
        Flag("version", False, "print the versions and exit"),
        Flag("help", False, "print this and exit"),
    ),
}
FLAGS = tuple(flag for group in GROUPS.values() for flag in group)


_ABOUT_THE_LOG = (
    "The log, on standard error, has one line for each event: what is loaded, unloaded and configured, with",
    "names, folders and files, and what failed, with its reason. Requests are not in it; a traceback of an",
    "unexpected error may quote a part of one. Characters that are not printable are escaped.",
)


class Flags(TypedDict):
    """The value of every flag."""

    port: int
    rest_api_port: int
    bind_address: str
    grpc_socket_path: str
    ssl_config_file: str
    use_alts_credentials: bool
    model_name: str
    model_base_path: str
    model_config_file: str
    model_config_file_poll_wait_seconds: int
    file_system_poll_wait_seconds: int
    allow_version_labels_for_unavailable_models: bool
    saved_model_tags: str
    custom_op_libraries: str
    platform_config_file: str
    num_load_threads: int
    num_unload_threads: int
    max_num_load_retries: int
    load_retry_interval_micros: int
    load_niceness: int
    enable_model_warmup: bool
    num_request_iterations_for_warmup: int
    tensorflow_session_parallelism: int
    tensorflow_intra_op_parallelism: int
    tensorflow_inter_op_parallelism: int
    tensorflow_session_config_file: str
    enable_batching: bool
    batching_parameters_file: str
    enable_per_model_batching_parameters: bool
    prefer_tflite_model: bool
    num_tflite_pools: int
    num_tflite_interpreters_per_pool: int
    enable_signature_method_name_check: bool
    rest_api_num_threads: int
    rest_api_timeout_in_ms: int
    rest_api_idle_timeout_in_ms: int
    rest_api_enable_cors_support: bool
    monitoring_config_file: str
    grpc_max_threads: int
    grpc_channel_arguments: str
    enable_serialization_as_tensor_content: bool
    enable_grpc_healthcheck_service: bool
    enable_request_logging: bool
    request_log_prefix: str
    request_log_sampling_rate: float
    request_log_file_bytes: int
    request_log_file_records: int
    enable_profiler: bool
    flush_filesystem_caches: bool
    remove_unused_fields_from_bundle_metagraph: bool
    per_process_gpu_memory_fraction: float
    xla_cpu_compilation_enabled: bool
    xla_gpu_compilation_enabled: bool
    mixed_precision: str
    skip_initialize_tpu: bool
    thread_pool_factory_config_file: str
    version: bool
    help: bool


class FlagError(Exception):
    """A flag whose value does not fit, or flags that contradict each other."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parsed command line.

    ``values`` has the value of every flag. ``unknown`` has the arguments that are not flags. ``ignored`` has
    a sentence about each given flag that has no effect.
    """

    values: Flags
    unknown: list[str]
    ignored: list[str]


def parse_flags(arguments: Sequence[str]) -> Arguments:
    """Parse a command line.

    Raises:
        FlagError: for a value that does not fit, a refused flag, and flags that contradict each other.
    """
    known = {flag.name: flag for flag in FLAGS}
    values = {flag.name: flag.default for flag in FLAGS}
    unknown, ignored = [], []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in known:
            unknown.append(argument)
            continue
        flag = known[name]
        values[name] = _value(flag, text if equals else None)
        if flag.kind is Handling.REFUSED and values[name]:
            raise FlagError(f"--{name} is {flag.help}")
        if flag.kind is Handling.IGNORED:
            ignored.append(f"--{name} is {flag.help}")
    flags = cast("Flags", values)
    _check(flags)
    return Arguments(flags, unknown, ignored)


def usage() -> str:
    """Return the help text."""
    lines = ["usage: pytest-tfserving serve --name=value ...", ""]
    lines += ["Serves TensorFlow models as tensorflow_model_server does, with its flags.", ""]
    for title, flags in GROUPS.items():
        lines.append(f"{title}:")
        lines += [_described(flag) for flag in flags]
        lines.append("")
    return "\n".join([*lines, *_ABOUT_THE_LOG])


def _described(flag: Flag) -> str:
    shown = str(flag.default).lower() if isinstance(flag.default, bool) else flag.default
    default = f" (default: {shown})" if shown != "" and flag.kind is Handling.USED else ""
    return f"  --{flag.name}\n        {flag.help}{default}"


def _value(flag: Flag, text: str | None) -> FlagValue:
    if isinstance(flag.default, bool):
        if text in (None, "true", "false"):
            return text != "false"
        raise FlagError(f"--{flag.name} is true or false, not {text!r}")
    if text is None:
        raise FlagError(f"--{flag.name} needs a value, as --{flag.name}={flag.default or 'VALUE'}")
    if isinstance(flag.default, int | float):
        try:
            return type(flag.default)(text)
        except ValueError:
            kind = "whole number" if isinstance(flag.default, int) else "number"
            raise FlagError(f"--{flag.name} is a {kind}, not {text!r}") from None
    return text


def _check(values: Flags) -> None:
    if values["version"] or values["help"]:
        return
    if not values["model_base_path"] and not values["model_config_file"]:
        raise FlagError(
            "--model_base_path is needed, the folder with the model's versions, or --model_config_file"
        )
    _check_ports(values)
    _check_batching(values)
    _check_request_logs(values)
    if values["rest_api_num_threads"] < 1:
        raise FlagError("--rest_api_num_threads must be 1 or more")
    if values["grpc_max_threads"] < 1:
        raise FlagError("--grpc_max_threads must be 1 or more")
    if values["load_niceness"] not in _NICENESS:
        raise FlagError(f"--load_niceness is from 0 to 19, not {values['load_niceness']}")
    if (
        values["tensorflow_session_parallelism"]
        and values["tensorflow_intra_op_parallelism"]
        and values["tensorflow_inter_op_parallelism"]
    ):
        raise FlagError(
            "--tensorflow_session_parallelism sets what --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism set; use it or them"
        )


def _check_ports(values: Flags) -> None:
    for name, port in (("port", values["port"]), ("rest_api_port", values["rest_api_port"])):
        if port not in _PORTS:
            raise FlagError(f"--{name} is a port from 0 to 65535, not {port}")
    if not values["port"] and not values["grpc_socket_path"]:
        raise FlagError("--port or --grpc_socket_path is needed: where to listen for gRPC")


def _check_batching(values: Flags) -> None:
    if values["batching_parameters_file"] and not values["enable_batching"]:
        raise FlagError(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching "
            "to true."
        )


def _check_request_logs(values: Flags) -> None:
    if values["request_log_prefix"] and not values["enable_request_logging"]:
        raise FlagError("--request_log_prefix needs --enable_request_logging")
    if not 0 <= values["request_log_sampling_rate"] <= 1:
        rate = values["request_log_sampling_rate"]
        raise FlagError(f"--request_log_sampling_rate is from 0 to 1, not {rate:g}")
    limits = {
        "request_log_file_bytes": values["request_log_file_bytes"],
        "request_log_file_records": values["request_log_file_records"],
    }
    for name, limit in limits.items():
        if limit < 0:
            raise FlagError(f"--{name} is 0 or more, not {limit}")
