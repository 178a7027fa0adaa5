"""Every flag of TF Serving, with its default, and what becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from harness import until
from pytest_tfserving.model_server.flags import FLAGS, Flag, FlagError, Flags, parse_flags, usage
from server_process import Server, free_port

if TYPE_CHECKING:
    from pathlib import Path

CPUS = os.cpu_count() or 1
DEFAULTS: dict[str, Any] = {
    "port": 8500,
    "grpc_socket_path": "",
    "rest_api_port": 0,
    "rest_api_num_threads": 4 * CPUS,
    "rest_api_timeout_in_ms": 30000,
    "rest_api_enable_cors_support": False,
    "grpc_max_threads": 4 * CPUS,
    "grpc_channel_arguments": "",
    "enable_batching": False,
    "batching_parameters_file": "",
    "enable_per_model_batching_parameters": False,
    "model_name": "default",
    "model_base_path": "",
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "file_system_poll_wait_seconds": 1,
    "num_load_threads": 0,
    "num_unload_threads": 0,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60_000_000,
    "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 0,
    "allow_version_labels_for_unavailable_models": False,
    "monitoring_config_file": "",
    "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "tensorflow_session_config_file": "",
    "saved_model_tags": "serve",
    "enable_serialization_as_tensor_content": False,
    "enable_signature_method_name_check": False,
    "prefer_tflite_model": False,
    "num_tflite_pools": CPUS,
    "num_tflite_interpreters_per_pool": 1,
    "enable_grpc_healthcheck_service": False,
    "ssl_config_file": "",
    "enable_profiler": True,
    "version": False,
    "flush_filesystem_caches": True,
    "remove_unused_fields_from_bundle_metagraph": True,
    "per_process_gpu_memory_fraction": 0.0,
    "mixed_precision": "",
    "xla_cpu_compilation_enabled": False,
    "xla_gpu_compilation_enabled": False,
    "thread_pool_factory_config_file": "",
    "platform_config_file": "",
    "use_alts_credentials": False,
    "skip_initialize_tpu": False,
}
IGNORED = (
    *("--enable_profiler", "--flush_filesystem_caches=false", "--mixed_precision=bfloat16"),
    *("--remove_unused_fields_from_bundle_metagraph=false", "--per_process_gpu_memory_fraction=0.5"),
    *("--xla_cpu_compilation_enabled", "--xla_gpu_compilation_enabled=true", "--skip_initialize_tpu"),
    "--thread_pool_factory_config_file=/pools.txt",
)


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items(), ids=DEFAULTS)
def test_defaults(name: str, default: object) -> None:
    value = dict(parse_flags(["--model_base_path=/m", "--rest_api_port=0"]).values)[name]

    assert value == (default if name != "model_base_path" else "/m")
    assert type(value) is type(default)


def test_there_is_no_flag_but_tf_servings_and_a_few_more() -> None:
    assert {flag.name for flag in FLAGS} - set(DEFAULTS) == {
        *("bind_address", "custom_op_libraries", "help", "load_niceness", "rest_api_idle_timeout_in_ms"),
        *("enable_request_logging", "request_log_prefix", "request_log_sampling_rate"),
        *("request_log_file_bytes", "request_log_file_records"),
    }
    assert all(f"--{flag.name}\n" in usage() for flag in FLAGS)


def test_the_types_of_flags_are_those_of_their_defaults() -> None:
    assert get_type_hints(Flags) == {flag.name: type(flag.default) for flag in FLAGS}


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if isinstance(flag.default, bool)], ids=str)
def test_flags_that_are_true_or_false(flag: Flag) -> None:
    if flag.kind.value == "refused":
        return

    def value(text: str) -> object:
        return dict(parse_flags([f"--{flag.name}{text}", "--model_base_path=/m"]).values)[flag.name]

    assert [value(""), value("=true"), value("=false")] == [True, True, False]
    with pytest.raises(FlagError, match=f"--{flag.name} is true or false, not '1'"):
        value("=1")


@pytest.mark.parametrize("value", ["-1", "20"])
def test_a_niceness_that_linux_does_not_have(value: str) -> None:
    with pytest.raises(FlagError, match=f"--load_niceness is from 0 to 19, not {value}"):
        parse_flags(["--model_base_path=/m", f"--load_niceness={value}"])


def test_flags_without_an_effect_are_told_in_one_line_each(models: Path) -> None:
    with Server("half_plus_two", models / "half_plus_two", *IGNORED) as server:
        assert server.predict({"instances": [1]}).status_code == 200
        for flag in IGNORED:
            name = flag.partition("=")[0]
            (line,) = [each for each in server.log().splitlines() if f" {name} " in each]
            assert "accepted without an effect: " in line


def test_one_port_for_both_apis_serves_grpc_only(models: Path) -> None:
    port = free_port()
    flags = [f"--port={port}", f"--rest_api_port={port}"]
    with Server("kinds", models / "kinds", *flags, ready=False) as server:
        until(lambda: "Running gRPC ModelServer" in server.log(), "the gRPC API")

        assert f"--rest_api_port is the same as --port, {port}: REST is not served" in server.log()
        assert "Exporting HTTP/REST API" not in server.log()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "NOT_FOUND: {file}; No such file or directory"),
        ("nonsense", "INVALID_ARGUMENT: Invalid protobuf file: '{file}'"),
    ],
)
def test_a_session_configuration_that_does_not_fit(
    models: Path, tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "session.txt"
    if text is not None:
        file.write_text(text)
    command = [sys.executable, "-m", "pytest_tfserving.model_server", f"--port={free_port()}"]
    flags = [f"--model_base_path={models / 'kinds'}", f"--tensorflow_session_config_file={file}"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(message.replace("{file}", str(file)))


def test_a_session_configuration_for_gpus_and_clusters(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "session.txt"
    file.write_text(
        "gpu_options { allow_growth: true per_process_gpu_memory_fraction: 0.5 experimental {} }\n"
        "experimental { disable_thread_spinning: true }\n"
        'rpc_options {}\ncluster_def { job { name: "w" } }\ndevice_filters: "/job:w"\n'
        "graph_options { rewrite_options { min_graph_nodes: 4 auto_mixed_precision: OFF } }\n"
        "allow_soft_placement: true\n"
    )
    flags = [f"--tensorflow_session_config_file={file}", "--file_system_poll_wait_seconds=0"]
    with Server("kinds", models / "kinds", *flags) as server:
        assert server.predict({"instances": [1]}).status_code == 200
        logged = server.log()

    fields = "device_filters, gpu_options, rpc_options, cluster_def"
    reason = "this server runs on the CPUs of one machine"
    assert logged.count("without an effect") == 1
    assert f"{file}: without an effect, because {reason}: {fields}\n" in logged


def threads(server: Server) -> int:
    import psutil

    return int(psutil.Process(server.process.pid).num_threads())


def test_a_session_configuration(models: Path, tmp_path: Path) -> None:
    """Threads of a pool are made for the first model, so they tell whether the configuration was read."""
    file = tmp_path / "session.txt"
    file.write_text("intra_op_parallelism_threads: 40\ninter_op_parallelism_threads: 1\n")
    flag = f"--tensorflow_session_config_file={file}"
    with Server("kinds", models / "kinds", flag) as many, Server("kinds", models / "kinds") as few:
        for server in (many, few):
            assert server.predict({"instances": [1]}).status_code == 200

        assert threads(many) > threads(few) + 30
    one = "--tensorflow_intra_op_parallelism=1"
    with Server("kinds", models / "kinds", flag, one) as server:
        assert threads(server) < 40
