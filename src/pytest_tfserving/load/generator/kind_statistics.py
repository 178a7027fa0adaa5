"""Statistics of each kind of requests, from records that come block by block."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_tfserving.load.kinds import KindFigures
from pytest_tfserving.load.recorder import SUCCESS
from pytest_tfserving.statistics.span import SpanStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.load.kinds import Kinds
    from pytest_tfserving.load.result import Window

    Floats = NDArray[np.float64]

_MS = 1_000


class KindStatistics:
    """Statistics of each kind of requests in the window; nothing is computed if there is one kind only.

    Args:
        kinds: the kinds of the requests.
        window: the part of the run that figures are computed from.
        noise_memory_s: the longest time over which the machine's speed is correlated, by assumption.
    """

    def __init__(self, kinds: Kinds, window: Window, noise_memory_s: float) -> None:
        self._kinds = kinds
        self._start_s = window.start_s
        self._numbers = kinds.reported
        self._parts = {
            name: SpanStatistics(window.start_s, window.end_s, noise_memory_s) for name in self._numbers
        }
        self._errors: dict[str, Counter[int]] = {name: Counter() for name in self._numbers}

    def add(self, records: Floats) -> None:
        """Add a block of records in the first pass."""
        for name, own in self._by_kind(records):
            finished_s, failed = _finished_s(own), own[:, 2] != SUCCESS
            self._parts[name].add(finished_s, own[:, 1] + own[:, 3], failed)
            outcomes = own[failed & (finished_s >= self._start_s), 2]
            self._errors[name].update(outcomes.astype(int).tolist())

    def close(self) -> None:
        """End the first pass."""
        for part in self._parts.values():
            part.close()

    def see_again(self, records: Floats) -> None:
        """Add a block of records in the second pass."""
        for name, own in self._by_kind(records):
            self._parts[name].see_again(_finished_s(own), own[:, 1] + own[:, 3], own[:, 2] != SUCCESS)

    def figures(self, by_cause: Callable[[Counter[int]], Mapping[str, int]]) -> dict[str, KindFigures]:
        """Return the figures of each kind; ``by_cause`` returns the causes of outcomes."""
        found = {}
        for name, part in self._parts.items():
            intervals, n_eff = part.intervals()
            found[name] = KindFigures(part.latencies, by_cause(self._errors[name]), intervals, n_eff)
        return found

    def _by_kind(self, records: Floats) -> Iterator[tuple[str, Floats]]:
        """Yield the records of each kind."""
        if not self._numbers:
            return
        of_records = self._kinds.of_records(records)
        for name, number in self._numbers.items():
            yield name, records[of_records == number]


def _finished_s(records: Floats) -> Floats:
    finished_s: Floats = records[:, 0] + records[:, 1] / _MS
    return finished_s
