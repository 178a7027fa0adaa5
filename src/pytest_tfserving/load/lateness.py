"""Share of the load generator's own lateness in each latency. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MS = 1_000


class Lateness:
    """Times at which load processes were late.

    Args:
        late: rows of three numbers: the first and the last second of the run, and for how many ms of them
            the process was late.
    """

    def __init__(self, late: Iterable[Sequence[float]]) -> None:
        seen = np.array([*late], float).reshape(-1, 3)
        self._begun_s, self._begun_ms = _totals(seen[:, 0], seen[:, 2])
        self._over_s, self._over_ms = _totals(seen[:, 1], seen[:, 2])

    def __bool__(self) -> bool:
        return len(self._over_s) > 0

    def cleared(self, sent_s: Floats, latencies_ms: Floats) -> Floats:
        """Return lower bounds in ms of latencies without the generator's lateness.

        All lateness is subtracted from one latency before the request was sent until the request ended:
        requests that were sent late together make a queue, in which later requests wait.

        Args:
            sent_s: when each request was sent, in seconds of the run; shape ``(n,)``.
            latencies_ms: each latency, counted from when the request was sent; shape ``(n,)``.
        """
        begun = np.searchsorted(self._begun_s, sent_s + latencies_ms / _MS, "left")
        over = np.searchsorted(self._over_s, sent_s - latencies_ms / _MS, "right")
        late_ms = np.maximum(self._begun_ms[begun] - self._over_ms[over], 0.0)
        return np.maximum(latencies_ms - late_ms, 0.0)


def _totals(at_s: Floats, late_ms: Floats) -> tuple[Floats, Floats]:
    """Return the times in order, and the cumulative lateness before the first time and after each time."""
    order = np.argsort(at_s, kind="stable")
    return at_s[order], np.concatenate([[0.0], np.cumsum(late_ms[order])])
