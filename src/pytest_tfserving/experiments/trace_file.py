"""Reader of traces: JSON lines, access logs, and TensorFlow Serving's request logs."""

from __future__ import annotations

import hashlib
import math
import sys
from array import array
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, shown
from pytest_tfserving.experiments.access_log import NAMED, AccessLogFormat
from pytest_tfserving.experiments.payload_paths import LINES, RECORDS, is_lines, is_records
from pytest_tfserving.experiments.trace import Trace, TraceEntry
from pytest_tfserving.text.json_line import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_TRACES_KEPT = 8
# Fields of a line with a request, as in a payload set.
_BODY = ("instances", "inputs", "instance")


@dataclass(frozen=True, slots=True)
class TraceContent:
    """The content of a trace without the bodies of its requests.

    Attributes:
        trace: what is known of the whole trace.
        times_s: the time of each request, in seconds since the first one.
        kinds: the kind of each request; empty texts for requests without one.
        first_place: the place of the first request in the file.
    """

    trace: Trace
    times_s: array[float]
    kinds: Sequence[str]
    first_place: str


def read_trace(path: Path, log_format: str = "") -> TraceContent:
    """Read a trace without its bodies, and check every line of it.

    Raises:
        ConfigurationError: if the file cannot be read, has no requests, or has a line that is wrong.
    """
    try:
        known = path.stat()
        return _read(path, log_format, (known.st_size, known.st_mtime_ns))
    except OSError as error:
        raise ConfigurationError(f"the trace {path} cannot be read: {error.strerror}.") from None


@lru_cache(_TRACES_KEPT)
def _read(path: Path, log_format: str, stamp: tuple[int, ...]) -> TraceContent:  # noqa: ARG001 - the cache's key
    times_s, kinds = array("d"), []
    first: TraceEntry | None = None
    for entry in _checked(path, log_format):
        first = first or entry
        times_s.append(entry.at_s - first.at_s)
        kinds.append(sys.intern(entry.kind))
    if first is None:
        lacking = "has no POST request" if log_format else "is empty"
        raise ConfigurationError(f"the trace {path} {lacking}; it needs a request or more.")
    trace = Trace(
        path=str(path),
        log_format=log_format,
        digest=_digest(path),
        requests=len(times_s),
        length_s=_length_s(times_s),
        highest_rps=float(max(Counter(map(math.floor, times_s)).values())),
        has_bodies=first.has_body,
    )
    return TraceContent(trace, times_s, kinds, first.place)


def _length_s(times_s: array[float]) -> float:
    """Return the seconds until a mean gap after the last request; 1 if all came together."""
    count = len(times_s)
    return times_s[-1] * count / (count - 1) if times_s[-1] > 0 else 1.0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(path: Path, log_format: str) -> Iterator[TraceEntry]:
    """Yield the requests of a trace.

    Raises:
        ConfigurationError: if a request came before the one above it, and if only some have a body.
    """
    last: TraceEntry | None = None
    for entry in entries(path, log_format):
        if last and entry.at_s < last.at_s:
            raise ConfigurationError(
                f"{entry.place}: the time goes back by {last.at_s - entry.at_s:.4g} s; a trace has the order "
                "of its times, so sort it."
            )
        if last and entry.has_body is not last.has_body:
            has, had = ("a", "has none") if entry.has_body else ("no", "has one")
            raise ConfigurationError(
                f"{entry.place}: the request has {has} body, and the one before {had}; all requests of a "
                "trace have a body, or none."
            )
        last = entry
        yield entry


def entries(path: Path, log_format: str = "") -> Iterator[TraceEntry]:
    """Yield the requests of a trace.

    Raises:
        ConfigurationError: if the file cannot be read, or a line is wrong, with the line.
    """
    if log_format:
        return AccessLogFormat.of(log_format).requests(_lines(path), path)
    if is_lines(str(path)):
        return (_of_json(line, f"{path}:{number}") for number, line in _lines(path) if line.strip())
    if is_records(str(path)):
        from pytest_tfserving.experiments.request_log import logged_requests

        return logged_requests(path)
    raise ConfigurationError(
        f"the trace {path} ends with neither {LINES} nor {RECORDS}; of an access log give the log_format: "
        f"{', '.join(NAMED)}, or that of nginx's configuration."
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from enumerate(file, 1)


def _of_json(line: str, place: str) -> TraceEntry:
    """Return the request of a line of JSON.

    Raises:
        ConfigurationError: if the line is not JSON, or has no time.
    """
    try:
        value = value_of(line)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{place}: a request of a trace is an object, not {shown(value)}.")
    kind = value.get("kind", "")
    if not isinstance(kind, str):
        raise ConfigurationError(f"{place}: a kind is a text, not {shown(kind)}.")
    return TraceEntry(_time(value.get("time"), place), place, kind, any(name in value for name in _BODY))


def _time(value: object, place: str) -> float:
    """Return a time in seconds: a number, or a time in ISO 8601, which is in UTC unless it says otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        found = "it has none" if value is None else f"not {shown(value)}"
        raise ConfigurationError(
            f"{place}: a request of a trace needs a 'time' in seconds, or in ISO 8601; {found}."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
