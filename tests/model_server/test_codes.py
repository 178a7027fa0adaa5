"""Every error code a model may end with, as REST and gRPC clients see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from grpc_client import Client
from pytest_tfserving.model_server.status import Code
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The number asked about is the code of the failure: no graph could be made to end with each of them.
FAILING = """
import sys
from pytest_tfserving.model_server import tensorflow_c
from pytest_tfserving.model_server.status import Code, ServingError
run = tensorflow_c.Call.run
def planted(call, arrays, options=None):
    code = Code(int(arrays[0][0]))
    if code:
        raise ServingError(code, f"planted {code.name}")
    return run(call, arrays, options)
tensorflow_c.Call.run = planted
from pytest_tfserving.model_server.main import main
sys.exit(main())
"""
STATUSES = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}


@pytest.fixture(scope="module")
def failing(models: Path) -> Iterator[Server]:
    """A model whose runs end with the code that is asked for."""
    server = Server("half_plus_two", models / "half_plus_two")
    server.command[1:3] = ["-c", FAILING]
    with server:
        yield server


@pytest.fixture(scope="module")
def failing_client(failing: Server) -> Iterator[Client]:
    """A gRPC client of it."""
    with Client(f"127.0.0.1:{failing.grpc_port}") as client:
        yield client


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_the_status_that_stands_for_a_code(failing: Server, name: str, status: int) -> None:
    # So many that some run in threads and some on the event loop.
    answers = [failing.predict({"instances": [Code[name].value]}) for _ in range(50)]

    assert {answer.status_code for answer in answers} == {status}
    if status != 200:
        assert {answer.text for answer in answers} == {f'{{\n    "error": "planted {name}"\n}}'}


@pytest.mark.parametrize("name", [name for name in STATUSES if name != "OK"])
def test_the_code_over_grpc(failing_client: Client, name: str) -> None:
    request = failing_client.request("Predict", "half_plus_two")
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].tensor_content = np.float32(Code[name].value).tobytes()

    assert failing_client.failure("Predict", request) == (name, f"planted {name}")


@pytest.mark.parametrize(
    ("signature", "status", "message"),
    [
        ("missing_file", 404, "No such file or directory"),
        ("past_the_end", 400, "is closed and has insufficient elements"),
        ("too_much_memory", 429, "OOM when allocating tensor"),
        ("broken_data", 500, "inflate() failed"),
        ("no_such_cast", 501, "is not supported"),
        ("not_begun", 400, "uninitialized"),
        ("negative", 400, "assertion failed"),
        ("closed", 499, "is closed"),
        ("twice", 409, "Resource __per_step_"),
        ("forbidden", 403, "Permission denied"),
    ],
)
def test_errors_of_tensorflows_own_operations(
    kinds: Server, signature: str, status: int, message: str
) -> None:
    response = kinds.predict({"signature_name": signature, "inputs": [-1.0]})

    assert (response.status_code, message in response.json()["error"]) == (status, True), response.text
