"""Rates between pulses of the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]


def between_pulses(rps: Floats) -> Floats:
    """Return the rate of each stretch between two pulses: that of the calls in both; of one pulse its own.

    A server's rate over a second is the harmonic mean of what its single requests would give, and over longer
    times the mean of its seconds. So pulses that are neighbours are joined like the former.
    """
    return 2 / (1 / rps[1:] + 1 / rps[:-1]) if len(rps) > 1 else rps
