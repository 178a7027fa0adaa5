"""Imports TensorFlow, loads one version of a SavedModel, and ends: ``_bare_load.py VERSION_FOLDER``."""

from __future__ import annotations

import os
import sys

import tensorflow as tf

if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.saved_model.load(sys.argv[1])
    # What TensorFlow does at exit is no part of loading a model.
    os._exit(0)
