"""Smallest useful model: y = x / 2 + 2."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def export(base_path: Path, version: int = 1) -> Path:
    """Write the model to ``base_path/version`` and return ``base_path``.

    The model's signature ``serving_default`` has the input ``x``, float32 of shape ``(rows, 1)``, and the
    output ``y`` of the same shape.

    Args:
        base_path: the folder that a server's ``--model_base_path`` names.
        version: the model's version.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        half, two = v1.Variable(0.5, name="a"), v1.Variable(2.0, name="b")
        x = v1.placeholder(tf.float32, [None, 1], name="x")
        y = tf.add(tf.multiply(half, x), two, name="y")
        session.run(v1.global_variables_initializer())
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder = v1.saved_model.Builder(str(base_path / str(version)))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    return base_path
