"""The cases of TF Serving's own integration tests, on models like theirs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from grpc_client import Client, add_examples, serving, tensor
from harness import until
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import to_array
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message

NAME, TF2 = "default", "tf2"
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
VERSIONS = [123, 124]
SIGNATURES = [
    *("serving_default", "classify_x_to_y", "classify_x2_to_y3"),
    *("regress_x_to_y", "regress_x_to_y2", "regress_x2_to_y3"),
]


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """half_plus_two in two versions with labels, and a model of TensorFlow 2."""
    folder = models / "upstream"
    config = tmp_path_factory.mktemp("upstream") / "models.txt"
    config.write_text(
        f"""
        model_config_list {{
          config {{
            name: "{NAME}" base_path: "{folder}/half_plus_two_2_versions" model_platform: "tensorflow"
            model_version_policy {{ all {{}} }}
            version_labels {{ key: "stable" value: 123 }}
            version_labels {{ key: "canary" value: 124 }}
          }}
          config {{
            name: "{TF2}" base_path: "{folder}/half_plus_two_tf2" model_type: TENSORFLOW
          }}
        }}
        """,
        encoding="utf-8",
    )
    flags = [f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models"]
    with Server(NAME, None, *flags) as running:
        until(lambda: list(running.states().values()) == ["AVAILABLE"] * 2, "both versions")
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client(f"127.0.0.1:{server.grpc_port}") as made:
        yield made


def example(**features: float) -> bytes:
    made = message("tensorflow.Example")()
    for name, value in features.items():
        made.features.feature[name].float_list.value.append(value)
    serialized: bytes = made.SerializeToString()
    return serialized


def asking(client: Client, method: str, model: str, signature: str, **spec: int | str) -> Message:
    return add_examples(client.request(method, model, signature, **spec), [example(x=2.0)])


# --- over gRPC ---


@pytest.mark.parametrize("wanted", [["y"], []], ids=["filtered", "all"])
@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ({}, 124),
        ({"version": 123}, 123),
        ({"version": 124}, 124),
        ({"label": "stable"}, 123),
        ({"label": "canary"}, 124),
    ],
    ids=str,
)
def test_predict(client: Client, spec: dict[str, Any], version: int, wanted: list[str]) -> None:
    request = client.request("Predict", NAME, **spec)
    request.inputs["x"].CopyFrom(tensor(np.array([2.0], np.float32)))
    request.output_filter.extend(wanted)

    response = client.call("Predict", request)

    assert to_array(response.outputs["y"]).tolist() == [3.0]
    answered = response.model_spec
    assert (answered.name, answered.signature_name, answered.version.value) == (
        NAME,
        "serving_default",
        version,
    )


@pytest.mark.parametrize(
    ("signature", "score"), [("classify_x_to_y", 3.0), ("classify_x2_to_y3", 3.0)], ids=["y", "y3"]
)
def test_classify(client: Client, signature: str, score: float) -> None:
    response = client.call("Classify", asking(client, "Classify", NAME, signature))

    ((only,),) = [each.classes for each in response.result.classifications]
    assert (only.label, only.score) == ("", score)
    assert (response.model_spec.signature_name, response.model_spec.version.value) == (signature, 124)


@pytest.mark.parametrize(
    ("signature", "value"),
    [("regress_x_to_y", 3.0), ("regress_x_to_y2", 4.0), ("regress_x2_to_y3", 3.0)],
)
def test_regress(client: Client, signature: str, value: float) -> None:
    response = client.call("Regress", asking(client, "Regress", NAME, signature, label="stable"))

    assert [each.value for each in response.result.regressions] == [value]
    assert (response.model_spec.signature_name, response.model_spec.version.value) == (signature, 123)


def several(model: str, *tasks: tuple[str, str], **spec: int) -> Message:
    request = serving("MultiInferenceRequest")()
    for signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
        if spec:
            task.model_spec.version.value = spec["version"]
    return add_examples(request, [example(x=2.0), example(x=4.0)])


@pytest.mark.parametrize(("model", "version"), [(NAME, 123), (NAME, 124), (TF2, 123)])
def test_several_inferences_in_one(client: Client, model: str, version: int) -> None:
    """Also over a model of TensorFlow 2, where both signatures have the method of predict."""
    tasks = [("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY)]

    regressed, classified = client.call("MultiInference", several(model, *tasks, version=version)).results

    assert [each.value for each in regressed.regression_result.regressions] == [3.0, 4.0]
    scores = [each.classes[0].score for each in classified.classification_result.classifications]
    assert scores == [3.0, 4.0]
    for result, (signature, _) in zip((regressed, classified), tasks, strict=True):
        spec = result.model_spec
        assert (spec.name, spec.signature_name, spec.version.value) == (model, signature, version)


def test_all_signatures_at_once(client: Client) -> None:
    methods = {"classify": CLASSIFY, "regress": REGRESS}
    tasks = [(name, methods[name.partition("_")[0]]) for name in SIGNATURES[1:]]

    results = client.call("MultiInference", several(NAME, *tasks)).results

    first = [
        result.regression_result.regressions[0].value
        if result.HasField("regression_result")
        else result.classification_result.classifications[0].classes[0].score
        for result in results
    ]
    assert first == [3.0, 3.0, 3.0, 4.0, 3.0]


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        # The task decides what a signature is taken for, and then its tensors do not fit.
        ([("regress_x_to_y", CLASSIFY)], "FAILED_PRECONDITION", 'at least one of "classes" or "scores"'),
        (
            [("classify_x_to_y", REGRESS)],
            "FAILED_PRECONDITION",
            "No regression outputs found in SignatureDef",
        ),
        ([("serving_default", CLASSIFY)], "FAILED_PRECONDITION", "No classification inputs found"),
        ([("both_x_to_y", REGRESS)], "INVALID_ARGUMENT", "Expected one output Tensor."),
        (
            [("regress_x_to_y", REGRESS), ("regress_x_to_y", REGRESS)],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        (
            [("predict", "tensorflow/serving/predict")],
            "INVALID_ARGUMENT",
            "not found in model graph: predict",
        ),
        (
            [("serving_default", "tensorflow/serving/predict")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_tasks_that_do_not_fit_a_model_of_tensorflow_2(
    client: Client, tasks: list[tuple[str, str]], code: str, text: str
) -> None:
    found, details = client.failure("MultiInference", several(TF2, *tasks))

    assert (found, text in details) == (code, True), details


def test_metadata_and_status(server: Server, client: Client) -> None:
    request = client.request("GetModelMetadata", NAME, label="stable")
    request.metadata_field.append("signature_def")
    response = client.call("GetModelMetadata", request)
    signatures = serving("SignatureDefMap")()
    response.metadata["signature_def"].Unpack(signatures)
    states = client.call("GetModelStatus", client.request("GetModelStatus", NAME)).model_version_status
    document = server.get(f"/v1/models/{NAME}/versions/123/metadata").json()

    assert response.model_spec.version.value == 123
    assert set(signatures.signature_def) == set(SIGNATURES)
    assert set(document["metadata"]["signature_def"]["signature_def"]) == set(SIGNATURES)
    assert [(each.version, each.state, each.status.error_code) for each in states] == [
        (124, 30, 0),
        (123, 30, 0),
    ]


# --- over REST ---


@pytest.mark.parametrize("path", ["", "/versions/123", "/versions/124", "/labels/stable", "/labels/canary"])
def test_rest(server: Server, path: str) -> None:
    rows = server.predict({"instances": [2.0, 3.0, 4.0]}, path)
    columns = server.predict({"inputs": [2.0, 3.0, 4.0]}, path)
    classes = server.post({"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}, f"{path}:classify")
    numbers = server.post({"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}, f"{path}:regress")

    assert rows.text == '{\n    "predictions": [3.0, 3.5, 4.0\n    ]\n}'
    assert columns.text == '{\n    "outputs": [\n        3.0,\n        3.5,\n        4.0\n    ]\n}'
    assert classes.json() == {"results": [[["", 3.0]]]}
    assert numbers.json() == {"results": [3.0]}


@pytest.mark.parametrize(
    ("verb", "signature", "status", "text"),
    [
        ("classify", "classify_x_to_y", 200, '"results": [[["", 3.0]]'),
        ("regress", "regress_x_to_y", 200, '"results": [3.0]'),
        ("classify", "regress_x_to_y", 400, 'at least one of \\"classes\\" or \\"scores\\"'),
        ("regress", "serving_default", 400, "No regression inputs found in SignatureDef"),
    ],
)
def test_a_model_of_tensorflow_2_over_rest(
    server: Server, verb: str, signature: str, status: int, text: str
) -> None:
    body = {"signature_name": signature, "examples": [{"x": 2.0}]}
    url = f"{server.address}/v1/models/{TF2}:{verb}"

    response = server.session.post(url, json=body, timeout=60)

    assert (response.status_code, text in response.text) == (status, True), response.text


# --- the server's life ---


def test_methods_that_are_checked(models: Path) -> None:
    """With the check, the signatures of TensorFlow 2 are for predict only."""
    folder = models / "upstream" / "half_plus_two_tf2"
    with (
        Server(TF2, folder, "--enable_signature_method_name_check") as server,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
    ):
        refused = client.failure("Regress", asking(client, "Regress", TF2, "regress_x_to_y"))
        joint = client.failure("MultiInference", several(TF2, ("classify_x_to_y", CLASSIFY)))

        assert server.predict({"instances": [2.0]}).json() == {"predictions": [3.0]}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0

    was = "Was: tensorflow/serving/predict"
    assert refused == (
        "INVALID_ARGUMENT",
        f"Expected regression signature method_name to be {REGRESS}. {was}",
    )
    assert joint == (
        "INVALID_ARGUMENT",
        f"Expected classification signature method_name to be {CLASSIFY}. {was}",
    )


def test_a_model_of_another_format(models: Path) -> None:
    with Server("bad", models / "upstream" / "bad_half_plus_two", ready=False) as server:
        assert server.process.wait(60) == 1
        assert "1 servable(s) did not become available: {{name: bad version: 123}" in server.log()
