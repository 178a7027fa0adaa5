"""``bake``: an image with models in it, and the commands that come next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.models.store import MODELS
from pytest_tfserving.plugin.options import parse_image
from pytest_tfserving.text.option_names import ALLOWED_INI

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "image", type=parse_image, help="the image to add models to, as tensorflow/serving:2.19.1"
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a model's base folder, whose name becomes the model's, or a version in it; or the name of a "
        f"model of this package: {', '.join(MODELS)}",
    )
    parser.add_argument("tag", type=parse_image, help="the new image's name")


def run(options: argparse.Namespace) -> int:
    """Build the image; print its id, and the commands that come next."""
    from pytest_tfserving.targets.docker.bake import bake

    base_paths = _models(options.models)
    built = bake(options.image, base_paths, options.tag)
    names = ", ".join(base_paths)
    has = f"serves the model {names}" if len(base_paths) == 1 else f"has the models {names}"
    print(f"{options.tag} {has} ({built})\n\nnext:")
    for command in _next_commands(options.tag):
        print(f"  {command}")
    return 0


def _models(texts: Sequence[str]) -> dict[str, Path]:
    """Return the base folders of models by the models' names.

    Raises:
        ConfigurationError: as `_model`, and for two models of one name.
    """
    found: dict[str, Path] = {}
    for text in texts:
        base_path, name = _model(text)
        if name in found:
            raise ConfigurationError(
                f"{found[name]} and {base_path} are models of one name, {name!r}; rename one of the folders."
            )
        found[name] = base_path
    return found


def _model(text: str) -> tuple[Path, str]:
    """Return the base folder of a model, and the model's name.

    Raises:
        ConfigurationError: if a named model cannot be exported, or a SavedModel has no version.
    """
    from pytest_tfserving.experiments.model_mix import model_name
    from pytest_tfserving.models.store import exported
    from pytest_tfserving.targets.common.model_folder import find_model, is_saved_model

    path = Path(text)
    if text in MODELS and not path.exists():
        return exported(text, print), text
    if path.is_file() or is_saved_model(path):
        found = find_model(path)
        print(found.note)
        path = found.served_path
    return path, model_name(str(path))


def _next_commands(tag: str) -> list[str]:
    """Return the commands that bring the image to the current context's nodes, and load it there.

    Without a kubeconfig, the image is loaded on this machine's engine.
    """
    from pytest_tfserving.targets.kubernetes.context import current_context, kubeconfig_paths
    from pytest_tfserving.targets.kubernetes.model_image import bring_command

    context = current_context(kubeconfig_paths(None))
    target = "kubernetes" if context else "docker"
    run = ["pytest", "perf_tests", f"--tfserving-target={target}", f"--tfserving-image={tag}"]
    if not context:
        return [shlex.join(run)]
    allow = ["-o", f"{ALLOWED_INI}={context}"] if _is_to_be_allowed(context) else []
    return [*filter(None, [bring_command(tag, context)]), shlex.join([*run, *allow])]


def _is_to_be_allowed(context: str) -> bool:
    """Return whether the current folder's project does not allow deployments to a context yet."""
    from pytest_tfserving.plugin.project_settings import project_settings
    from pytest_tfserving.targets.kubernetes.context import check_allowed

    try:
        check_allowed(context, project_settings({"target": "kubernetes"}).allowed_contexts)
    except ConfigurationError:
        return True
    return False
