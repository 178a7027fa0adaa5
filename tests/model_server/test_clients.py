"""The official stubs speak to the server.

They require the whole tensorflow wheel, so they are no dependency of the tests. `TFSERVING_TEST_STUBS` names
the folder that `pip install --no-deps --target FOLDER tensorflow-serving-api` made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from server_process import Server

STUBS = os.environ.get("TFSERVING_TEST_STUBS", "")
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


@pytest.mark.skipif(not STUBS, reason="TFSERVING_TEST_STUBS names no folder with the official stubs")
def test_the_official_stubs(kinds: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFFICIAL, str(kinds.grpc_port)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": STUBS},
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[2.5, 3.0, 4.5], "a", "tensorflow/serving/regress", 30]
