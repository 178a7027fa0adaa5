"""Exact records of all requests: when each was sent, its latency, its outcome, and its delay.

A record is five float64:

- when the request was sent, in seconds since the run's origin
- its latency in ms, counted from when it was sent
- its outcome: 0 for a success, else the index of the error's cause
- its delay: how many ms after its due time it was sent; 0 without a due time
- its body: the index of the request's body in the payload set, or the number of the request's name in a
  locustfile; `Kinds` knows the kind of both

Records are written to the sink while load runs. So the memory of a load process does not grow with the number
of requests, and the records outlive the process.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, Protocol

from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FIELDS = 5
_RECORD = struct.Struct(f"{FIELDS}d")
RECORD_BYTES = _RECORD.size
SUCCESS = 0
# Number of records in a block.
_BLOCK = 1 << 14
# Error texts can differ in every request; beyond this number, causes are counted together.
MOST_CAUSES = 100
# Begin of the cause of a request that was due and never sent.
DROPPED = "not sent"
OTHER_CAUSE = "other errors"


class Sink(Protocol):
    """Destination of records."""

    def write(self, data: array[float], /) -> object:
        """Write whole records, as bytes."""

    def close(self) -> object:
        """Close the sink."""


class Recorder:
    """Writer of records.

    Args:
        sink: the destination of the records.
        announce: called with the outcome number and the text of every new cause of an error.

    Attributes:
        requests: the number of requests written so far.
        failures: the number of failed requests among them.
    """

    def __init__(self, sink: Sink, announce: Callable[[int, str], None]) -> None:
        self._sink = sink
        self._announce = announce
        self._pending = array("d")
        self._causes: dict[str, int] = {}
        self.requests = 0
        self.failures = 0

    def record(
        self, sent_s: float, latency_ms: float, outcome: int = SUCCESS, delay_ms: float = 0.0, body: int = 0
    ) -> None:
        """Record one finished request.

        Args:
            sent_s: when the request was sent, in seconds of the run.
            latency_ms: the latency, counted from ``sent_s``.
            outcome: `SUCCESS`, or the number that `cause` returned.
            delay_ms: how many ms after its due time the request was sent.
            body: the index of the request's body in the payload set, or the number of its name.
        """
        self._pending.frombytes(_RECORD.pack(sent_s, latency_ms, outcome, delay_ms, body))

    def cause(self, text: str) -> int:
        """Return the outcome number for the error ``text``; any text is allowed, also one of a server."""
        text = one_line(text)
        if text not in self._causes:
            if len(self._causes) >= MOST_CAUSES:
                text = OTHER_CAUSE
            if text not in self._causes:
                self._causes[text] = len(self._causes) + 1
                self._announce(self._causes[text], text)
        return self._causes[text]

    def flush(self) -> list[float]:
        """Write and count the pending records; return the latencies of their successes in ms."""
        pending, self._pending = self._pending, array("d")
        self._sink.write(pending)
        outcomes = pending[2::FIELDS]
        latencies = [
            latency for latency, outcome in zip(pending[1::FIELDS], outcomes, strict=True) if not outcome
        ]
        self.requests += len(outcomes)
        self.failures += len(outcomes) - len(latencies)
        return latencies

    def close(self) -> None:
        """Write the pending records and close the sink."""
        self.flush()
        self._sink.close()


def read_records(path: Path) -> Floats:
    """Return all whole records of a file as a memory-mapped float64 array of shape ``(n, 5)``."""
    import numpy as np

    count = path.stat().st_size // RECORD_BYTES if path.exists() else 0
    if not count:
        return np.empty((0, FIELDS))
    return np.memmap(path, dtype="<f8", mode="r", shape=(count, FIELDS))


# Each process numbers its causes itself. In merged records, the numbers of two processes are this far apart.
CAUSES_OF_A_PROCESS = 1000


class RecordStream:
    """Reader of the records in growing files, one file for each load process.

    Args:
        paths: the files.
        known: returns how many of some records can be read by now; by default all.
    """

    def __init__(self, paths: Sequence[Path], known: Callable[[Floats], int] = len) -> None:
        self._paths = paths
        self._known = known
        self._read = [0] * len(paths)

    def new(self) -> Floats:
        """Return the whole records since the last call, a float64 array of shape ``(n, 5)``."""
        import numpy as np

        return np.concatenate([self._new_of(index) for index in range(len(self._paths))])

    def _new_of(self, index: int) -> Floats:
        records = read_records(self._paths[index])[self._read[index] :]
        records = records[: self._known(records)]
        self._read[index] += len(records)
        return of_process(records, index)


def record_blocks(paths: Sequence[Path]) -> Iterator[Floats]:
    """Yield all whole records of a run in blocks of shape ``(n, 5)``."""
    for index, path in enumerate(paths):
        count = path.stat().st_size // RECORD_BYTES if path.exists() else 0
        for first in range(0, count, _BLOCK):
            yield of_process(_read(path, first, min(_BLOCK, count - first)), index)


def _read(path: Path, first: int, count: int) -> Floats:
    import numpy as np

    values = np.fromfile(path, "<f8", count * FIELDS, offset=first * RECORD_BYTES)
    return values.reshape(-1, FIELDS)


def of_process(records: Floats, index: int) -> Floats:
    """Return the records of process ``index``, with outcome numbers that no other process uses."""
    import numpy as np

    if not index:
        return records
    told_apart = np.array(records)
    told_apart[told_apart[:, 2] != SUCCESS, 2] += index * CAUSES_OF_A_PROCESS
    return told_apart
