"""Clients of others speak to the server: HTTP programs, the official stubs, and min-tfs-client.

The stubs require the whole tensorflow wheel, so they are no dependency of the tests. `TFSERVING_TEST_STUBS`
names the folder that `pip install --no-deps --target FOLDER tensorflow-serving-api` made. min-tfs-client
brings stubs of its own, which need an older protobuf: `TFSERVING_TEST_CLIENT` names the Python of an
environment made by `pip install min-tfs-client 'protobuf<3.21'`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from needs import CLIENT, STUBS
from server_process import Server

if TYPE_CHECKING:
    from pathlib import Path

OFFICIAL = """
import json, sys
import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2, get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc, predict_pb2,
    prediction_service_pb2_grpc,
)
channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
predict = predict_pb2.PredictRequest()
predict.model_spec.name = "kinds"
predict.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0, 5.0]))
values = list(stub.Predict(predict, timeout=60).outputs["y"].float_val)
classify = classification_pb2.ClassificationRequest()
classify.model_spec.name, classify.model_spec.signature_name = "kinds", "classify"
example = classify.input.example_list.examples.add()
example.features.feature["name"].bytes_list.value.append(b"a")
label = stub.Classify(classify, timeout=60).result.classifications[0].classes[0].label
metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
metadata.model_spec.name = "kinds"
signatures = get_model_metadata_pb2.SignatureDefMap()
stub.GetModelMetadata(metadata, timeout=60).metadata["signature_def"].Unpack(signatures)
status = get_model_status_pb2.GetModelStatusRequest()
status.model_spec.name = "kinds"
(version,) = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status).model_version_status
method = signatures.signature_def["regress"].method_name
print(json.dumps([values, label, method, version.state]))
"""
JAVA = """
import java.net.URI;
import java.net.http.*;

public class Ask {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest get = HttpRequest.newBuilder(URI.create(args[0])).build();
        HttpRequest post = HttpRequest.newBuilder(URI.create(args[0] + ":predict"))
            .POST(HttpRequest.BodyPublishers.ofString("{\\"instances\\": [1.0]}")).build();
        for (HttpRequest request : new HttpRequest[] {post, get, post, get}) {
            HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + (request == post ? response.body() : ""));
        }
    }
}
"""
NODE = """
const url = process.argv[1];
(async () => {
  for (let round = 0; round < 3; round++) {
    const post = await fetch(url + ":predict", {method: "POST", body: '{"instances": [1.0]}'});
    console.log(post.status, (await post.json()).predictions[0], (await fetch(url)).status);
  }
})();
"""
ANSWER = '200{\n    "predictions": [2.5\n    ]\n}\n'
INDEPENDENT = """
import json, sys
import grpc
import numpy as np
from min_tfs_client.requests import TensorServingClient
from min_tfs_client.tensors import tensor_proto_to_ndarray
client = TensorServingClient(host="127.0.0.1", port=int(sys.argv[1]))
answers = {}
for model, inputs in (
    ("kinds", {"x": np.array([[1], [2]], np.float32)}),
    ("many", {"a": np.array([1.5], np.float32), "b": np.array([2], np.int32)}),
):
    response = client.predict_request(model_name=model, input_dict=inputs)
    answers[model] = {
        alias: tensor_proto_to_ndarray(response.outputs[alias]).tolist() for alias in response.outputs
    }
    answers[model]["version"] = response.model_spec.version.value
try:
    client.predict_request(model_name="kinds", input_dict={"z": np.zeros(1, np.float32)}, model_version=9)
except grpc.RpcError as error:
    answers["refused"] = [error.code().name, error.details()]
print(json.dumps(answers))
"""


READER = """
import json, sys
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
found = []
for record in tf.data.TFRecordDataset(sys.argv[1:]):
    log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
    spec, call = log.log_metadata.model_spec, log.predict_log
    tensors = call.request.inputs["x"], call.response.outputs["y"]
    arrays = [tf.make_ndarray(each).tolist() for each in tensors]
    rate, tags = log.log_metadata.sampling_config.sampling_rate, list(log.log_metadata.saved_model_tags)
    found.append([spec.name, spec.version.value, spec.signature_name, rate, tags, *arrays])
print(json.dumps(found))
"""


def printed(*command: str) -> str:
    """What a program prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("curl")
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
def test_curl(half: Server, version: str) -> None:
    ask = [version, "-sS", "-w", "%{http_code} %{num_connects}\\n", "-o", "/dev/null", "-d"]
    post = [*ask, '{"instances": [1.0]}', f"{half.model}:predict"]

    lines = printed("curl", *post, "--next", *post, "--next", *ask[:-1], half.model).splitlines()

    connections = "1" if version == "--http1.0" else "0"
    assert lines == ["200 1", f"200 {connections}", f"200 {connections}"]


@pytest.mark.needs("curl")
def test_curl_as_through_a_proxy(half: Server) -> None:
    ask = ["-sS", "--noproxy", "", "-x", half.address, "-w", " %{http_code} %{num_connects}\\n"]
    post = [*ask, "-d", '{"instances": [1.0]}', f"{half.model}:predict"]

    text = printed("curl", *post, "--next", *post)

    assert text == "".join(f'{{\n    "predictions": [2.5\n    ]\n}} 200 {connects}\n' for connects in (1, 1))


@pytest.mark.needs("jdk")
def test_the_jdks_client(half: Server, tmp_path: Path) -> None:
    (tmp_path / "Ask.java").write_text(JAVA)

    assert printed("java", str(tmp_path / "Ask.java"), half.model) == (ANSWER + "200\n") * 2


@pytest.mark.needs("node")
def test_nodes_fetch(half: Server) -> None:
    assert printed("node", "-e", NODE, half.model) == "200 2.5 200\n" * 3


@pytest.mark.needs("wrk")
def test_wrk(half: Server) -> None:
    text = printed("wrk", "-t1", "-c4", "-d1s", half.model)

    assert "Requests/sec" in text
    assert "Socket errors" not in text
    assert "Non-2xx" not in text


@pytest.mark.needs("ab")
@pytest.mark.parametrize("flags", [(), ("-k",)], ids=["close", "keep-alive"])
def test_ab(half: Server, tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "body.json").write_text('{"instances": [1.0]}')

    text = printed("ab", *flags, "-n100", "-c4", "-p", str(tmp_path / "body.json"), f"{half.model}:predict")

    assert "Complete requests:      100\nFailed requests:        0\n" in text
    assert ("Keep-Alive requests:    100\n" in text) is bool(flags)
    assert "Non-2xx" not in text


@pytest.mark.needs("hey")
@pytest.mark.parametrize("flags", [("-disable-keepalive",), ()], ids=["close", "keep-alive"])
def test_hey(half: Server, flags: tuple[str, ...]) -> None:
    post = ["-m", "POST", "-d", '{"instances": [1.0]}', f"{half.model}:predict"]

    text = printed("hey", *flags, "-n", "100", "-c", "4", *post)

    assert "[200]\t100 responses" in text
    assert "Error distribution" not in text


@pytest.mark.needs("official-stubs")
def test_the_official_stubs(kinds: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFFICIAL, str(kinds.grpc_port)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.environ[STUBS]},
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[2.5, 3.0, 4.5], "a", "tensorflow/serving/regress", 30]


@pytest.mark.needs("official-stubs")
def test_a_request_log_is_read_by_tensorflow_and_the_official_messages(models: Path, tmp_path: Path) -> None:
    flags = ["--enable_request_logging", f"--request_log_prefix={tmp_path / 'log'}"]
    with Server("half_plus_two", models / "half_plus_two", *flags) as server:
        server.predict({"instances": [1.0]})
        server.predict({"instances": [2.0, 5.0]})
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    done = subprocess.run(
        [sys.executable, "-c", READER, *map(str, tmp_path.glob("log-*"))],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.environ[STUBS]},
    )

    assert done.returncode == 0, done.stderr
    common = ["half_plus_two", 1, "serving_default", 1.0, ["serve"]]
    assert json.loads(done.stdout) == [[*common, [1.0], [2.5]], [*common, [2.0, 5.0], [3.0, 4.5]]]


@pytest.mark.needs("independent-client")
def test_an_independent_client(models: Path, tmp_path: Path) -> None:
    config = tmp_path / "models.txt"
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" }} '
        for name in ("kinds", "many")
    )
    config.write_text(f"model_config_list {{ {entries}}}")
    with Server("kinds", None, f"--model_config_file={config}") as server:
        done = subprocess.run(
            [os.environ[CLIENT], "-c", INDEPENDENT, str(server.grpc_port)],
            check=False,
            capture_output=True,
            text=True,
        )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "kinds": {"y": [[2.5], [3.0]], "version": 1},
        "many": {"total": [3.5], "twice": [4], "version": 5},
        "refused": ["NOT_FOUND", "Servable not found for request: Specific(kinds, 9)"],
    }
