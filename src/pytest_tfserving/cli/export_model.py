"""``export-model``: a model of this package as a SavedModel."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError, missing_extra
from pytest_tfserving.models.store import MODELS

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("model", choices=sorted(MODELS), help="name of the model")
    parser.add_argument("folder", type=Path, help="the base folder; the model goes into a version below it")
    parser.add_argument("--version", type=int, default=1, help="the model's version (default: %(default)s)")
    parser.add_argument(
        "--weights",
        default="random",
        metavar="{random,imagenet,FILE}",
        help="resnet50's weights: the same random ones every time, ImageNet's (downloaded by Keras) or a "
        "Keras weights file (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Export the model and print its folder.

    Raises:
        TFServingError: for weights of a model that has none to choose, and for a missing library.
    """
    module = importlib.import_module(MODELS[options.model])
    own = {} if options.weights == "random" else {"weights": options.weights}
    if own and options.model != "resnet50":
        raise TFServingError(f"--weights is for resnet50, {options.model} has none to choose.")
    try:
        folder = module.export(options.folder, options.version, **own)
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "embedded", "exporting a model") from None
    print(folder / str(options.version))
    return 0
