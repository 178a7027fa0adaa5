"""Configuration files of a server, and the flags that name these files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.server_side import prometheus

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfserving.experiments.experiment import ServingOptions


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
