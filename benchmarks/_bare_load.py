"""Imports TensorFlow, loads one version of a SavedModel, and ends: ``_bare_load.py VERSION_FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import tensorflow as tf  # noqa: F401 - the whole of it, whatever loading a model needs

from pytest_tfserving.model_server.servable import Servable

if __name__ == "__main__":
    Servable.load(Path(sys.argv[1]), intra_op=1, inter_op=1)
    # What TensorFlow does at exit is no part of loading a model.
    os._exit(0)
