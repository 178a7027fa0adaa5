"""Exports models of one answer, half of x plus 2, that take more work the one than the other.

``export_slow_models.py FOLDER`` writes them to FOLDER/once, FOLDER/twice and FOLDER/long.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf

# Some milliseconds of work on one core.
_SIZE, _PRODUCTS = 256, 30


class Slow(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """Multiplies matrices ``times`` as often as the quickest one does, and throws the product away."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._products = _PRODUCTS * times
        self._matrix = tf.Variable(tf.eye(_SIZE))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])  # type: ignore[untyped-decorator]  # TensorFlow is untyped
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Half of x plus 2."""
        product = tf.fill([_SIZE, _SIZE], x[0])
        for _ in tf.range(self._products):
            product = tf.matmul(product, self._matrix)
        return {"y": x / 2 + 2 + 0 * tf.reduce_sum(product)}


def main() -> None:
    """Export all."""
    for name, times in (("once", 1), ("twice", 2), ("long", 60)):
        module = Slow(times)
        tf.saved_model.save(
            module, str(Path(sys.argv[1]) / name / "1"), signatures={"serving_default": module.serve}
        )


if __name__ == "__main__":
    main()
