"""Configuration files of a server, and the flags that name these files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_tfserving.server_side import prometheus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfserving.experiments.experiment import ServingOptions

MODELS_FILE = "models.config"
# The folder of all models in a container.
MODELS_FOLDER = "/models"


def model_place(name: str, folder: str = MODELS_FOLDER) -> str:
    """Return the base folder of a model in a container."""
    return f"{folder}/{name}"


def models_config(base_paths: Mapping[str, str]) -> str:
    """Return the content of a ``model_config_file``, given each model's base folder by the model's name."""
    configs = "".join(
        f'  config {{ name: "{name}" base_path: {json.dumps(path, ensure_ascii=False)} '
        'model_platform: "tensorflow" }\n'
        for name, path in base_paths.items()
    )
    return f"model_config_list {{\n{configs}}}\n"


def write_models_config(base_paths: Mapping[str, str], folder: Path, seen_as: str = "") -> str:
    """Write a ``model_config_file`` into ``folder``; return the server's flag for it.

    Args:
        base_paths: the base folder of each model as the server sees it, by the model's name.
        folder: the folder on this machine.
        seen_as: the path of the folder for the server, if it differs.
    """
    (folder / MODELS_FILE).write_text(models_config(base_paths), encoding="utf-8")
    return f"--model_config_file={seen_as or folder}/{MODELS_FILE}"


def write_server_files(options: ServingOptions, folder: Path, seen_as: str = "") -> tuple[str, ...]:
    """Write the batching and monitoring files into ``folder``; return the server's flags for them.

    Args:
        options: the options of the experiment, which become flags too.
        folder: the folder on this machine.
        seen_as: the path of the folder for the server, if it differs.
    """
    folder.mkdir(exist_ok=True)
    if options.batching:
        (folder / "batching_config.txt").write_text(options.batching.text(), encoding="utf-8")
    (folder / "monitoring_config.txt").write_text(prometheus.CONFIG, encoding="utf-8")
    seen = seen_as or str(folder)
    return (
        "--max_num_load_retries=0",
        f"--monitoring_config_file={seen}/monitoring_config.txt",
        *options.flags(f"{seen}/batching_config.txt"),
    )
