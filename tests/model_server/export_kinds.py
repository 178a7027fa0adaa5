"""A model with a signature for each kind of tensor and answer; needs TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tensorflow.core.protobuf import meta_graph_pb2

v1 = tf.compat.v1
ECHOED = (
    *("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("bool", "string", "half", "bfloat16", "complex64", "complex128"),
)
PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{kind}" for kind in ("predict", "classify", "regress"))


def signature(
    inputs: Mapping[str, tf.Tensor], outputs: Mapping[str, tf.Tensor], method: str = PREDICT
) -> meta_graph_pb2.SignatureDef:
    """Return a signature of a graph's tensors."""
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {alias: info(tensor) for alias, tensor in inputs.items()},
        {alias: info(tensor) for alias, tensor in outputs.items()},
        method,
    )


def _echo(dtype: tf.DType) -> meta_graph_pb2.SignatureDef:
    value = v1.placeholder(dtype)
    return signature({"value": value}, {"value": tf.identity(value)})


def _hold() -> meta_graph_pb2.SignatureDef:
    """Says that it arrived by writing ``PATH.arrived``; answers when somebody writes ``PATH``."""
    path = v1.placeholder(tf.string, [None])
    with tf.control_dependencies([tf.io.write_file(path[0] + ".arrived", "")]):
        awaited = tf.identity(path[0])
    looks = v1.while_loop(
        lambda _: tf.equal(tf.size(tf.io.matching_files(awaited)), 0),
        lambda looks: looks + 1,
        [tf.constant(0, tf.int64)],
    )
    with tf.control_dependencies([looks]):
        return signature({"path": path}, {"path": tf.identity(path)})


def _examples() -> dict[str, Any]:
    """Signatures of tf.Examples with the features x, a number, and name, a text; also a common word."""
    inputs = v1.placeholder(tf.string, [None], name="examples")
    features = v1.parse_example(
        inputs,
        {
            "x": v1.FixedLenFeature([1], tf.float32, [0.0]),
            "count": v1.FixedLenFeature([1], tf.int64, [0]),
            "name": v1.FixedLenFeature([1], tf.string, [b""]),
            "word": v1.FixedLenFeature([1], tf.string, [b"none"]),
        },
    )
    x = features["x"] + tf.cast(features["count"], tf.float32)
    labels = tf.concat([features["name"], features["word"]], 1)
    scores = tf.concat([x, x * 2], 1)
    y = x / 2 + 2
    return {
        "classify": signature({"inputs": inputs}, {"classes": labels, "scores": scores}, CLASSIFY),
        "classes_only": signature({"inputs": inputs}, {"classes": labels}, CLASSIFY),
        "scores_only": signature({"inputs": inputs}, {"scores": scores}, CLASSIFY),
        "flat_scores": signature({"inputs": inputs}, {"scores": x[:, 0]}, CLASSIFY),
        "wrong_scores": signature({"inputs": inputs}, {"scores": labels}, CLASSIFY),
        "regress": signature({"inputs": inputs}, {"outputs": y}, REGRESS),
        "regress_flat": signature({"inputs": inputs}, {"outputs": y[:, 0]}, REGRESS),
        "regress_wide": signature({"inputs": inputs}, {"outputs": scores}, REGRESS),
        "regress_short": signature({"inputs": inputs}, {"outputs": y[:1]}, REGRESS),
        "regress_text": signature({"inputs": inputs}, {"outputs": features["name"]}, REGRESS),
    }


def _failures() -> dict[str, Any]:
    """Signatures that end with an error of one of TensorFlow's own operations."""
    x = v1.placeholder(tf.float32, [None])
    ended, closed = tf.queue.FIFOQueue(1, tf.float32, [[]]), tf.queue.FIFOQueue(1, tf.float32, [[]])
    with tf.control_dependencies([ended.close()]):
        past_the_end = ended.dequeue()
    with tf.control_dependencies([closed.close()]):
        enqueued = closed.enqueue(1.0)
    asserted = v1.assert_non_negative(x)
    forbidden = tf.io.write_file("/proc/sys/kernel/ostype", "x")
    never = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[1], shared_name="never")
    first = v1.assign(_temporary(), [1.0])
    with tf.control_dependencies([first]):
        second = v1.assign(_temporary(), [1.0])
    outputs = {
        "missing_file": tf.io.read_file("/nowhere/at/all"),
        "past_the_end": past_the_end,
        "too_much_memory": tf.fill(tf.cast(tf.abs(x), tf.int64) * 2**45, 1.0),
        "broken_data": tf.io.decode_compressed(tf.strings.as_string(x), "ZLIB"),
        "no_such_cast": tf.raw_ops.Cast(x=x, DstT=tf.string),
        "not_begun": tf.raw_ops.ReadVariableOp(resource=never, dtype=tf.float32),
        "twice": tf.raw_ops.DestroyTemporaryVariable(ref=second, var_name="once"),
    }
    for name, operation in (("negative", asserted), ("closed", enqueued), ("forbidden", forbidden)):
        with tf.control_dependencies([operation]):
            outputs[name] = tf.identity(x)
    return {name: signature({"x": x}, {"y": output}) for name, output in outputs.items()}


def _temporary(name: str = "once") -> tf.Tensor:
    return tf.raw_ops.TemporaryVariable(shape=[1], dtype=tf.float32, var_name=name)


def _signatures() -> dict[str, Any]:
    x = v1.placeholder(tf.float32, [None, 1], name="x")
    vector = v1.placeholder(tf.float32, [None], name="vector")
    pair = v1.placeholder(tf.float32, [None, 2], name="pair")
    count = v1.placeholder(tf.int32, [None], name="count")
    text = v1.placeholder(tf.string, [None], name="text")
    anything = v1.placeholder(tf.float32, name="anything")
    return {
        "serving_default": signature({"x": x}, {"y": x / 2 + 2}),
        "two": signature(
            {"count": count, "pair": pair},
            {"added": pair + tf.cast(count, tf.float32)[:, None], "doubled": count * 2},
        ),
        "text": signature(
            {"text": text}, {"text": tf.identity(text), "text_bytes": tf.strings.join([text, ""])}
        ),
        "only_bytes": signature({"text": text}, {"text_bytes": tf.strings.join([text, ""])}),
        "reference": signature({"x": x}, {"y": v1.assign(_temporary("referred"), [1.5])}),
        "nothing_left": signature({"x": vector}, {"y": vector[:0]}),
        "none_of_two": signature(
            {"x": vector}, {"a": vector[:0] * 1, "b_bytes": tf.strings.as_string(vector[:0])}
        ),
        "uneven_nothing": signature({"x": vector}, {"a": vector[:0] * 2, "b": vector * 3}),
        "matrix": signature({"pair": pair}, {"y": tf.matmul(pair, tf.ones([2, 1]))}),
        "sum": signature({"x": anything}, {"y": tf.reduce_sum(anything, tf.range(1, tf.rank(anything)))}),
        "rows": signature({"x": vector}, {"rows": tf.fill(tf.shape(vector), tf.shape(vector)[0])}),
        "scalar": signature({"x": vector}, {"y": tf.reduce_sum(vector)}),
        "uneven": signature({"x": vector}, {"a": vector * 1, "b": tf.concat([vector, vector], 0)}),
        "no_inputs": signature({}, {"y": tf.ones([1])}),
        "odd_method": signature({"x": x}, {"y": x / 2 + 2}, "another/method"),
        "hold": _hold(),
        **_examples(),
        **_failures(),
        **{f"echo_{name}": _echo(getattr(tf, name)) for name in ECHOED},
    }


def export(base_path: Path) -> None:
    """Write the model as version 1."""
    with v1.Graph().as_default(), v1.Session() as session:
        builder = v1.saved_model.Builder(str(base_path / "1"))
        builder.add_meta_graph_and_variables(session, ["serve"], _signatures())
        builder.save()
