"""Records every request exactly: when it was sent, how long it took, how it ended, how late it was sent.

A record is four float64: when it was sent, in seconds since the run's origin; latency from then on in ms;
outcome; by how many ms it was sent after it was due, 0 where nothing says when it is due. Outcome 0 is a
success, any other number is the index of an error's cause. Records are written away while load runs, so the
child's memory does not grow with the number of requests, and what was measured outlives the child.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Protocol

from pytest_tfserving.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

FIELDS = 4
RECORD_BYTES = 8 * FIELDS
SUCCESS = 0
# Records are looked at so many at once.
_BLOCK = 1 << 14
# Texts of errors can carry ever new details; beyond this many they are counted together.
MOST_CAUSES = 100
# How the cause of a request begins that was due and never sent.
DROPPED = "not sent"
OTHER_CAUSE = "other errors"


class Sink(Protocol):
    """Where records go."""

    def write(self, data: Any, /) -> object:
        """Take some whole records, as bytes."""

    def close(self) -> object:
        """Take no more."""


class Recorder:
    """Writes records to ``sink``; ``announce(index, text)`` is called for every new cause of an error."""

    def __init__(self, sink: Sink, announce: Callable[[int, str], None]) -> None:
        self._sink = sink
        self._announce = announce
        self._pending = array("d")
        self._causes: dict[str, int] = {}
        self.requests = 0
        self.failures = 0

    def record(self, sent_s: float, latency_ms: float, outcome: int = SUCCESS, delay_ms: float = 0.0) -> None:
        """Keep one finished request."""
        self._pending.extend((sent_s, latency_ms, outcome, delay_ms))

    def cause(self, text: str) -> int:
        """The outcome that stands for the error ``text``, which may come from anywhere."""
        text = one_line(text)
        if text not in self._causes:
            if len(self._causes) >= MOST_CAUSES:
                text = OTHER_CAUSE
            if text not in self._causes:
                self._causes[text] = len(self._causes) + 1
                self._announce(self._causes[text], text)
        return self._causes[text]

    def flush(self) -> list[float]:
        """Write what is pending and count it; return the successes' latencies in ms."""
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
        """Write what is pending, and no more."""
        self.flush()
        self._sink.close()


def read_records(path: Path) -> Any:
    """All whole records of a file as a float64 array of shape ``(n, 4)``, mapped, not copied."""
    import numpy as np

    count = path.stat().st_size // RECORD_BYTES if path.exists() else 0
    if not count:
        return np.empty((0, FIELDS))
    return np.memmap(path, dtype="<f8", mode="r", shape=(count, FIELDS))


# Each process numbers its causes by itself; in records of several they lie so far apart.
CAUSES_OF_A_PROCESS = 1000


class RecordStream:
    """The records of files that are still written to, as they come; one file a load process."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._read = [0] * len(paths)

    def new(self) -> Any:
        """The whole records since the last call, a float64 array of shape ``(n, 4)``."""
        import numpy as np

        return np.concatenate([self._new_of(index) for index in range(len(self._paths))])

    def _new_of(self, index: int) -> Any:
        records = read_records(self._paths[index])[self._read[index] :]
        self._read[index] += len(records)
        return of_process(records, index)


def record_blocks(paths: Sequence[Path]) -> Iterator[Any]:
    """All whole records of a run in blocks of shape ``(n, 4)``, however many there are."""
    for index, path in enumerate(paths):
        count = path.stat().st_size // RECORD_BYTES if path.exists() else 0
        for first in range(0, count, _BLOCK):
            yield of_process(_read(path, first, min(_BLOCK, count - first)), index)


def _read(path: Path, first: int, count: int) -> Any:
    import numpy as np

    values = np.fromfile(path, "<f8", count * FIELDS, offset=first * RECORD_BYTES)
    return values.reshape(-1, FIELDS)


def of_process(records: Any, index: int) -> Any:
    """Records of one of several processes, with outcomes that no other process has."""
    import numpy as np

    if not index:
        return records
    told_apart = np.array(records)
    told_apart[told_apart[:, 2] != SUCCESS, 2] += index * CAUSES_OF_A_PROCESS
    return told_apart
