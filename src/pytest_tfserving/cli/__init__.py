"""The program ``pytest-tfserving``: its commands, and the report of their errors.

Each command is a module. Its ``add_arguments`` declares the arguments. Its ``run`` runs the command and
returns an exit code, or raises an error of `pytest_tfserving.errors`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each command is a module here, except serve, which has TF Serving's flags.
_SERVE = "serve"
_COMMANDS = {
    _SERVE: "run the embedded server, with tensorflow_model_server's flags; see serve --help",
    "init": "write perf tests for a SavedModel, with requests and SLOs; arguments after -- go to pytest",
    "inspect": "show a SavedModel's signatures, with a request that fits each and one measured call",
    "check": "judge a SavedModel, or a model that is served, by SLOs; arguments after -- go to pytest",
    "export-model": "write a model of this package as a SavedModel",
    "report": "make reports from the JSON files of --tfserving-json",
    "compare": "compare two stored runs of --tfserving-save: changes with intervals, and limits on them",
    "history": "show a metric over stored runs, with change points, as a page or for other programs",
    "search": "find the largest load at which an experiment meets SLOs; arguments after -- go to pytest",
    "doctor": "say in ten seconds what works here, each with the command that mends it if it does not",
    "calibrate": "measure this machine's noise and which differences tests can detect; keep the result",
    "bake": "build an image that has a model in it and serves it",
    "render": "show experiments as Kubernetes manifests, or write them as Kustomize overlays",
    "rbac": "print the roles that a user of the target kubernetes needs, for kubectl apply",
    "cleanup": "delete what killed runs left on container engines and clusters",
}
# As of programs that Ctrl-C ends.
_INTERRUPTED = 130
# Commands that run pytest.
_WITH_PYTEST = {"init", "check", "search"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 for success, 2 after a reported error, else the command's own code."""
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
    except KeyboardInterrupt:
        print("\npytest-tfserving: interrupted.", file=sys.stderr)
        return _INTERRUPTED
    return 2


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments before ``--``, and those after it, which some commands give to pytest."""
    if not _WITH_PYTEST.intersection(arguments[:1]) or "--" not in arguments:
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
            module = importlib.import_module(f"pytest_tfserving.cli.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser
