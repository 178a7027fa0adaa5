"""TFLite models, served where they are asked for."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from grpc_client import Client
from harness import until
from server_process import Server, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFER = "--prefer_tflite_model=true"


def lite(models: Path, name: str, *flags: str, ready: bool = True) -> Server:
    return Server(name, models / "tflite" / name, PREFER, *flags, ready=ready)


@pytest.fixture(scope="module")
def half(models: Path) -> Iterator[Server]:
    with lite(models, "half_plus_three") as server:
        yield server


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [1.0, 2.0, 5.0]}, {"predictions": [3.5, 4.0, 5.5]}),
        ({"instances": [[1.0], [2.0]]}, {"predictions": [[3.5], [4.0]]}),
        ({"instances": [{"serving_default_x": [4]}]}, {"predictions": [[5.0]]}),
        ({"inputs": {"serving_default_x": [[[4]]]}}, {"outputs": [[[5.0]]]}),
        ({"inputs": [1.0]}, {"outputs": [3.5]}),
    ],
)
def test_predict(half: Server, body: object, answer: object) -> None:
    response = half.predict(body)

    assert (response.status_code, response.json()) == (200, answer)


def test_predict_over_grpc(half: Server) -> None:
    with Client(f"127.0.0.1:{half.grpc_port}") as client:
        (output,) = client.predict(
            "half_plus_three", {"serving_default_x": np.ones((2, 1), np.float32)}
        ).values()

    assert output.tolist() == [[3.5], [3.5]]


def test_a_signature_is_made_of_the_tensors(half: Server) -> None:
    document = half.get("/v1/models/half_plus_three/metadata").json()

    (name,) = document["metadata"]["signature_def"]["signature_def"]
    signature = document["metadata"]["signature_def"]["signature_def"][name]
    assert (name, signature["method_name"]) == ("serving_default", "tensorflow/serving/predict")
    assert signature["inputs"] == {
        "serving_default_x": {
            "name": "serving_default_x:0",
            "dtype": "DT_FLOAT",
            "tensor_shape": {
                "dim": [{"size": "1", "name": ""}, {"size": "1", "name": ""}],
                "unknown_rank": False,
            },
        }
    }
    assert list(signature["outputs"]) == ["PartitionedCall"]
    assert "No signature def found in TFLite model. Generating one." in half.log()


def test_texts_and_several_inputs(models: Path) -> None:
    with lite(models, "two") as server:
        names = {"text": "serving_default_text", "pair": "serving_default_pair"}
        inputs = {names["text"]: [{"b64": "/wA="}, "grüß"], names["pair"]: [[1, 2], [3, 4]]}
        response = server.predict({"inputs": inputs})
        row = server.predict({"instances": [{names["text"]: "", names["pair"]: [5, 6]}]})

    text, doubled = sorted(response.json()["outputs"].values(), key=str)
    assert (text, doubled) == (["\N{REPLACEMENT CHARACTER}\0", "grüß"], [[2, 4], [6, 8]])
    assert [10, 12] in row.json()["predictions"][0].values()


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("matrix", {"instances": [[1.0, 2.0]]}, "Failed to invoke TfLite interpreter: "),
        ("matrix", {"instances": []}, "No values in 'instances' array"),
        ("matrix", {"inputs": [[]]}, "Input tensor serving_default_x:0 is empty"),
        ("matrix", {"inputs": [["a"]]}, "is not of expected type: float"),
    ],
)
def test_a_clients_mistake_is_told_and_forgotten(models: Path, name: str, body: object, message: str) -> None:
    with lite(models, name, "--num_tflite_pools=1") as server:
        before = server.predict({"instances": [[1, 2, 3]]})
        refused = server.predict(body)
        after = server.predict({"instances": [[1, 2, 3]]})

    assert (refused.status_code, message in refused.json()["error"]) == (400, True), refused.text
    assert before.json() == after.json() == {"predictions": [[6.0, 6.0]]}


def test_another_type_over_grpc(half: Server) -> None:
    with Client(f"127.0.0.1:{half.grpc_port}") as client:
        request = client.request("Predict", "half_plus_three")
        request.inputs["serving_default_x"].dtype = 3
        request.inputs["serving_default_x"].tensor_shape.dim.add(size=1)

        assert client.failure("Predict", request) == (
            "INVALID_ARGUMENT",
            "Expects input tensor serving_default_x:0 to be DT_FLOAT but DT_INT32 is provided",
        )


def test_signatures_that_the_model_brings(models: Path) -> None:
    with lite(models, "signatures", "--enable_signature_method_name_check") as server:
        answer = server.predict({"instances": [{"number": 1.0}]})
        odd = server.predict({"signature_name": "odd", "instances": [1.0]})
        regress = server.post({"examples": [{}]}, ":regress")
        document = server.get("/v1/models/signatures/metadata").json()

    assert answer.json() == {"predictions": [3.5]}
    assert odd.json()["error"].endswith("Was: another/method")
    assert regress.status_code == 400
    assert set(document["metadata"]["signature_def"]["signature_def"]) == {"serving_default", "odd"}
    assert "Generating one" not in answer.text


def test_the_flag_decides_between_two_models(models: Path) -> None:
    base = models / "tflite" / "both"
    with Server("both", base) as plain, Server("both", base, PREFER) as preferred:
        answers = [server.predict({"instances": [0.0]}).json() for server in (plain, preferred)]

    assert answers == [{"predictions": [2.0]}, {"predictions": [3.0]}]


def test_a_version_without_a_tflite_model_is_a_saved_model(models: Path) -> None:
    with Server("half_plus_two", models / "half_plus_two", PREFER) as server:
        assert server.predict({"instances": [0.0]}).json() == {"predictions": [2.0]}


def test_interpreters_share_a_large_request(models: Path) -> None:
    with lite(models, "rows", "--num_tflite_pools=2", "--num_tflite_interpreters_per_pool=4") as server:
        values = server.predict({"instances": [1.0] * 300}).json()["predictions"]
        too_large = server.predict({"instances": [1.0] * 501})

    assert values == [125] * 250 + [50] * 50
    assert too_large.json()["error"] == "Task size 501 is larger than maximum input batch size 500"


def test_batches_of_a_tflite_model(models: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "batching.txt"
    parameters.write_text("max_batch_size { value: 4 } batch_timeout_micros { value: 3000000 }")
    flags = ["--enable_batching", f"--batching_parameters_file={parameters}"]
    with lite(models, "rows", *flags) as server, ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(server.predict, {"instances": [1.0, 1.0]}) for _ in range(2)]

        assert [each.result().json() for each in asked] == [{"predictions": [4, 4]}] * 2


def test_many_requests_at_once(models: Path) -> None:
    with lite(models, "half_plus_three", "--num_tflite_pools=2") as server, ThreadPoolExecutor(8) as pool:

        def ask(number: int) -> bool:
            rows = [[number + row] for row in range(number % 5 + 1)]
            answer = server.predict({"instances": rows}).json()["predictions"]
            return bool(answer == [[value / 2 + 3] for (value,) in rows])

        assert all(pool.map(ask, range(200)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("astray", None, "Signature output serving_default references an unknown tensor"),
        ("unreadable", None, "Invalid SignatureDefs found in TfLite model: "),
        ("garbage", b"garbage" * 100, "Cannot build FlatBufferModel from buffer."),
        ("empty", b"", "Cannot build FlatBufferModel from buffer."),
    ],
)
def test_models_that_do_not_load(
    models: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    base = models / "tflite" / name
    if content is not None:
        base = tmp_path / name
        (base / "1").mkdir(parents=True)
        (base / "1" / "model.tflite").write_bytes(content)
    with Server(name, base, PREFER, ready=False) as server:
        until(lambda: server.process.poll() is not None, "the end")

        assert server.process.returncode == 1
        assert message in server.log()
        assert "Traceback" not in server.log()


def test_the_extra_is_named_where_it_is_missing(models: Path) -> None:
    code = (
        "import sys\nsys.modules['ai_edge_litert'] = None\n"
        "from pytest_tfserving.model_server.main import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    flags = [PREFER, f"--port={free_port()}", f"--model_base_path={models / 'tflite' / 'both'}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *flags], check=False, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 1
    assert "--prefer_tflite_model needs ai-edge-litert, which is not installed: " in done.stderr
    assert "pytest-tfserving[tflite]" in done.stderr
    assert "Traceback" not in done.stderr
