"""TFLite models: alone, beside a SavedModel, with the signatures TF Serving reads; needs TensorFlow."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

import flatbuffers
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Models(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """What the files hold."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def half_plus_three(self, x: tf.Tensor) -> tf.Tensor:
        """Another answer than half_plus_two's."""
        return {"y": x / 2 + 3}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, "text"), tf.TensorSpec([None, 2], tf.int32, "pair")]
    )  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def two(self, text: tf.Tensor, pair: tf.Tensor) -> tf.Tensor:
        """Two inputs, one of them text."""
        return {"text": tf.identity(text), "doubled": pair * 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def rows(self, x: tf.Tensor) -> tf.Tensor:
        """How many rows are run at once."""
        return {"rows": tf.fill(tf.shape(x), tf.shape(x)[0])}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def matrix(self, x: tf.Tensor) -> tf.Tensor:
        """What takes rows of three numbers only."""
        return {"y": tf.linalg.matmul(x, tf.ones([3, 2]))}


def _converted(models: Models, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(models, folder, signatures={"serving_default": getattr(models, name)})
        content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content


def _with_signatures(content: bytes, signatures: Mapping[str, bytes]) -> bytes:
    """The model with SignatureDefs as ``SetSignatureDefMap`` of TensorFlow's C++ stores them."""
    items = flexbuffers.Builder()
    with items.Map():
        for name, signature in sorted(signatures.items()):
            items.Key(name)
            items._WriteBlob(signature, append_zero=True, type_=flexbuffers.Type.STRING)  # no text
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(items.Finish())
    entry.name, entry.buffer = "signature_defs_metadata", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _signature(output: str, method: str) -> bytes:
    proto = tf.compat.v1.MetaGraphDef().signature_def["s"]
    proto.inputs["number"].name, proto.inputs["number"].dtype = "serving_default_x:0", 1
    proto.inputs["number"].tensor_shape.dim.add(size=-1)
    proto.outputs["result"].name, proto.outputs["result"].dtype = output, 1
    proto.method_name = method
    serialized: bytes = proto.SerializeToString()
    return serialized


def export(folder: Path) -> None:
    """Write the models, each a base folder with version 1."""
    models = Models()
    contents = {name: _converted(models, name) for name in ("half_plus_three", "two", "rows", "matrix")}
    half = contents["half_plus_three"]
    output = tf.lite.Interpreter(model_content=half).get_output_details()[0]["name"]
    predict = "tensorflow/serving/predict"
    contents["signatures"] = _with_signatures(
        half, {"serving_default": _signature(output, predict), "odd": _signature(output, "another/method")}
    )
    contents["astray"] = _with_signatures(half, {"serving_default": _signature("nowhere:0", predict)})
    contents["unreadable"] = _with_signatures(half, {"serving_default": b"\xff"})
    for name, content in contents.items():
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "model.tflite").write_bytes(content)
    shutil.copytree(folder.parent / "half_plus_two", folder / "both")
    shutil.copy(folder / "half_plus_three" / "1" / "model.tflite", folder / "both" / "1")
