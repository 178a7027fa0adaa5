"""How much of each latency the load generator's own lateness can be. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MS = 1_000


class Lateness:
    """When load processes were late: from and until which second of the run, and for how many ms of that."""

    def __init__(self, late: Iterable[Sequence[float]]) -> None:
        seen = np.array([*late], float).reshape(-1, 3)
        self._begun_s, self._begun_ms = _totals(seen[:, 0], seen[:, 2])
        self._over_s, self._over_ms = _totals(seen[:, 1], seen[:, 2])

    def __bool__(self) -> bool:
        return len(self._over_s) > 0

    def cleared(self, sent_s: Floats, latencies_ms: Floats) -> Floats:
        """Return the least that latencies, which count from when requests were sent, can be without lateness.

        Taken off is all lateness from one latency before a request was sent until it ended: requests that
        were sent late together make a queue, which those behind them wait in.
        """
        begun = np.searchsorted(self._begun_s, sent_s + latencies_ms / _MS, "left")
        over = np.searchsorted(self._over_s, sent_s - latencies_ms / _MS, "right")
        late_ms = np.maximum(self._begun_ms[begun] - self._over_ms[over], 0.0)
        return np.maximum(latencies_ms - late_ms, 0.0)


def _totals(at_s: Floats, late_ms: Floats) -> tuple[Floats, Floats]:
    """Return the times in their order, and the lateness of none, of the first, of the first two and so on."""
    order = np.argsort(at_s, kind="stable")
    return at_s[order], np.concatenate([[0.0], np.cumsum(late_ms[order])])
