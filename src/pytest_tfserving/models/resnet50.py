"""Model of the reference experiment: ResNet50 with its preprocessing inside, as a SavedModel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from pytest_tfserving.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras
    import tensorflow as tf

Outputs: TypeAlias = "dict[str, tf.Tensor]"

SIDE = 224
_SEED = 20220728


def export(base_path: Path, version: int = 1, weights: str = "random") -> Path:
    """Write ResNet50 to ``base_path/version`` and return ``base_path``.

    The signatures, each with an output ``output_0``, float32 of shape ``(rows, 1000)``:

    ``serving_default``  ``image_input``: float32 ``(rows, 224, 224, 3)``, pixels from 0 to 255
    ``jpeg``             ``image_bytes``: string ``(rows,)``, JPEG files, decoded and resized in the graph
    ``raw``              ``image_bytes``: string ``(rows,)``, uint8 pixels of 224x224x3

    Args:
        base_path: the folder that a server's ``--model_base_path`` names.
        version: the model's version.
        weights: ``random`` (the same every time; nothing is downloaded), ``imagenet`` (Keras downloads
            these weights) or the path of a Keras weights file.

    Raises:
        ConfigurationError: if the weights cannot be loaded.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    network = _network(weights)
    from keras.export import ExportArchive

    archive = ExportArchive()
    archive.track(network)
    for name, (endpoint, spec) in _signatures(network).items():
        archive.add_endpoint(name, endpoint, input_signature=[spec])
    archive.write_out(str(base_path / str(version)), verbose=False)
    return base_path


def _network(weights: str) -> keras.Model:
    import keras

    keras.utils.set_random_seed(_SEED)
    try:
        return keras.applications.ResNet50(weights=None if weights == "random" else weights)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"weights {weights!r} of resnet50 do not load: {reason}") from None
    except Exception as error:
        if weights != "imagenet":
            raise
        raise ConfigurationError(f"the imagenet weights could not be downloaded: {error}") from None


def _signatures(network: keras.Model) -> dict[str, tuple[Callable[[tf.Tensor], Outputs], tf.TensorSpec]]:
    """Return the function and the input's spec of each signature, by name."""
    import tensorflow as tf
    from keras.applications.resnet50 import preprocess_input

    def pixels(image_input: tf.Tensor) -> Outputs:
        return {"output_0": network(preprocess_input(image_input), training=False)}

    def decode(content: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(tf.io.decode_jpeg(content, channels=3), [SIDE, SIDE])

    def jpeg(image_bytes: tf.Tensor) -> Outputs:
        spec = tf.TensorSpec([SIDE, SIDE, 3], tf.float32)
        return pixels(tf.map_fn(decode, image_bytes, fn_output_signature=spec))

    def raw(image_bytes: tf.Tensor) -> Outputs:
        flat = tf.io.decode_raw(image_bytes, tf.uint8, fixed_length=SIDE * SIDE * 3)
        return pixels(tf.cast(tf.reshape(flat, [-1, SIDE, SIDE, 3]), tf.float32))

    encoded = tf.TensorSpec([None], tf.string, "image_bytes")
    return {
        "serving_default": (pixels, tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, "image_input")),
        "jpeg": (jpeg, encoded),
        "raw": (raw, encoded),
    }
