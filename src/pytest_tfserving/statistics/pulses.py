"""Rates of the baseline between its pulses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def between_pulses(rps: Floats) -> Floats:
    """Return the rate of each stretch between two pulses: their harmonic mean. A single pulse has its rate.

    A server's rate over a second is the harmonic mean of the rates of its single requests, and over a longer
    time it is the mean of its seconds. Neighbouring pulses are close in time, so their harmonic mean is used.
    """
    return 2 / (1 / rps[1:] + 1 / rps[:-1]) if len(rps) > 1 else rps
