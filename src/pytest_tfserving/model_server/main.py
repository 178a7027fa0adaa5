"""Starts the server, keeps it going, and ends it in good order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tfserving import __version__
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.model_server.flags import FlagError, parse_flags, usage
from pytest_tfserving.model_server.http import HttpProtocol
from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.manager import ModelManager
from pytest_tfserving.model_server.rest import RestApi
from pytest_tfserving.model_server.status import ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_tfserving.model_server.manager import Runnable

_WAIT_FOR_A_VERSION_S = 0.25


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code is 0 then, else 1 with one line that says why."""
    try:
        flags, unknown = parse_flags(sys.argv[1:] if arguments is None else arguments)
    except FlagError as error:
        sys.stderr.write(f"{usage()}\n\n{error}\n")
        return 1
    if flags["help"]:
        sys.stdout.write(f"{usage()}\n")
        return 0
    if flags["version"]:
        return _print_version()
    for argument in unknown:
        log("warning", f"unknown argument {argument} is ignored")
    try:
        return _run(_serve(flags))
    except (OSError, ServingError, ConfigurationError) as error:
        log("error", f"Failed to start server. Error: {error}")
        return 1


def _run(main_task: Any) -> int:
    try:
        import uvloop
    except ImportError:
        return int(asyncio.run(main_task))
    return int(uvloop.run(main_task))


async def _serve(flags: dict[str, Any]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = _reserve(flags["bind_address"], flags["rest_api_port"])
    load = _loader(flags)
    manager = ModelManager(flags["model_name"], Path(flags["model_base_path"]), load)
    poll_s = flags["file_system_poll_wait_seconds"]
    if not await _first_version(manager, stop):
        return _not_started(manager, stop)
    executor = ThreadPoolExecutor(flags["rest_api_num_threads"])
    api = RestApi(
        manager,
        executor,
        timeout_ms=flags["rest_api_timeout_in_ms"],
        cors=flags["rest_api_enable_cors_support"],
    )
    connections: set[HttpProtocol] = set()
    listener.listen(1024)
    server = await loop.create_server(lambda: HttpProtocol(api.handle, connections), sock=listener)
    log("info", f"gRPC is not served (port {flags['port']})")
    log("info", f"Exporting HTTP/REST API at:localhost:{flags['rest_api_port']} ...")
    poller = loop.create_task(_poll(manager, poll_s))
    await stop.wait()
    log("info", "stopping: requests under way are answered first")
    poller.cancel()
    server.close()
    await asyncio.gather(*(connection.drain() for connection in list(connections)))
    executor.shutdown()
    return 0


def _reserve(host: str, port: int) -> socket.socket:
    """The port, taken before the model is loaded but not open yet: a taken one is found out at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}") from None
    return listener


def _loader(flags: dict[str, Any]) -> Callable[[Path], Runnable]:
    both = flags["tensorflow_session_parallelism"]
    intra_op = flags["tensorflow_intra_op_parallelism"] or both
    inter_op = flags["tensorflow_inter_op_parallelism"] or both
    tags = flags["saved_model_tags"].split(",")
    scheduler = None
    if flags["enable_batching"]:
        from pytest_tfserving.model_server.batching import BatchScheduler, read_parameters

        scheduler = BatchScheduler(read_parameters(flags["batching_parameters_file"]))

    def load(path: Path) -> Runnable:
        from pytest_tfserving.model_server.servable import Servable

        servable = Servable.load(path, intra_op=intra_op, inter_op=inter_op, tags=tags)
        return scheduler.batched(servable) if scheduler else servable

    return load


async def _first_version(manager: ModelManager, stop: asyncio.Event) -> bool:
    """Wait until a version is AVAILABLE; False when one failed, or the server is to stop."""
    while not stop.is_set():
        await asyncio.to_thread(manager.poll)
        if manager.is_serving or manager.failures:
            return manager.is_serving
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _WAIT_FOR_A_VERSION_S)
    return False


def _not_started(manager: ModelManager, stop: asyncio.Event) -> int:
    if stop.is_set():
        return 0
    reasons = ", ".join(
        f"{{name: {manager.name} version: {state.version}}} due to error: {state.error_message}"
        for state in manager.failures
    )
    log(
        "error",
        f"Failed to start server. Error: UNKNOWN: {len(manager.failures)} servable(s) did not become "
        f"available: {{{reasons}}}",
    )
    return 1


async def _poll(manager: ModelManager, wait_s: int) -> None:
    while wait_s > 0:
        await asyncio.sleep(wait_s)
        await asyncio.to_thread(manager.poll)


def _print_version() -> int:
    from pytest_tfserving.models.store import tensorflow_version

    sys.stdout.write(
        f"TensorFlow ModelServer: embedded, pytest-tfserving {__version__}\n"
        f"TensorFlow Library: {tensorflow_version()}\n"
    )
    return 0
