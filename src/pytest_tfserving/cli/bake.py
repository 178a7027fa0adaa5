"""``bake``: an image with a model in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.plugin.options import parse_image

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "image", type=parse_image, help="the image to add the model to, as tensorflow/serving:2.19.1"
    )
    parser.add_argument("folder", type=Path, help="the model's base folder; its name becomes the model's")
    parser.add_argument("tag", type=parse_image, help="the new image's name")


def run(options: argparse.Namespace) -> int:
    """Build the image and print its id."""
    from pytest_tfserving.targets.docker.bake import bake

    print(bake(options.image, options.folder, options.tag))
    return 0
