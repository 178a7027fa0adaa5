"""The command: it reads the flags, runs the server, and reports why the server could not run."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.model_server.flags import FlagError, parse_flags, usage
from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.memory import keep_between_requests, use_system_allocator
from pytest_tfserving.model_server.status import ServingError
from pytest_tfserving.model_server.time_slices import take_short_slices
from pytest_tfserving.text.addresses import without_secrets
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.model_server.flags import Flags

# How long a thread in Python code may keep others waiting, which may happen several times to a request.
_SWITCH_S = 0.0005
# When the garbage collector looks at young, older and all objects: a large JSON document has many that are no
# garbage, and looking at 100 000 of them keeps others waiting for 8 to 16 ms. Requests leave no cycles.
_COLLECTIONS = (10_000, 2, 5000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT and return 0; on a failure write one line that says why, and return 1."""
    try:
        given = parse_flags(sys.argv[1:] if arguments is None else arguments)
    except FlagError as error:
        sys.stderr.write(f"{usage()}\n\n{error}\n")
        return 1
    if given.values["help"]:
        sys.stdout.write(f"{usage()}\n")
        return 0
    if given.values["version"]:
        return _print_version()
    for argument in given.unknown:
        log("warning", f"unknown argument {without_secrets(argument)} is ignored")
    for warning in given.ignored:
        log("warning", warning)
    try:
        return _run(given.values)
    except ServingError as error:
        log("error", f"Failed to start server. Error: {error.code.name}: {error}")
    except (OSError, ConfigurationError) as error:
        log("error", f"Failed to start server. Error: {error}")
    return 1


def _run(flags: Flags) -> int:
    from pytest_tfserving.model_server.server import serve

    take_short_slices()
    use_system_allocator()
    keep_between_requests()
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(*_COLLECTIONS)
    try:
        import uvloop
    except ImportError:
        return int(asyncio.run(serve(flags)))
    return int(uvloop.run(serve(flags)))


def _print_version() -> int:
    from pytest_tfserving.models.store import tensorflow_version

    sys.stdout.write(
        f"TensorFlow ModelServer: embedded, pytest-tfserving {__version__}\n"
        f"TensorFlow Library: {tensorflow_version()}\n"
    )
    return 0
