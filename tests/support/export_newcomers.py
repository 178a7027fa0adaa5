"""Writes models as newcomers bring them, one for each trait; a program, which imports TensorFlow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1


def _served(folder: Path, **functions: tuple[Any, list[Any]]) -> None:
    """Write a model with a signature for each function, which has an input for each TensorSpec."""
    model = tf.Module()
    for name, (function, specs) in functions.items():
        setattr(model, name, tf.function(function, input_signature=specs))
    model.table = [tf.constant(0.0)]
    tf.saved_model.save(model, str(folder / "1"), {name: getattr(model, name) for name in functions})


def _spec(shape: list[int | None] | None, dtype: tf.DType, name: str) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype, name)


def _decoded(images: tf.Tensor) -> tf.Tensor:
    pictures = tf.map_fn(
        lambda image: tf.cast(tf.io.decode_jpeg(image, channels=3), tf.float32),
        images,
        fn_output_signature=tf.TensorSpec([None, None, 3], tf.float32),
    )
    return {"mean": tf.reduce_mean(pictures, [1, 2])}


def _embedded(input_word_ids: tf.Tensor, input_mask: tf.Tensor) -> tf.Tensor:
    """Looks up whole numbers below 7."""
    found = tf.gather(tf.eye(7), input_word_ids)
    return {"scores": tf.reduce_sum(found * tf.cast(input_mask, tf.float32)[:, :, None], 1)}


def _ragged(values: tf.Tensor, row_splits: tf.Tensor) -> tf.Tensor:
    rows = tf.RaggedTensor.from_row_splits(values, row_splits)
    return {"sums": tf.reduce_sum(rows, axis=1)}


def _examples(examples: tf.Tensor) -> tf.Tensor:
    features = {"age": tf.io.FixedLenFeature([2], tf.float32), "name": tf.io.FixedLenFeature([], tf.string)}
    parsed = tf.io.parse_example(examples, features)
    return {"sum": tf.reduce_sum(parsed["age"], 1), "name": parsed["name"]}


def _written(path: tf.Tensor) -> tf.Tensor:
    """Writes to a path."""
    with tf.control_dependencies([tf.io.write_file(path[0], "content")]):
        return {"y": tf.identity(path)}


def _tf1(folder: Path) -> None:
    """Write a model of TensorFlow 1 with a variable, whose signature has two names."""
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        weights = v1.get_variable("w", [2, 1])
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": tf.matmul(x, weights)})
        builder = v1.saved_model.Builder(str(folder / "1"))
        names = ("serving_default", "predict_rows")
        builder.add_meta_graph_and_variables(session, ["serve"], dict.fromkeys(names, signature))
        builder.save()


def main() -> None:
    """Write every model below the folder named."""
    folder = Path(sys.argv[1])
    number, text, ids = tf.float32, tf.string, tf.int32
    _served(folder / "numbers", serving_default=(lambda x: {"y": x * 2}, [_spec([None, 4], number, "x")]))
    _served(
        folder / "strings",
        serving_default=(lambda s: {"length": tf.strings.length(s)}, [_spec([None], text, "s")]),
    )
    _served(folder / "images", serving_default=(_decoded, [_spec([None], text, "image_bytes")]))
    two = [_spec([None, None], ids, "input_word_ids"), _spec([None, None], ids, "input_mask")]
    _served(folder / "several_inputs", serving_default=(_embedded, two))
    _served(
        folder / "several_signatures",
        score=(lambda x: {"y": x + 1}, [_spec([None, 1], number, "x")]),
        shout=(lambda s: {"loud": tf.strings.upper(s)}, [_spec([None], text, "s")]),
    )
    _tf1(folder / "tf1")
    parts = [_spec([None], number, "values"), _spec([None], tf.int64, "row_splits")]
    _served(folder / "ragged", serving_default=(_ragged, parts))
    _served(folder / "int64", serving_default=(lambda n: {"m": n // 2}, [_spec([None, 3], tf.int64, "n")]))
    _served(folder / "half", serving_default=(lambda x: {"y": x * 2}, [_spec([None, 2], tf.half, "x")]))
    _served(
        folder / "no_batch", serving_default=(lambda x: {"y": tf.reduce_sum(x)}, [_spec([3], number, "x")])
    )
    _served(folder / "examples", serving_default=(_examples, [_spec([None], text, "examples")]))
    _served(
        folder / "open_size",
        serving_default=(
            lambda x: {"y": tf.matmul(x, tf.ones([5, 2]))},
            [_spec([None, None], number, "x")],
        ),
    )
    _served(folder / "writer", serving_default=(_written, [_spec([None], text, "path")]))
    _served(
        folder / "stubborn",
        unzip=(lambda s: {"y": tf.io.decode_compressed(s, "ZLIB")}, [_spec([None], text, "s")]),
        hello=(lambda: {"y": tf.constant([1.0])}, []),
    )


if __name__ == "__main__":
    main()
