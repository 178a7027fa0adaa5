"""The table of differences from TF Serving in docs/model-server.md: each row has a test, named here."""

from __future__ import annotations

import ast
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from grpc_client import Client, serving
from harness import until
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message


HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "model-server.md"
# By the first cell of a row: the tests that show the difference, as file and function.
TESTS: Mapping[str, str] = {
    "listening": "test_differences.test_the_address_to_listen_on",
    "a port in use": "test_life.test_a_port_in_use_is_one_clear_line",
    "exit codes": "test_life.test_help_and_version",
    "models": "test_configuration.test_configurations_that_do_not_fit",
    "request logging": "test_request_log.test_requests_are_logged_read_back_and_replayed",
    "operations of TensorFlow Text": "test_operations.test_tensorflow_text",
    "profiler": "test_differences.test_there_is_no_profiler",
    "TFLite models": "test_tflite.test_a_clients_mistake_is_told_and_forgotten",
    "loading beside requests": "test_loading.test_a_graph_is_prepared_without_a_run",
    "REST responses": "test_differences.test_a_response_has_no_date",
    "REST bodies": "test_safety.test_a_body_above_the_limit",
    "heads of REST requests, trailers of chunks": "test_http.test_a_line_without_an_end_is_refused",
    "REST connections whose client sends nothing": "test_http.test_clients_that_wait_are_not_waited_for",
    "`--rest_api_num_threads=1`": "test_differences.test_one_thread_for_rest",
    "a deadline during a run on the event loop": "test_event_loop.test_no_timeout_on_the_event_loop",
    "tensors in JSON": "test_safety.test_deep_nesting",
    "a whole number that the input's type cannot hold": "test_kinds.test_values_that_do_not_fit_a_type",
    "decimal numbers in JSON": "test_differences.test_decimal_numbers_are_read_exactly",
    "equal names in a JSON object": "test_differences.test_the_first_of_equal_names_counts",
    "relative `--model_base_path`": "test_differences.test_a_relative_base_path",
    "base paths": "test_differences.test_base_paths_in_other_file_systems",
    "tensors over gRPC with fewer values than their shape": "test_grpc.test_tensors_that_are_none",
    "quantized types over gRPC": "test_differences.test_quantized_types_are_refused",
    "a changed configuration file": "test_differences.test_a_later_configuration_replaces_one_that_waits",
    "`client_verify` in an SSLConfig": "test_ssl.test_configurations_that_do_not_fit",
    "a gRPC request that cannot be parsed": "test_grpc.test_requests_for_what_is_not_there",
    "metrics": "test_metrics.test_labels_from_requests_do_not_grow_without_end",
}


def rows() -> list[str]:
    """The first cell of each row of the table."""
    table = PAGE.read_text(encoding="utf-8").partition("\n## Differences from TF Serving\n")[2]
    cells = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("|")]
    return cells[2:]


def test_every_row_has_a_test() -> None:
    assert rows() == list(TESTS)


@pytest.mark.parametrize("name", sorted(set(TESTS.values())))
def test_the_test_of_a_row_is_there(name: str) -> None:
    file, _, function = name.partition(".")
    tree = ast.parse((HERE / f"{file}.py").read_text(encoding="utf-8"))

    assert function in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


# --- the tests of rows that no other file has ---


def answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


@pytest.mark.needs("linux")
def test_the_address_to_listen_on(models: Path) -> None:
    folder = models / "half_plus_two"
    with Server("half", folder) as alone, Server("half", folder, "--bind_address=0.0.0.0") as everywhere:
        ports = [alone.port, alone.grpc_port, everywhere.port, everywhere.grpc_port]
        until(lambda: all(answers("127.0.0.1", port) for port in ports), "all ports")

        assert [answers("127.0.0.2", port) for port in ports] == [False, False, True, True]


def test_there_is_no_profiler(half: Server) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{half.grpc_port}") as channel:
        ask = channel.unary_unary("/tensorflow.ProfilerService/Profile")
        with pytest.raises(grpc.RpcError) as failed:
            ask(b"", timeout=60)

    error: Any = failed.value
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_response_has_no_date(half: Server) -> None:
    headers = half.predict({"instances": [1.0]}).headers

    assert {name.lower() for name in headers} == {"content-type", "content-length"}


def test_one_thread_for_rest(models: Path) -> None:
    with (
        Server("many", models / "many", "--rest_api_num_threads=1") as server,
        ThreadPoolExecutor(4) as pool,
    ):
        slow = {"signature_name": "slow", "inputs": [100_000]}
        answers = [pool.submit(server.predict, slow) for _ in range(4)]

        assert [each.result().json() for each in answers] == [{"outputs": [100_000]}] * 4


@pytest.mark.parametrize(
    "text",
    [
        *("0.1234567890123456789", "9007199254740993.0", "123456789012345.678e-20", "7.2057594037927933e16"),
        *("2.2250738585072011e-308", "5e-324", "1.7976931348623157e308"),
    ],
)
def test_decimal_numbers_are_read_exactly(kinds: Server, text: str) -> None:
    body = f'{{"signature_name": "echo_float64", "inputs": [{text}]}}'.encode()

    assert kinds.predict(body).json() == {"outputs": [float(text)]}


def test_the_first_of_equal_names_counts(half: Server, many: Server) -> None:
    body = b'{"instances": [1.0], "instances": [5.0]}'
    rows = b'{"signature_name": "two", "instances": [{"a": 1.0, "b": 2, "a": 5.0}]}'

    assert half.predict(body).json() == {"predictions": [2.5]}
    assert many.predict(rows).json() == {"predictions": [{"total": 3.0, "twice": 4}]}


def test_a_relative_base_path(models: Path) -> None:
    with Server("half", Path(os.path.relpath(models / "half_plus_two"))) as server:
        assert server.predict({"instances": [1.0]}).json() == {"predictions": [2.5]}


def test_base_paths_in_other_file_systems(half: Server) -> None:
    request = serving("ReloadConfigRequest")()
    request.config.model_config_list.config.add(
        name="far", base_path="gs://bucket/model", model_platform="tensorflow"
    )
    with Client(f"127.0.0.1:{half.grpc_port}") as client:
        assert client.failure("HandleReloadConfigRequest", request) == (
            "INVALID_ARGUMENT",
            "Model far has the base_path gs://bucket/model, and this server reads only the file system of "
            "its machine",
        )


@pytest.mark.parametrize(
    "dtype", [11, 12, 13, 15, 16], ids=["QINT8", "QUINT8", "QINT32", "QINT16", "QUINT16"]
)
def test_quantized_types_are_refused(kinds: Server, dtype: int) -> None:
    with Client(f"127.0.0.1:{kinds.grpc_port}") as client:
        request = client.request("Predict", "kinds")
        request.inputs["x"].dtype = dtype
        request.inputs["x"].tensor_shape.dim.add(size=1)
        request.inputs["x"].tensor_content = bytes(4)

        assert client.failure("Predict", request) == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_a_later_configuration_replaces_one_that_waits(models: Path, tmp_path: Path) -> None:
    def configuration(base: Path) -> Message:
        request = serving("ReloadConfigRequest")()
        request.config.model_config_list.config.add(
            name=base.name, base_path=str(base), model_platform="tensorflow"
        )
        return request

    with (
        Server("half_plus_two", models / "half_plus_two") as server,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
        ThreadPoolExecutor(1) as pool,
    ):
        method, late = "HandleReloadConfigRequest", tmp_path / "late"
        waiting = pool.submit(client.failure, method, configuration(late))
        until(lambda: f"{late}" in server.log(), "the model that is waited for")
        client.call(method, configuration(models / "numbered"))

        assert waiting.result()[0] == "ABORTED"
        assert server.states("numbered") == {"4": "AVAILABLE"}
