"""Request logs: sampled requests with their answers, as TFRecord files of ``PredictionLog``.

Serving puts requests into a bounded buffer and never waits for the files. One thread writes the buffer.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from random import random
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.model_config import RequestLogging
from pytest_tfserving.model_server.status import Code, invalid
from pytest_tfserving.model_server.tfrecord import framed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

    from pytest_tfserving.model_server.flags import Flags
    from pytest_tfserving.model_server.metrics import Metrics
    from pytest_tfserving.model_server.model_config import ModelConfig
    from pytest_tfserving.model_server.prediction_log import LoggedRequest

COLLECTOR = "tfrecord"
_WRITE_S = 0.1
# The most memory that requests which wait to be written may hold, and what each takes beside its tensors.
_MOST_BUFFER_BYTES = 64 * 2**20
_ENTRY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class RequestLogOptions:
    """Options of request logging.

    Attributes:
        enabled: whether requests may be logged at all.
        prefix: beginning of the paths for models without a ``logging_config``; empty to log none of them.
        sampling_rate: share of the requests for these models that is logged.
        file_bytes: a file with as many bytes is followed by the next one; 0 for no limit.
        file_records: a file with as many records is followed by the next one; 0 for no limit.
        tags: tags of the graphs that are served.
    """

    enabled: bool = False
    prefix: str = ""
    sampling_rate: float = 1.0
    file_bytes: int = 0
    file_records: int = 0
    tags: Sequence[str] = ()

    @classmethod
    def of(cls, flags: Flags) -> RequestLogOptions:
        """Read the options from the flags."""
        return cls(
            flags["enable_request_logging"],
            flags["request_log_prefix"],
            flags["request_log_sampling_rate"],
            flags["request_log_file_bytes"],
            flags["request_log_file_records"],
            tuple(flags["saved_model_tags"].split(",")),
        )


class RequestLogs:
    """The request logs of all models."""

    def __init__(self, options: RequestLogOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._logs: dict[str, _Log] = {}
        self._lock = threading.Lock()
        self._entries: deque[_Entry] = deque()
        self._buffered_bytes = 0
        self._retired: list[_Log] = []
        self._closing = threading.Event()
        self._writer: threading.Thread | None = None

    def check(self, models: Sequence[ModelConfig]) -> None:
        """Check that the requests of these models can be logged as configured.

        Raises:
            ServingError: when they cannot.
        """
        for model in models:
            if model.logging and not self._options.enabled:
                # The first sentence is TF Serving's.
                raise invalid(
                    f"No request-logger-creator provided. Model {model.name} has a logging_config: this "
                    "server needs --enable_request_logging for it, and the stock binary of TensorFlow "
                    "Serving refuses it"
                )
            if logging := self._logging(model):
                _check(model.name, logging)

    def configure(self, models: Sequence[ModelConfig]) -> None:
        """Log the requests of these models, which `check` has passed, and of no others."""
        logs = {
            model.name: self._log(model.name, logging)
            for model in models
            if (logging := self._logging(model))
        }
        with self._lock:
            self._retired += [each for each in self._logs.values() if each not in logs.values()]
            self._logs = logs
        if logs and not self._writer:
            self._writer = threading.Thread(target=self._write_until_closed, name="request log", daemon=True)
            self._writer.start()

    def samples(self, name: str) -> bool:
        """Return whether the present request for a model is to be logged."""
        found = self._logs.get(name)
        return found is not None and random() < found.logging.sampling_rate  # noqa: S311 - no secret

    def put(self, request: LoggedRequest) -> None:
        """Log a request soon, or, if too many wait already, never."""
        size = request.size_bytes + _ENTRY_BYTES
        with self._lock:
            found = self._logs.get(request.model)
            if found is None:
                return
            if self._buffered_bytes + size > _MOST_BUFFER_BYTES:
                found.dropped += 1
                return
            self._buffered_bytes += size
            self._entries.append(_Entry(found, request, size, int(time.time())))

    def close(self) -> None:
        """Write what waits, and close the files."""
        self._closing.set()
        if self._writer:
            self._writer.join()

    def _logging(self, model: ModelConfig) -> RequestLogging | None:
        if model.logging or not (self._options.enabled and self._options.prefix):
            return model.logging
        prefix = f"{self._options.prefix}-{quote(model.name, safe='')}"
        return RequestLogging(prefix, self._options.sampling_rate)

    def _log(self, name: str, logging: RequestLogging) -> _Log:
        found = self._logs.get(name)
        return found if found and found.logging == logging else _Log(name, logging, self._options)

    def _write_until_closed(self) -> None:
        while not self._closing.wait(_WRITE_S):
            self._write_all()
        with self._lock:
            self._retired += self._logs.values()
        self._write_all()

    def _write_all(self) -> None:
        with self._lock:
            entries, self._entries = self._entries, deque()
            retired, self._retired = self._retired, []
            logs = {*self._logs.values(), *retired}
        while entries:
            entry = entries.popleft()
            self._count(entry.log, entry.log.write(entry, self._options.tags))
            with self._lock:
                self._buffered_bytes -= entry.size_bytes
        for each in logs:
            self._count_dropped(each)
        for each in retired:
            each.close()

    def _count(self, logged: _Log, code: Code, requests: int = 1) -> None:
        self._metrics.count("request_log_count", requests, model_name=logged.model, status_code=code.name)

    def _count_dropped(self, logged: _Log) -> None:
        with self._lock:
            dropped, logged.dropped = logged.dropped, 0
        if dropped:
            self._count(logged, Code.RESOURCE_EXHAUSTED, dropped)
            reason = "they came faster than they could be written"
            log("warning", f"{dropped} requests for {logged.model} are not in its request log: {reason}")


class _Entry(NamedTuple):
    """A request that waits to be written."""

    log: _Log
    request: LoggedRequest
    size_bytes: int
    timestamp_s: int


class _Log:
    """The request log of one model; only the writing thread calls the methods."""

    def __init__(self, model: str, logging: RequestLogging, options: RequestLogOptions) -> None:
        self.model = model
        self.logging = logging
        self.dropped = 0
        self._options = options
        self._file: FileIO | None = None
        self._bytes = 0
        self._records = 0
        self._complaint = ""

    def write(self, entry: _Entry, tags: Sequence[str]) -> Code:
        """Write a request into the file; return OK, or the code that stands for the failure."""
        try:
            content = entry.request.record(self.logging.sampling_rate, tags, entry.timestamp_s)
            self._append(framed(content))
        except OSError as error:
            self._complain(f"the request log {self.logging.prefix} cannot be written: {error.strerror}")
            return Code.UNAVAILABLE
        except Exception:  # noqa: BLE001 - the next request may be logged
            log("error", f"a request for {self.model} could not be logged", exc_info=True)
            return Code.INTERNAL
        self._complaint = ""
        return Code.OK

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None

    def _append(self, frame: bytes) -> None:
        if self._file is None:
            self._open()
        assert self._file
        written = self._file.write(frame)
        if written != len(frame):  # the disk is full: a part of a record would spoil the file
            self._file.truncate(self._bytes)
            self._file.seek(self._bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._bytes += len(frame)
        self._records += 1
        if self._bytes >= self._options.file_bytes > 0 or self._records >= self._options.file_records > 0:
            self.close()

    def _open(self) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        number = 0
        while self._file is None:
            path = Path(f"{self.logging.prefix}-{stamp}-{number:03}")
            try:
                self._file = path.open("xb", buffering=0)
            except FileExistsError:
                number += 1
        self._bytes = self._records = 0
        log("info", f"requests for {self.model} are logged in {path}")

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            log("error", text)
        self._complaint = text


def _check(model: str, logging: RequestLogging) -> None:
    where = f"logging_config of model {model}"
    if logging.collector not in ("", COLLECTOR):
        raise invalid(
            f"Cannot find LogCollector::Factory for type: {logging.collector}, in the {where}; this server "
            f"has only {COLLECTOR}"
        )
    if not 0 <= logging.sampling_rate <= 1:
        raise invalid(f"sampling_rate is from 0 to 1, not {logging.sampling_rate:g}, in the {where}")
    if not logging.prefix:
        raise invalid(f"filename_prefix, the beginning of the paths, is needed in the {where}")
    if not Path(logging.prefix).parent.is_dir():
        raise invalid(
            f"There is no folder {Path(logging.prefix).parent} for the request log of model {model}"
        )
