"""Models like those of TF Serving's own integration tests; needs TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from model_server.export_kinds import CLASSIFY, REGRESS, signature

if TYPE_CHECKING:
    from pathlib import Path

v1 = tf.compat.v1
VERSIONS = (123, 124)


def _signatures() -> dict[str, Any]:
    """Signatures of half_plus_two: y = x / 2 + 2 from feature x; y2 and y3 = x2 / 2 + 3."""
    inputs = v1.placeholder(tf.string, [None], name="tf_example")
    features = v1.parse_example(
        inputs, {name: v1.FixedLenFeature([1], tf.float32, [0.0]) for name in ("x", "x2")}
    )
    x = tf.identity(features["x"], name="x")
    half, two, three = v1.Variable(0.5), v1.Variable(2.0), v1.Variable(3.0)
    y, y2, y3 = x * half + two, x * half + three, features["x2"] * half + three
    return {
        "serving_default": signature({"x": x}, {"y": y}),
        "classify_x_to_y": signature({"inputs": inputs}, {"scores": y}, CLASSIFY),
        "classify_x2_to_y3": signature({"inputs": inputs}, {"scores": y3}, CLASSIFY),
        "regress_x_to_y": signature({"inputs": inputs}, {"outputs": y}, REGRESS),
        "regress_x_to_y2": signature({"inputs": inputs}, {"outputs": y2}, REGRESS),
        "regress_x2_to_y3": signature({"inputs": inputs}, {"outputs": y3}, REGRESS),
    }


class HalfPlusTwo(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """The same model by TensorFlow 2, which gives each signature the method of predict."""

    def __init__(self) -> None:
        super().__init__()
        self.half = tf.Variable(0.5)
        self.two = tf.Variable(2.0)

    def _y(self, examples: tf.Tensor) -> tf.Tensor:
        features = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32, [0.0])})
        return features["x"] * self.half + self.two

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def classify(self, inputs: tf.Tensor) -> tf.Tensor:
        """Score each example with y."""
        return {"scores": self._y(inputs)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def regress(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return y for each example."""
        return {"outputs": self._y(inputs)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def both(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return y for each example, as both."""
        return {"scores": self._y(inputs), "outputs": self._y(inputs)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def predict(self, x: tf.Tensor) -> tf.Tensor:
        """Return y for each number."""
        return {"y": x * self.half + self.two}


def export(folder: Path) -> None:
    """Write half_plus_two in two versions, half_plus_two_tf2, and a version without a graph."""
    for version in VERSIONS:
        with v1.Graph().as_default(), v1.Session() as session:
            signatures = _signatures()
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(folder / "half_plus_two_2_versions" / str(version)))
            builder.add_meta_graph_and_variables(session, ["serve"], signatures)
            builder.save()
    model = HalfPlusTwo()
    signatures = {f"{name}_x_to_y": getattr(model, name) for name in ("classify", "regress", "both")}
    tf.saved_model.save(
        model, str(folder / "half_plus_two_tf2" / "123"), {**signatures, "serving_default": model.predict}
    )
    bad = folder / "bad_half_plus_two" / "123"
    bad.mkdir(parents=True)
    (bad / "export").write_bytes(b"of another format")
