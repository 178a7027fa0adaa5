"""Detection of a server that sheds load: it refuses requests at once, which looks fast. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_tfserving.statistics.latencies import Collected

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Begin of the causes of refusals: over REST and gRPC, and from Locust's HTTP clients.
_REFUSALS = re.compile(
    r"HTTP (429|503)\b|HTTP 200 with an error|RESOURCE_EXHAUSTED|UNAVAILABLE|(429|503) |.*code=(429|503)\b"
)
# Refusals that take longer than this share of a response's time are an overload, not shedding.
_AT_ONCE = 0.5


class Shedding:
    """Collector of the latencies of refusals and responses; ``causes`` are those of failures, by outcome."""

    def __init__(self, causes: Mapping[int, str]) -> None:
        self._refusals = {index: text for index, text in causes.items() if _REFUSALS.match(text)}
        self._refused_ms = Collected()
        self._answered_ms = Collected()
        self._counts = dict.fromkeys(self._refusals, 0)

    def add(self, latencies_ms: Floats, outcomes: Floats) -> None:
        """Add requests in any order: latencies in ms and outcomes, both of shape ``(n,)``."""
        for outcome in self._refusals:
            refused = outcomes == outcome
            self._counts[outcome] += int(refused.sum())
            self._refused_ms.add(latencies_ms[refused])
        if self._refusals:
            self._answered_ms.add(latencies_ms[outcomes == 0])

    def found(self) -> str:
        """Return a sentence with the figures if the server sheds load; else an empty text."""
        refused, answered = self._refused_ms.latencies(), self._answered_ms.latencies()
        if not len(refused):
            return ""
        refused_ms, answered_ms = refused.percentile_ms(50), answered.percentile_ms(50)
        if len(answered) and refused_ms > _AT_ONCE * answered_ms:
            return ""
        cause = self._refusals[max(self._counts, key=lambda outcome: self._counts[outcome])]
        beside = f", responses took {answered_ms:.3g} ms" if len(answered) else ", and answered none"
        times = f"within {refused_ms:.3g} ms{beside}"
        return f"the server sheds load: it refused {len(refused)} requests {times} ({cause})"
