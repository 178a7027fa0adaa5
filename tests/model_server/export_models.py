"""Writes the models the tests serve; run as a module in a process of its own, which imports TensorFlow."""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf

from model_server import export_kinds, export_tflite, export_upstream
from pytest_tfserving.models import half_plus_two


class Many(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Signatures of several shapes and types."""

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, "a"), tf.TensorSpec([None], tf.int32, "b")]
    )  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def two(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Two inputs, two outputs."""
        return {"total": a + tf.cast(b, tf.float32), "twice": b * 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "s")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def text(self, s: tf.Tensor) -> tf.Tensor:
        """Strings and bytes."""
        return {"plain": s, "raw_bytes": s}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def odd(self, x: tf.Tensor) -> tf.Tensor:
        """Numbers that are none."""
        return {"y": x / 0.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def scalar(self, x: tf.Tensor) -> tf.Tensor:
        """An output without rows."""
        return {"y": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64, "x")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def slow(self, x: tf.Tensor) -> tf.Tensor:
        """A loop of as many rounds as the first number says."""
        rounds = tf.reshape(x, [-1])[0]
        done = tf.while_loop(lambda i: i < rounds, lambda i: [i + 1], [tf.constant(0, tf.int64)])
        return {"y": x + 0 * done[0]}


def export_numbered(folder: Path) -> None:
    """Write versions 1 to 4 of a model; each answers with its number, and runs into nothing below 0."""
    v1 = tf.compat.v1
    for version in range(1, 5):
        with v1.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None], name="x")
            with tf.control_dependencies([v1.assert_non_negative(x)]):
                signature = v1.saved_model.predict_signature_def({"x": x}, {"y": x * 0 + float(version)})
            builder = v1.saved_model.Builder(str(folder / str(version)))
            builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
            builder.save()


def export_counter(folder: Path) -> None:
    """Write a model that counts, as upstream's saved_model_counter does; it has no default signature."""
    v1 = tf.compat.v1
    info = v1.saved_model.build_tensor_info
    with v1.Graph().as_default(), v1.Session() as session:
        counter = v1.Variable(0.0, name="counter", use_resource=True)
        delta = v1.placeholder(tf.float32, name="delta")
        outputs = {
            "get_counter": counter.read_value(),
            "incr_counter": v1.assign_add(counter, 1.0),
            "incr_counter_by": v1.assign_add(counter, delta),
            "reset_counter": v1.assign(counter, 0.0),
        }
        session.run(v1.global_variables_initializer())
        signatures = {
            name: v1.saved_model.build_signature_def(
                {"delta": info(delta)} if name == "incr_counter_by" else {},
                {"output": info(tf.identity(tensor))},
                "tensorflow/serving/predict",
            )
            for name, tensor in outputs.items()
        }
        builder = v1.saved_model.Builder(str(folder / "123"))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def main() -> None:
    """Write every model below the folder named."""
    folder = Path(sys.argv[1])
    half_plus_two.export(folder / "half_plus_two")
    export_numbered(folder / "numbered")
    export_counter(folder / "counter")
    export_kinds.export(folder / "kinds")
    export_tflite.export(folder / "tflite")
    export_upstream.export(folder / "upstream")
    many = Many()
    signatures = {name: getattr(many, name) for name in ("two", "text", "odd", "scalar", "slow")}
    tf.saved_model.save(
        many, str(folder / "many" / "5"), signatures={**signatures, "serving_default": many.two}
    )


if __name__ == "__main__":
    main()
