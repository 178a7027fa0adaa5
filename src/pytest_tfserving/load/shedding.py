"""A server that sheds load: it refuses requests at once, which looks fast and serves nobody. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_tfserving.load.latencies import Collected

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# How the causes of refusals begin: those of REST and of gRPC, and those that Locust's clients tell.
_REFUSALS = re.compile(
    r"HTTP (429|503)\b|HTTP 200 with an error|RESOURCE_EXHAUSTED|UNAVAILABLE|(429|503) |.*code=(429|503)\b"
)
# Refusals that take longer than this share of an answer's time are no shedding, but an overload.
_AT_ONCE = 0.5


class Shedding:
    """Collects how long refusals and answers took; ``causes`` are those of failures, by their outcome."""

    def __init__(self, causes: Mapping[int, str]) -> None:
        self._refusals = {index: text for index, text in causes.items() if _REFUSALS.match(text)}
        self._refused_ms = Collected()
        self._answered_ms = Collected()
        self._counts = dict.fromkeys(self._refusals, 0)

    def add(self, latencies_ms: Floats, outcomes: Floats) -> None:
        """Take in requests in any order."""
        for outcome in self._refusals:
            refused = outcomes == outcome
            self._counts[outcome] += int(refused.sum())
            self._refused_ms.add(latencies_ms[refused])
        if self._refusals:
            self._answered_ms.add(latencies_ms[outcomes == 0])

    def found(self) -> str:
        """Return that the server sheds load, a sentence with the figures; empty where it does not."""
        refused, answered = self._refused_ms.latencies(), self._answered_ms.latencies()
        if not len(refused):
            return ""
        refused_ms, answered_ms = refused.percentile_ms(50), answered.percentile_ms(50)
        if len(answered) and refused_ms > _AT_ONCE * answered_ms:
            return ""
        cause = self._refusals[max(self._counts, key=lambda outcome: self._counts[outcome])]
        beside = f", answers took {answered_ms:.3g} ms" if len(answered) else ", and answered none"
        times = f"within {refused_ms:.3g} ms{beside}"
        return f"the server sheds load: it refused {len(refused)} requests {times} ({cause})"
