"""Batches: their parameters, limits and errors, seen from outside."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from grpc_client import Client, tensor
from harness import until
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    import requests

# Batches form while the only thread is held, or while they wait for the time out.
LATER = "batch_timeout_micros { value: 3000000 } "
ONE_THREAD = "num_batch_threads { value: 1 } "


@contextmanager
def batching(models: Path, folder: Path, text: str, *flags: str) -> Iterator[Server]:
    parameters = folder / "batching.txt"
    parameters.write_text(text, encoding="utf-8")
    all_flags = [
        *("--rest_api_num_threads=32", "--enable_batching=true", f"--batching_parameters_file={parameters}"),
        *flags,
    ]
    with Server("kinds", models / "kinds", *all_flags) as server:
        yield server


def rows(server: Server, values: list[float], pool: ThreadPoolExecutor) -> Future[requests.Response]:
    return pool.submit(server.predict, {"signature_name": "rows", "instances": values})


@contextmanager
def held(server: Server, folder: Path, pool: ThreadPoolExecutor) -> Iterator[None]:
    """The batch threads are busy inside the context, as there is one."""
    path = folder / "held"
    first = pool.submit(server.predict, {"signature_name": "hold", "inputs": [str(path)]})
    until(path.with_name("held.arrived").exists, "the thread to be busy")
    yield
    path.touch()
    assert first.result().status_code == 200


def error(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


def test_requests_are_joined_up_to_the_batch_size(models: Path, tmp_path: Path) -> None:
    text = "max_batch_size { value: 4 } " + LATER + ONE_THREAD
    with batching(models, tmp_path, text) as server, ThreadPoolExecutor(4) as pool:
        answers = [rows(server, [1, 2], pool) for _ in range(2)]

        assert [each.result().json() for each in answers] == [{"predictions": [4, 4]}] * 2
        too_large = server.predict({"signature_name": "rows", "instances": [1] * 5})
        assert error(too_large) == (400, "Task size 5 is larger than maximum input batch size 4")


def test_batches_are_filled_up_to_an_allowed_size(models: Path, tmp_path: Path) -> None:
    text = "max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 8"
    with batching(models, tmp_path, text) as server, ThreadPoolExecutor(4) as pool:
        assert rows(server, [1], pool).result().json() == {"predictions": [2]}
        assert rows(server, [1, 2, 3], pool).result().json() == {"predictions": [8, 8, 8]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "max_batch_size { value: 32 } allowed_batch_sizes: 4 allowed_batch_sizes: 8",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 32",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: [4, 4, 8]",
            "allowed_batch_sizes entries must be positive and monotonically increasing",
        ),
    ],
)
def test_allowed_sizes_that_do_not_fit_spoil_the_load(
    models: Path, tmp_path: Path, text: str, message: str
) -> None:
    parameters = tmp_path / "batching.txt"
    parameters.write_text(text)
    flags = ["--enable_batching", f"--batching_parameters_file={parameters}"]
    with Server("kinds", models / "kinds", *flags, ready=False) as server:
        until(lambda: server.process.poll() is not None, "the end")

        assert f"due to error: {message}" in server.log()


def test_lengths_that_differ_are_padded_when_asked_for(models: Path, tmp_path: Path) -> None:
    text = "max_batch_size { value: 2 } pad_variable_length_inputs: true " + LATER + ONE_THREAD
    with batching(models, tmp_path, text) as server, ThreadPoolExecutor(4) as pool:
        short, long = (
            pool.submit(server.predict, {"signature_name": "sum", "instances": [values]})
            for values in ([5, 1], [1, 1, 1, 1])
        )

        assert short.result().json() == {"predictions": [16.0]}
        assert long.result().json() == {"predictions": [4.0]}


def test_lengths_that_differ_are_an_error_of_all_otherwise(models: Path, tmp_path: Path) -> None:
    text = "max_batch_size { value: 2 } " + LATER + ONE_THREAD
    with batching(models, tmp_path, text) as server, ThreadPoolExecutor(4) as pool:
        answers = [
            pool.submit(server.predict, {"signature_name": "sum", "instances": [values]})
            for values in ([5, 1], [1, 1, 1, 1])
        ]

        for answer in answers:
            status, message = error(answer.result())
            assert status == 400
            assert message.startswith(
                "Tensors with name 'anything:0' from different tasks have different shapes and padding is "
                "turned off."
            )


def test_a_large_request_is_split_when_asked_for(models: Path, tmp_path: Path) -> None:
    text = (
        "max_batch_size { value: 10 } enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 4 } allowed_batch_sizes: 2 allowed_batch_sizes: 4"
    )
    with batching(models, tmp_path, text) as server, ThreadPoolExecutor(4) as pool:
        answer = rows(server, [1] * 10, pool).result()
        too_large = server.predict({"signature_name": "rows", "instances": [1] * 11})

        assert answer.json() == {"predictions": [4, 4, 4, 4, 4, 4, 4, 4, 2, 2]}
        assert error(too_large) == (400, "Task size 11 is larger than maximum input batch size 10")


def test_a_full_queue(models: Path, tmp_path: Path) -> None:
    text = "max_batch_size { value: 1 } max_enqueued_batches { value: 1 } " + ONE_THREAD
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text('prometheus_config { enable: true path: "/m" }')
    flag = f"--monitoring_config_file={monitoring}"
    with batching(models, tmp_path, text, flag) as server, ThreadPoolExecutor(8) as pool:
        seen = ":batching_session:input_batch_size_count{} "
        with held(server, tmp_path, pool):
            waiting = rows(server, [1], pool)
            until(lambda: f"{seen}2" in server.get("/m").text, "the waiting request")
            refused = rows(server, [1], pool).result()

        assert waiting.result().status_code == 200
        assert error(refused) == (
            503,
            "The batch scheduling queue to which this task was submitted is full; currently 1 batches "
            "enqueued and max_enqueued_batches is 1",
        )


def test_a_deadline_in_the_queue(models: Path, tmp_path: Path) -> None:
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text('prometheus_config { enable: true path: "/m" }')
    flag = f"--monitoring_config_file={monitoring}"
    with (
        batching(models, tmp_path, "max_batch_size { value: 8 } " + ONE_THREAD, flag) as server,
        ThreadPoolExecutor(1) as pool,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
    ):
        request = client.request("Predict", "kinds")
        request.inputs["x"].CopyFrom(tensor(np.ones(1, np.float32)))
        with held(server, tmp_path, pool):
            code, _ = client.failure("Predict", request, timeout_s=0.5)
        count = ':request_count{model_name="kinds",status="RESOURCE_EXHAUSTED"} 1'
        until(lambda: count in server.get("/m").text, "the end of the request")

    assert code == "DEADLINE_EXCEEDED"


def test_a_deadline_in_the_queue_over_rest(models: Path, tmp_path: Path) -> None:
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text('prometheus_config { enable: true path: "/m" }')
    flags = ["--rest_api_timeout_in_ms=500", f"--monitoring_config_file={monitoring}"]
    with (
        batching(models, tmp_path, "max_batch_size { value: 8 } " + ONE_THREAD, *flags) as server,
        ThreadPoolExecutor(2) as pool,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
    ):
        path = tmp_path / "held"
        busy = pool.submit(client.predict, "kinds", {"path": np.array([str(path).encode()], object)}, "hold")
        until(path.with_name("held.arrived").exists, "the thread to be busy")
        waiting = rows(server, [1], pool)
        asked = time.monotonic()
        until(lambda: time.monotonic() > asked + 1, "its time to be over")
        path.touch()
        busy.result()
        refused = error(waiting.result())
        metrics = server.get("/m").text

    assert refused == (429, "Run() timeout exceeded while waiting in batching queue")
    for line in (
        ':batching_session:queuing_latency_count{thread_pool_name="batch_threads"} 2',
        ":batching_session:input_batch_size_count{} 2",
        ":batching_session:wrapped_run_count{} 2",
        ":batching_session:processed_batch_size_sum{} 2",
        ':batching_session:padding_size_count{execution_batch_size="1"} 2',
    ):
        assert line in metrics


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        (
            "two",
            {"pair": [[1, 2]], "count": 3},
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            "two",
            {"pair": [[1, 2]], "count": [3, 4]},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        ("scalar", [1], "Batched output tensor has 0 dimensions"),
        (
            "uneven",
            [1],
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes",
        ),
    ],
)
def test_what_cannot_be_batched(
    models: Path, tmp_path: Path, signature: str, inputs: object, message: str
) -> None:
    with batching(models, tmp_path, "# the defaults") as server:
        status, told = error(server.predict({"signature_name": signature, "inputs": inputs}))

    assert status == 400
    assert message in told


def test_parameters_of_each_version(models: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(models / "kinds", base)
    (base / "1" / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    flags = ["--enable_batching", "--enable_per_model_batching_parameters"]
    with Server("kinds", base, *flags) as server:
        batched = server.predict({"signature_name": "rows", "instances": [1] * 3})
        (tmp_path / "2").mkdir()
        shutil.copytree(models / "kinds" / "1", tmp_path / "2", dirs_exist_ok=True)
        (tmp_path / "2").rename(base / "2")
        until(lambda: server.states().get("2") == "AVAILABLE", "version 2")
        free = server.predict({"signature_name": "rows", "instances": [1] * 3})

    assert error(batched) == (400, "Task size 3 is larger than maximum input batch size 2")
    assert free.json() == {"predictions": [3, 3, 3]}
