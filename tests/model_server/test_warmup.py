"""Warm-up records: run before a version is served, and a reason not to serve it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from grpc_client import add_examples, serving, tensor
from harness import until
from pytest_tfserving.model_server.tfrecord import masked_crc
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Serve = Callable[..., Server]


def framed(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _crc(length) + content + _crc(content)


def _crc(content: bytes) -> bytes:
    return struct.pack("<I", masked_crc(content))


def log(kind: str, request: object) -> bytes:
    entry = serving("PredictionLog")()
    getattr(entry, kind).request.CopyFrom(request)
    serialized: bytes = entry.SerializeToString()
    return serialized


def predict(value: float) -> bytes:
    request = serving("PredictRequest")()
    request.model_spec.name = "kinds"
    request.inputs["x"].CopyFrom(tensor(np.array([value], np.float32)))
    return log("predict_log", request)


def texts(content: bytes) -> bytes:
    """A record of a request for the signature text, whose text is in ``tensor_content``."""
    request = serving("PredictRequest")()
    request.model_spec.signature_name = "text"
    request.inputs["text"].CopyFrom(tensor(np.array([b""], object)))
    request.inputs["text"].ClearField("string_val")
    request.inputs["text"].tensor_content = content
    return log("predict_log", request)


def regress() -> bytes:
    request = serving("RegressionRequest")()
    request.model_spec.signature_name = "regress"
    return log("regress_log", add_examples(request, [b""]))


def classify() -> bytes:
    request = serving("ClassificationRequest")()
    request.model_spec.signature_name = "classify"
    return log("classify_log", add_examples(request, [b""]))


def several() -> bytes:
    request = serving("MultiInferenceRequest")()
    task = request.tasks.add(method_name="tensorflow/serving/regress")
    task.model_spec.name, task.model_spec.signature_name = "kinds", "regress"
    return log("multi_inference_log", add_examples(request, [b""]))


def other(kind: str) -> bytes:
    entry = serving("PredictionLog")()
    getattr(entry, kind).SetInParent()
    serialized: bytes = entry.SerializeToString()
    return serialized


def with_warmup(models: Path, base: Path, content: bytes) -> Path:
    """A base folder with version 1 of the model kinds and this warm-up file."""
    version = base / "1"
    extra = version / "assets.extra"
    extra.mkdir(parents=True)
    for path in (models / "kinds" / "1").iterdir():
        (version / path.name).symlink_to(path)
    (extra / "tf_serving_warmup_requests").write_bytes(content)
    return base


def test_a_checksum_of_castagnoli() -> None:
    assert masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_every_kind_of_record_is_run(models: Path, tmp_path: Path) -> None:
    records = [predict(1), regress(), classify(), several()]
    base = with_warmup(models, tmp_path / "base", b"".join(map(framed, records)))
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    flags = ["--num_request_iterations_for_warmup=3", f"--monitoring_config_file={monitoring}"]
    with Server("kinds", base, *flags) as server:
        metrics = server.get("/monitoring/prometheus/metrics").text

        assert "warmed up with 4 records of " in server.log()

    assert f':model_warmup_records_read{{model_path="{base / "1"}",status="OK"}} 4' in metrics
    for api in ("Predict", "Regress", "Classify", "MultiInference"):
        assert f':runtime_latency_count{{model_name="kinds",API="{api}",runtime="TF1"}} 3' in metrics


def test_warm_up_goes_through_the_batches(models: Path, tmp_path: Path) -> None:
    base = with_warmup(models, tmp_path / "base", framed(predict(1)) + framed(texts(b"\x04abcd")))
    with Server("kinds", base, "--enable_batching") as server:
        assert "warmed up with 2 records of " in server.log()
        assert server.predict({"instances": [1]}).json() == {"predictions": [2.5]}


def test_warm_up_can_be_left_out(models: Path, tmp_path: Path) -> None:
    base = with_warmup(models, tmp_path / "base", b"no records")
    with Server("kinds", base, "--enable_model_warmup=false") as server:
        assert server.predict({"instances": [1]}).status_code == 200


CASES: Sequence[tuple[bytes, str]] = [
    (
        b"no records",
        "DATA_LOSS: truncated record at 0. Please verify your warmup data is in TFRecord format.",
    ),
    (framed(predict(1))[:-1], "truncated record at 0. Please verify"),
    (framed(predict(1)) + bytes(16), "corrupted record at "),
    (framed(predict(1))[:-1] + b"x", "corrupted record at 0. Please verify"),
    (framed(b"\xff"), "Failed to parse warmup record: "),
    (framed(other("session_run_log")), "Unsupported log_type for warmup: 5"),
    (framed(other("predict_streamed_log")), "Unsupported log_type for warmup: 7"),
    (framed(log("predict_log", serving("PredictRequest")())), "input size does not match signature: 0!=1"),
    (framed(texts(b"\xff\xd8\xff\xe0 a JPEG file")), "tensor parsing error: text"),
    (framed(regress()) * 1001, "Number of warmup records exceeds the maximum (1000) at "),
]


@pytest.mark.parametrize(("content", "message"), CASES, ids=[text[:30] for _, text in CASES])
def test_records_that_spoil_the_load(models: Path, tmp_path: Path, content: bytes, message: str) -> None:
    with Server("kinds", with_warmup(models, tmp_path / "base", content), ready=False) as server:
        until(lambda: server.process.poll() is not None, "the end")

        assert server.process.returncode == 1
        assert (
            "1 servable(s) did not become available: {{name: kinds version: 1} due to error: " in server.log()
        )
        assert message.removeprefix("DATA_LOSS: ") in server.log()
        assert "Traceback" not in server.log()
