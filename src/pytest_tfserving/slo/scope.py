"""The scope of an SLO: windows in place of the whole steady time, and the requests of one kind."""

from __future__ import annotations

import re

from pytest_tfserving.errors import ConfigurationError

NOT_BY_WINDOW = (
    "has no limits by window; absolute ones on percentiles, mean, max, rps, errors and goodput have."
)
NOT_BY_KIND = (
    "has no limits by kind; absolute ones on percentiles, mean, max, rps, errors, goodput and recovery have."
)
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0}
# Shorter windows have no rate and no level.
_SHORTEST_S = 1.0


def window_s(every: str, text: str) -> float:
    """Return the length of the windows of an SLO's ``text``, in seconds.

    Raises:
        ConfigurationError: if ``every`` is not a length, or is too short.
    """
    match = _LENGTH.fullmatch(every)
    length_s = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if length_s < _SHORTEST_S:
        raise ConfigurationError(
            f"SLO {text!r}: {every!r} is not the length of a window of {_SHORTEST_S:g} s or more; "
            "write it as 'every 10s'."
        )
    return length_s
