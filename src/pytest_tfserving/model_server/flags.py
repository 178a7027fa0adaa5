"""The flags of ``tensorflow_model_server`` that this server has, and two of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag; its type is that of its default."""

    name: str
    default: Any
    help: str


FLAGS = (
    Flag("rest_api_port", 0, "port of the REST API; 0 does not start it"),
    Flag("port", 8500, "TF Serving's gRPC port; this server has no gRPC and says so"),
    Flag("bind_address", "127.0.0.1", "address to listen on; TF Serving listens on all: 0.0.0.0 or ::"),
    Flag("model_name", "default", "name of the model"),
    Flag("model_base_path", "", "folder with the model's versions, each in a folder named by its number"),
    Flag("file_system_poll_wait_seconds", 1, "seconds between looks for new versions; 0 looks once"),
    Flag("saved_model_tags", "serve", "tags of the graph to load, separated by commas"),
    Flag("tensorflow_session_parallelism", 0, "sets both thread counts below; 0 lets TensorFlow choose"),
    Flag("tensorflow_intra_op_parallelism", 0, "threads of one operation; 0 lets TensorFlow choose"),
    Flag("tensorflow_inter_op_parallelism", 0, "operations at once; 0 lets TensorFlow choose"),
    Flag("enable_batching", False, "join requests that wait into batches"),
    Flag("batching_parameters_file", "", "text file with the batching parameters"),
    Flag("rest_api_num_threads", 4 * (os.cpu_count() or 1), "requests worked on at once"),
    Flag("rest_api_timeout_in_ms", 30000, "longest time a request may run"),
    Flag("rest_api_enable_cors_support", False, "send CORS headers"),
    Flag("version", False, "print the versions and exit"),
    Flag("help", False, "print this and exit"),
)


class FlagError(Exception):
    """A flag whose value does not fit, or flags that contradict each other."""


def parse_flags(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The value of every flag, and the arguments that are none.

    Raises:
        FlagError: for a value of the wrong type.
    """
    known = {flag.name: flag for flag in FLAGS}
    values = {flag.name: flag.default for flag in FLAGS}
    unknown = []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in known:
            unknown.append(argument)
            continue
        values[name] = _value(known[name], text if equals else None)
    _check(values)
    return values, unknown


def usage() -> str:
    """The help text."""
    lines = ["usage: python -m pytest_tfserving.model_server --name=value ...", ""]
    for flag in FLAGS:
        shown = str(flag.default).lower() if isinstance(flag.default, bool) else flag.default
        default = f" (default: {shown})" if shown != "" else ""
        lines.append(f"  --{flag.name}\n        {flag.help}{default}")
    return "\n".join(lines)


def _value(flag: Flag, text: str | None) -> Any:
    if isinstance(flag.default, bool):
        if text in (None, "true", "false"):
            return text != "false"
        raise FlagError(f"--{flag.name} is true or false, not {text!r}")
    if text is None:
        raise FlagError(f"--{flag.name} needs a value, as --{flag.name}={flag.default or 'VALUE'}")
    if isinstance(flag.default, int):
        try:
            return int(text)
        except ValueError:
            raise FlagError(f"--{flag.name} is a whole number, not {text!r}") from None
    return text


def _check(values: dict[str, Any]) -> None:
    if values["version"] or values["help"]:
        return
    if not values["model_base_path"]:
        raise FlagError("--model_base_path is needed: the folder with the model's versions")
    if not 0 < values["rest_api_port"] < 65536:  # noqa: PLR2004 - the highest port
        raise FlagError("--rest_api_port is needed: a port from 1 to 65535")
    if values["batching_parameters_file"] and not values["enable_batching"]:
        raise FlagError(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching "
            "to true."
        )
    if values["rest_api_num_threads"] < 1:
        raise FlagError("--rest_api_num_threads must be 1 or more")
    parallelism = [values[f"tensorflow_{name}_parallelism"] for name in ("session", "intra_op", "inter_op")]
    if all(parallelism):
        raise FlagError(
            "--tensorflow_session_parallelism sets what --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism set; use it or them"
        )
