"""The command ``pytest-tfserving``: which commands there are, and how their errors look."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each is a module of `pytest_tfserving.commands`, except serve, whose arguments are TensorFlow Serving's.
_SERVE = "serve"
_COMMANDS = {
    _SERVE: "run the embedded server; it takes tensorflow_model_server's flags, see serve --help",
    "export-model": "write one of the models of this package as a SavedModel",
    "report": "remake reports from the JSON that --tfserving-json wrote",
    "search": "find the largest load that holds SLOs on one experiment; arguments after -- go to pytest",
    "calibrate": "measure what this machine's noise lets a gate see, and keep it for later runs",
    "bake": "build an image that has a model in it and serves it",
    "render": "show experiments as Kubernetes manifests, or write them as Kustomize overlays",
    "cleanup": "delete what runs that were killed have left on engines and clusters",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 is success, 2 a mistake in what was asked for."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == [_SERVE]:
        from pytest_tfserving.model_server.main import main as serve

        return serve(arguments[1:])
    own, for_pytest = _parted(arguments)
    options = _parser().parse_args(own)
    options.pytest = for_pytest
    try:
        return int(options.run(options))
    except TFServingError as error:
        print(f"pytest-tfserving: {error}", file=sys.stderr)
    except OSError as error:
        print(f"pytest-tfserving: {error.filename}: {error.strerror}.", file=sys.stderr)
    return 2


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before ``--``, and what after it, where pytest is run."""
    if arguments[:1] != ["search"] or "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-tfserving", description="Model-serving performance as test assertions."
    )
    parser.add_argument("--version", action="version", version=f"pytest-tfserving {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, text in _COMMANDS.items():
        command = commands.add_parser(name, help=text, add_help=name != _SERVE)
        if name != _SERVE:
            module = importlib.import_module(f"pytest_tfserving.commands.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
