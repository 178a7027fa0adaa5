"""Clients written for TF Serving speak to the server: the official stubs, and min-tfs-client.

The stubs require the whole tensorflow wheel, so they are no dependency of the tests. `TFSERVING_TEST_STUBS`
names the folder that `pip install --no-deps --target FOLDER tensorflow-serving-api` made. min-tfs-client
brings stubs of its own, which need an older protobuf: `TFSERVING_TEST_CLIENT` names the Python of an
environment made by `pip install min-tfs-client 'protobuf<3.21'`.
"""

from __future__ import annotations

import json
import os
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
