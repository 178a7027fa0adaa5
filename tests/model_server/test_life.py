"""Start, swap, batching, end: the life of a server."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from harness import until
from server_process import Server, free_port

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "pytest_tfserving.model_server"]


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *flags], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rest_api_port=1"], "the folder with the model's versions, or --model_config_file"),
        (
            ["--model_base_path=/m", "--port=0"],
            "--port or --grpc_socket_path is needed: where to listen for gRPC",
        ),
        (["--model_base_path=/m", "--port=70000"], "--port is a port from 0 to 65535, not 70000"),
        (["--use_alts_credentials"], "is refused: ALTS works only on Google's own machines"),
        (["--platform_config_file=/p"], "--platform_config_file is refused: use flags instead"),
        (["--per_process_gpu_memory_fraction=half"], "is a number, not 'half'"),
        (["--rest_api_port=many"], "--rest_api_port is a whole number, not 'many'"),
        (["--rest_api_port"], "--rest_api_port needs a value, as --rest_api_port=VALUE"),
        (["--enable_batching=1"], "--enable_batching is true or false, not '1'"),
        (
            ["--rest_api_port=1", "--model_base_path=/m", "--batching_parameters_file=/b"],
            "batching_parameters_file is set without setting server_options.enable_batching to true.",
        ),
        (
            [
                *("--rest_api_port=1", "--model_base_path=/m", "--tensorflow_session_parallelism=1"),
                *("--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=1"),
            ],
            "use it or them",
        ),
        (
            ["--model_base_path=/m", "--request_log_prefix=/tmp/log"],
            "--request_log_prefix needs --enable_request_logging",
        ),
        (
            ["--model_base_path=/m", "--request_log_sampling_rate=10"],
            "--request_log_sampling_rate is from 0 to 1, not 10",
        ),
        (
            ["--model_base_path=/m", "--request_log_file_records=-1"],
            "--request_log_file_records is 0 or more, not -1",
        ),
    ],
)
def test_flags_that_do_not_fit(flags: list[str], message: str) -> None:
    done = run(*flags)

    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(message)
    assert done.stderr.startswith("usage: ")


def test_help_and_version() -> None:
    shown, version = run("--help"), run("--version")

    assert (shown.returncode, version.returncode) == (0, 0)
    assert "--tensorflow_intra_op_parallelism" in shown.stdout
    assert version.stdout.startswith("TensorFlow ModelServer: ")


def test_a_port_in_use_is_one_clear_line(models: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(f"--port={port}", f"--model_base_path={models / 'half_plus_two'}")

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"cannot listen on 127.0.0.1:{port}: address already in use")


def test_a_model_that_does_not_load_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()

    done = run(
        *(f"--port={free_port()}", f"--model_base_path={tmp_path}", "--model_name=bad"),
        *("--max_num_load_retries=1", "--load_retry_interval_micros=1000"),
    )

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "UNKNOWN: 1 servable(s) did not become available: {{name: bad version: 3} due to error: " in last
    assert done.stderr.count("bad version 3 did not load: ") == 2
    assert "Could not find SavedModel .pb or .pbtxt at supplied export directory path" in last
    assert "Traceback" not in done.stderr


def test_an_unknown_flag_is_named_and_a_folder_is_waited_for(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "late"
    with Server("late", folder, "--mystery=1", ready=False) as server:
        until(lambda: "waiting for one" in server.log(), "a word about the folder")
        assert not server.serves()
        shutil.copytree(models / "half_plus_two", tmp_path / "early")
        (tmp_path / "early").rename(folder)
        until(server.serves, "the model")

        assert server.predict({"instances": [1]}).json() == {"predictions": [2.5]}
        assert "unknown argument --mystery=1 is ignored" in server.log()
        assert f"Exporting HTTP/REST API at:localhost:{server.port} ..." in server.log()


def test_versions_are_exchanged_without_a_failed_request(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "swap"
    shutil.copytree(models / "half_plus_two", folder)
    with Server("swap", folder) as server, ThreadPoolExecutor(4) as pool:

        def states() -> dict[str, str]:
            found = server.get("/v1/models/swap").json()["model_version_status"]
            return {each["version"]: each["state"] for each in found}

        shutil.copytree(folder / "1", folder / "0000002")
        asked = [pool.submit(server.predict, {"instances": [1]}) for _ in range(200)]
        until(lambda: states() == {"2": "AVAILABLE", "1": "END"}, "the swap")
        (folder / "3").mkdir()
        until(lambda: states().get("3") == "END", "the failure of version 3")

        assert {each.result().status_code for each in asked} == {200}
        assert states() == {"3": "END", "2": "AVAILABLE", "1": "END"}
        assert server.predict({"instances": [1]}, "/versions/2").status_code == 200
        assert server.predict({"instances": [1]}, "/versions/1").status_code == 404


def test_sigterm_answers_what_was_asked_and_exits_with_0(models: Path) -> None:
    with Server("many", models / "many") as server, ThreadPoolExecutor(1) as pool:
        body = {"signature_name": "slow", "inputs": [300_000]}
        asked = pool.submit(server.predict, body)
        until(asked.running, "the request")
        until(lambda: established(server.port), "its connection")
        server.process.send_signal(signal.SIGTERM)

        assert asked.result().json() == {"outputs": [300_000]}
        assert server.process.wait(60) == 0


def established(port: int) -> bool:
    """Whether somebody is connected to ``port``."""
    import psutil

    return any(
        each.laddr and each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED
        for each in psutil.net_connections("tcp4")
    )


def test_batching(models: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "batching.txt"
    parameters.write_text(
        "max_batch_size { value: 4 }  # four rows\nbatch_timeout_micros { value: 20000 }\n"
        "max_enqueued_batches { value: 1 }\n"
        'num_batch_threads { value: 1 }\nthread_pool_name: { value: "mine" }\n',
        encoding="utf-8",
    )
    flags = [
        "--rest_api_num_threads=32",
        "--enable_batching=true",
        f"--batching_parameters_file={parameters}",
    ]
    with Server("many", models / "many", *flags) as server, ThreadPoolExecutor(12) as pool:
        assert server.predict({"instances": [{"a": 1, "b": 2}]}).json()["predictions"][0]["total"] == 3
        too_large = server.predict({"instances": [{"a": 1, "b": 2}] * 5})
        slow = {"signature_name": "slow", "inputs": [400_000]}
        answers = [each.result() for each in [pool.submit(server.predict, slow) for _ in range(12)]]

    assert too_large.status_code == 400
    assert too_large.json()["error"] == "Task size 5 is larger than maximum input batch size 4"
    assert {answer.status_code for answer in answers} == {200, 503}
    (message,) = {answer.json()["error"] for answer in answers if answer.status_code == 503}
    assert message.endswith("currently 1 batches enqueued and max_enqueued_batches is 1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be 1 or more; was 0"),
        ("max_batch { value: 3 }", "Invalid protobuf file: "),
        ("improperly formatted file", "Invalid protobuf file: "),
        (None, "No such file or directory"),
    ],
)
def test_batching_files_that_do_not_fit(tmp_path: Path, text: str | None, message: str) -> None:
    parameters = tmp_path / "batching.txt"
    if text is not None:
        parameters.write_text(text, encoding="utf-8")

    done = run(
        *(f"--port={free_port()}", "--model_base_path=/m", "--enable_batching"),
        f"--batching_parameters_file={parameters}",
    )

    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
