"""The gRPC API over real sockets: services, encodings, errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from grpc_client import Client, add_examples, serving, tensor
from harness import until
from pytest_tfserving.model_server import varint
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import to_array
from pytest_tfserving.model_server.tensorflow_c import dtype_number
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message
    from numpy.typing import NDArray

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


@pytest.fixture(scope="module")
def client(kinds: Server) -> Iterator[Client]:
    with Client(f"127.0.0.1:{kinds.grpc_port}") as made:
        yield made


def example(**features: object) -> bytes:
    made = message("tensorflow.Example")()
    for name, value in features.items():
        kind = "float_list" if isinstance(value, float) else "bytes_list"
        getattr(made.features.feature[name], kind).value.append(value)
    serialized: bytes = made.SerializeToString()
    return serialized


def test_predict(client: Client) -> None:
    request = client.request("Predict", "kinds")
    request.inputs["x"].CopyFrom(tensor(np.array([1, 2, 5], np.float32)))

    response = client.call("Predict", request)

    assert json_format.MessageToDict(response.model_spec) == {
        "name": "kinds",
        "version": "1",
        "signatureName": "serving_default",
    }
    (values,) = response.outputs["y"].float_val
    assert np.frombuffer(values, np.float32).tolist() == [2.5, 3.0, 4.5]
    assert response.outputs["y"].tensor_content == b""


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("float32", np.array([1.5, -np.inf], np.float32)),
        ("float64", np.array([[1.5, 1e300]])),
        *((f"int{bits}", np.array([-(2 ** (bits - 1)), 0, 5], f"int{bits}")) for bits in (8, 16, 32, 64)),
        *((f"uint{bits}", np.array([2**bits - 1, 0, 300 % 256], f"uint{bits}")) for bits in (8, 16, 32, 64)),
        ("bool", np.array([True, False])),
        ("string", np.array([b"", b"\xff\x00", b"a" * 1000], object)),
        ("half", np.array([1.5, -2], np.float16)),
        ("complex64", np.array([1 + 2j], np.complex64)),
        ("complex128", np.array([1 + 2j, 3], np.complex128)),
        ("int32", np.zeros((0, 3), np.int32)),
        ("float32", np.array(3, np.float32)),
    ],
)
def test_types(client: Client, name: str, values: NDArray[np.generic], as_content: bool) -> None:  # noqa: FBT001 - a case
    request = client.request("Predict", "kinds", f"echo_{name}")
    request.inputs["value"].CopyFrom(tensor(values, as_content=as_content))

    answer = client.call("Predict", request).outputs["value"]

    assert answer == tensor(values)


def test_bfloat16_has_no_other_content_than_its_bits(client: Client) -> None:
    request = client.request("Predict", "kinds", "echo_bfloat16")
    request.inputs["value"].dtype = 14
    request.inputs["value"].tensor_shape.dim.add(size=1)
    request.inputs["value"].tensor_content = b"\x80\x3f"

    answer = client.call("Predict", request).outputs["value"]

    assert (answer.dtype, list(answer.half_val)) == (14, [b"\x80\x7f"])


def test_a_last_value_stands_for_those_that_are_missing(client: Client) -> None:
    request = client.request("Predict", "kinds", "echo_int32")
    request.inputs["value"].CopyFrom(tensor(np.array([7, -1], np.int32)))
    request.inputs["value"].tensor_shape.dim[0].size = 4

    assert client.call("Predict", request).outputs["value"] == tensor(np.array([7, -1, -1, -1], np.int32))


TEXTS = (b"", b"\xff\x00", b"a" * 300)


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], TEXTS[2:], (b"\x80" * 20_000,) * 5], ids=range(4))
def test_texts_in_the_content(client: Client, texts: tuple[bytes, ...]) -> None:
    request = client.request("Predict", "kinds", "echo_string")
    request.inputs["value"].CopyFrom(
        serving("PackedTensor")(
            dtype=7,
            tensor_shape={"dim": [{"size": len(texts)}]},
            tensor_content=varint.encode(np.array([len(text) for text in texts])) + b"".join(texts),
        )
    )

    assert list(client.call("Predict", request).outputs["value"].string_val) == list(texts)


@pytest.mark.parametrize(
    ("name", "fields", "shape", "values"),
    [
        ("float32", {"float_val": [1.5, 2.5, 3.5]}, [2], [1.5, 2.5]),
        ("float32", {"float_val": [1.5, 2.5]}, None, 1.5),
        ("int32", {"int_val": [-7, 8, 9]}, [1, 1], [[-7]]),
        ("string", {"string_val": [b"a", b"b"]}, None, b"a"),
        ("string", {"string_val": [b"a", b"b", b"c"]}, [2], [b"a", b"b"]),
        ("bool", {"bool_val": [True, False]}, None, True),
        ("int64", {}, None, 0),
        ("complex64", {"scomplex_val": [1, 2, 3]}, [1], [1 + 2j]),
        ("float32", {"float_val": [1.5], "tensor_content": b"x"}, [0, 2], [[], []]),
        ("string", {"tensor_content": b"no texts"}, [0], []),
    ],
)
def test_tensorflow_takes_the_values_that_the_shape_needs(
    client: Client, name: str, fields: dict[str, Any], shape: list[int] | None, values: object
) -> None:
    dtype = dtype_number(np.dtype(object if name == "string" else name))
    sent = message("tensorflow.TensorProto")(dtype=dtype, **fields)
    if shape is not None:
        for size in shape:
            sent.tensor_shape.dim.add(size=size)
    request = client.request("Predict", "kinds", f"echo_{name}")
    request.inputs["value"].MergeFromString(sent.SerializeToString())

    answer = to_array(client.call("Predict", request).outputs["value"])

    assert answer.shape == tuple(shape or ())
    assert answer.size == 0 or answer.tolist() == values


def field(number: int, wire_type: int, content: bytes) -> bytes:
    """A field of a message as it is on the wire."""
    head = varint.encode(np.array([number << 3 | wire_type]))
    return head + (varint.encode(np.array([len(content)])) + content if wire_type == 2 else content)


@pytest.mark.parametrize(
    ("name", "fields", "values"),
    [
        ("float32", [(5, 5, np.float32(value).tobytes()) for value in (1.5, -2)], [1.5, -2]),
        ("float64", [(6, 1, np.float64(value).tobytes()) for value in (1.5, -2)], [1.5, -2]),
        ("int32", [(7, 0, b"\x07"), (7, 0, b"\xff" * 9 + b"\x01")], [7, -1]),
        ("int64", [(10, 0, b"\x07"), (10, 0, b"\x88\x00")], [7, 8]),
        ("bool", [(11, 0, b"\x02"), (11, 0, b"\x00")], [True, False]),
        ("float32", [(5, 2, np.float32(1.5).tobytes()), (5, 2, np.float32(-2).tobytes())], [1.5, -2]),
        ("int32", [(7, 2, b"\xff\xff\xff\xff\x0f\x85\x80\x00")], [-1, 5]),
    ],
)
def test_numbers_may_be_on_the_wire_in_any_way(
    client: Client, name: str, fields: list[tuple[int, int, bytes]], values: list[Any]
) -> None:
    request = client.request("Predict", "kinds", f"echo_{name}")
    sent = tensor(np.zeros(2, name))
    for spoilt in ("float_val", "double_val", "int_val", "int64_val", "bool_val"):
        sent.ClearField(spoilt)
    request.inputs["value"].MergeFromString(
        sent.SerializeToString() + b"".join(field(*each) for each in fields)
    )

    assert to_array(client.call("Predict", request).outputs["value"]).tolist() == values


def test_an_output_filter(client: Client) -> None:
    request = client.request("Predict", "kinds", "text")
    request.inputs["text"].CopyFrom(tensor(np.array([b"a"], object)))
    request.output_filter.append("text")

    assert list(client.call("Predict", request).outputs) == ["text"]


def test_outputs_as_content(models: Path) -> None:
    flag = "--enable_serialization_as_tensor_content=true"
    with Server("kinds", models / "kinds", flag) as server, Client(f"127.0.0.1:{server.grpc_port}") as client:
        request = client.request("Predict", "kinds")
        request.inputs["x"].CopyFrom(tensor(np.array([1, 2], np.float32)))
        answer = client.call("Predict", request).outputs["y"]

    assert np.frombuffer(answer.tensor_content, np.float32).tolist() == [2.5, 3.0]
    assert not answer.float_val


# Examples


def test_classify(client: Client) -> None:
    request = add_examples(
        client.request("Classify", "kinds", "classify"), [example(x=1.5, name=b"a")], example(word=b"all")
    )

    response = client.call("Classify", request)

    (classes,) = response.result.classifications
    assert [(each.label, each.score) for each in classes.classes] == [("a", 1.5), ("all", 3.0)]
    assert response.model_spec.signature_name == "classify"


def test_regress(client: Client) -> None:
    request = add_examples(client.request("Regress", "kinds", "regress"), [example(x=3.0), example(x=4.0)])

    response = client.call("Regress", request)

    assert [each.value for each in response.result.regressions] == [3.5, 4.0]
    assert response.model_spec.version.value == 1


def tasks(*pairs: tuple[str, str], model: str = "kinds") -> Message:
    request = serving("MultiInferenceRequest")()
    for signature, method in pairs:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    return add_examples(request, [example(x=3.0)])


def test_several_inferences_in_one(client: Client) -> None:
    response = client.call("MultiInference", tasks(("regress", REGRESS), ("scores_only", CLASSIFY)))

    regression, classification = response.results
    assert regression.regression_result.regressions[0].value == 3.5
    scores = classification.classification_result.classifications[0].classes
    assert [each.score for each in scores] == [3.0, 6.0]
    assert classification.model_spec.signature_name == "scores_only"


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (tasks(), "INVALID_ARGUMENT", "Inference request must have at least one task"),
        (tasks(("regress", REGRESS), model=""), "INVALID_ARGUMENT", "an empty model name"),
        (
            tasks(("nothing", REGRESS)),
            "INVALID_ARGUMENT",
            "signature not found in model graph: nothing",
        ),
        (
            tasks(("regress", REGRESS), ("regress", REGRESS)),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress",
        ),
        (tasks(("regress", "other")), "UNIMPLEMENTED", "Unsupported signature method_name: other"),
        (
            tasks(("regress", REGRESS), model="other"),
            "NOT_FOUND",
            "Servable not found for request: Latest(other)",
        ),
    ],
)
def test_several_inferences_that_do_not_fit(client: Client, request_: object, code: str, text: str) -> None:
    found, details = client.failure("MultiInference", request_)

    assert found == code
    assert text in details


# Metadata and status


def test_metadata(client: Client) -> None:
    request = client.request("GetModelMetadata", "kinds")
    request.metadata_field.append("signature_def")

    response = client.call("GetModelMetadata", request)

    packed = response.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = serving("SignatureDefMap")()
    packed.Unpack(signatures)
    assert signatures.signature_def["regress"].method_name == REGRESS
    assert (response.model_spec.signature_name, response.model_spec.version.value) == ("", 1)


def test_status(client: Client) -> None:
    for spec in ({}, {"version": 1}, {"label": "any"}):
        (status,) = client.call(
            "GetModelStatus", client.request("GetModelStatus", "kinds", **spec)
        ).model_version_status
        assert (status.version, status.state, status.status.error_code) == (1, 30, 0)


# Errors


def predicting(client: Client, signature: str = "", **inputs: object) -> Message:
    request = client.request("Predict", "kinds", signature)
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(tensor(np.asarray(value)))
    return request


ONE = np.array([1], np.float32)


@pytest.mark.parametrize(
    ("signature", "inputs", "code", "text"),
    [
        ("s", {}, "FAILED_PRECONDITION", 'Serving signature key "s" not found.'),
        (
            "",
            {},
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "
            "Missing but required: {x}.",
        ),
        (
            "",
            {"x": ONE, "z": ONE},
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
            "Missing but required: {}.",
        ),
        (
            "",
            {"z": ONE},
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
            "Inputs expected to be in the request {z}, or default input alias set: ",
        ),
        (
            "",
            {"x": ONE.astype(np.int32)},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but int32 is provided",
        ),
    ],
)
def test_inputs_that_do_not_fit(
    client: Client, signature: str, inputs: dict[str, NDArray[np.generic]], code: str, text: str
) -> None:
    assert client.failure("Predict", predicting(client, signature, **inputs)) == (code, text)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (["q"], "output tensor alias not found in signature: q Outputs expected to be in the set {y}."),
        (["y", "y"], "duplicate output tensor alias: y"),
    ],
)
def test_outputs_that_are_not_there(client: Client, wanted: list[str], text: str) -> None:
    request = predicting(client, x=ONE)
    request.output_filter.extend(wanted)

    assert client.failure("Predict", request) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    "spoil",
    [
        {"dtype": 0},
        {"dtype": 99},
        {"dtype": 20},
        {"tensor_content": b"123"},
        {"tensor_shape": {"dim": [{"size": -1}]}},
        {"tensor_shape": {"dim": [{"size": 2**40}, {"size": 2**40}]}},
        {"float_val": [], "tensor_shape": {"dim": [{"size": 0}, {"size": 2**40}]}},
        {"tensor_shape": {"dim": [{"size": 2**25}]}},
        {"dtype": 7, "float_val": [], "tensor_shape": {"dim": [{"size": 2**17}]}},
        {"float_val": [b"123"]},
        {"dtype": 7, "float_val": [], "tensor_content": b"\xff\xd8\xff\xe0 a JPEG file"},
        {"dtype": 7, "float_val": [], "tensor_content": b"\x03ab"},
        {"dtype": 7, "float_val": [], "tensor_content": b"\x02abc"},
        {"dtype": 7, "float_val": [], "tensor_content": b"\xff\xff\xff\xff\xff\x01"},
        {"dtype": 7, "float_val": [], "tensor_content": b"\x80"},
    ],
)
def test_tensors_that_are_none(client: Client, spoil: dict[str, object]) -> None:
    request = predicting(client, x=ONE)
    for field in spoil:
        request.inputs["x"].ClearField(field)
    request.inputs["x"].MergeFrom(serving("PackedTensor")(**spoil))

    assert client.failure("Predict", request) == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_requests_for_what_is_not_there(client: Client) -> None:
    ask = client.request
    cases = [
        ("Predict", serving("PredictRequest")(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        ("Classify", serving("ClassificationRequest")(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        ("GetModelStatus", serving("GetModelStatusRequest")(), "INVALID_ARGUMENT", "Missing ModelSpec"),
        ("Predict", ask("Predict", "", "s"), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ("Predict", ask("Predict", "m"), "NOT_FOUND", "Servable not found for request: Latest(m)"),
        (
            "Regress",
            ask("Regress", "kinds", version=99),
            "NOT_FOUND",
            "Servable not found for request: Specific(kinds, 99)",
        ),
        (
            "Predict",
            ask("Predict", "kinds", label="foo"),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: foo",
        ),
        ("GetModelStatus", ask("GetModelStatus", "m"), "NOT_FOUND", "Could not find any versions of model m"),
        (
            "GetModelStatus",
            ask("GetModelStatus", "kinds", version=99),
            "NOT_FOUND",
            "Could not find version 99 of model kinds",
        ),
        ("Classify", ask("Classify", "kinds", "classify"), "INVALID_ARGUMENT", "Input is empty."),
        (
            "Regress",
            ask("Regress", "kinds", "s"),
            "INVALID_ARGUMENT",
            "No signature was found with the name: s",
        ),
        (
            "GetModelMetadata",
            ask("GetModelMetadata", "kinds"),
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (
            "GetModelMetadata",
            serving("GetModelMetadataRequest")(model_spec={"name": "kinds"}, metadata_field=["f"]),
            "INVALID_ARGUMENT",
            "Metadata field f is not supported",
        ),
        (
            "HandleReloadConfigRequest",
            serving("ReloadConfigRequest")(),
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
            "currently supported",
        ),
        (
            "Predict",
            b"\xff\xff",
            "INVALID_ARGUMENT",
            "The request is not a tensorflow.serving.PredictRequest",
        ),
    ]

    for method, request, *expected in cases:
        assert [*client.failure(method, request)] == expected


def test_garbage_for_an_example_is_the_clients_mistake(client: Client) -> None:
    request = add_examples(client.request("Regress", "kinds", "regress"), [b"\xff\xfe"])

    code, text = client.failure("Regress", request)

    assert code == "INVALID_ARGUMENT"
    assert "Could not parse example input" in text


def test_a_long_text_is_cut(client: Client) -> None:
    code, text = client.failure("Predict", client.request("Predict", "m" * 2000))

    assert code == "NOT_FOUND"
    assert len(text) == 1024 + len("...TRUNCATED")
    assert text.endswith("m...TRUNCATED")


def test_a_clients_deadline_ends_the_run(client: Client, tmp_path: Path) -> None:
    request = predicting(client, "hold", path=np.array([str(tmp_path / "never").encode()], object))

    code, _ = client.failure("Predict", request, timeout_s=0.3)

    assert code == "DEADLINE_EXCEEDED"


def test_a_model_with_a_state(models: Path) -> None:
    with (
        Server("counter", models / "counter") as server,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
    ):

        def ask(signature: str, **inputs: NDArray[np.generic]) -> float:
            return float(client.predict("counter", inputs, signature)["output"])

        counts = [ask("get_counter"), ask("incr_counter"), ask("incr_counter")]
        added = server.predict({"signature_name": "incr_counter_by", "inputs": 3.0}).json()
        left = [
            ask("incr_counter_by", delta=np.array(2, np.float32)),
            ask("reset_counter"),
            ask("get_counter"),
        ]
        default = client.failure("Predict", client.request("Predict", "counter"))
        over_rest = server.predict({"instances": [1]})

    assert (counts, added, left) == ([0.0, 1.0, 2.0], {"outputs": 5.0}, [7.0, 0.0, 0.0])
    assert default == ("FAILED_PRECONDITION", 'Serving signature key "serving_default" not found.')
    assert (over_rest.status_code, over_rest.json()["error"]) == (
        400,
        'Serving signature name: "serving_default" not found in signature def',
    )


# Options


def test_more_requests_than_threads_are_refused(models: Path, tmp_path: Path) -> None:
    flag = "--grpc_max_threads=1"
    with (
        Server("kinds", models / "kinds", flag) as server,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
        ThreadPoolExecutor(1) as pool,
    ):
        held = tmp_path / "held"
        first = pool.submit(client.predict, "kinds", {"path": np.array([str(held).encode()], object)}, "hold")
        until(held.with_name("held.arrived").exists, "the first request")
        refused = client.failure("Predict", predicting(client, x=ONE))
        held.touch()

        assert refused == ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
        assert first.result()["path"].tolist() == [str(held).encode()]


def test_a_socket_health_and_channel_arguments(models: Path, tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    path = tmp_path / "grpc.sock"
    flags = [
        f"--grpc_socket_path={path}",
        "--enable_grpc_healthcheck_service",
        "--grpc_channel_arguments=grpc.max_receive_message_length=1000,grpc.max_connection_age_ms=600000",
    ]
    with Server("kinds", models / "kinds", *flags), Client(f"unix:{path}") as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        states = [
            health.Check(health_pb2.HealthCheckRequest(service=name), wait_for_ready=True).status
            for name in ("", "ModelService", "PredictionService")
        ]
        answer = client.predict("kinds", {"x": ONE})
        too_large = client.failure("Predict", predicting(client, x=np.zeros(1000, np.float32)))

    assert states == [health_pb2.HealthCheckResponse.SERVING] * 3
    assert answer["y"].tolist() == [2.5]
    assert too_large[0] == "RESOURCE_EXHAUSTED"


def test_health_is_not_served_unless_asked_for(client: Client) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(client.channel).Check(health_pb2.HealthCheckRequest())

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_large_message(client: Client) -> None:
    values = np.arange(4_000_000, dtype=np.float32)

    assert (client.predict("kinds", {"x": values})["y"] == values / 2 + 2).all()


def test_sigterm_answers_what_was_asked(models: Path, tmp_path: Path) -> None:
    with (
        Server("kinds", models / "kinds") as server,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
        ThreadPoolExecutor(1) as pool,
    ):
        held = tmp_path / "held"
        first = pool.submit(client.predict, "kinds", {"path": np.array([str(held).encode()], object)}, "hold")
        until(held.with_name("held.arrived").exists, "the request")
        server.process.terminate()
        until(lambda: "stopping" in server.log(), "the server to stop")
        held.touch()

        assert first.result()["path"].tolist() == [str(held).encode()]
        assert server.process.wait(60) == 0
