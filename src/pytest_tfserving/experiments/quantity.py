"""Quantities in the notation of Kubernetes."""

from __future__ import annotations

import re

_QUANTITY = re.compile(r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?P<unit>[a-zA-Z]*)")
_UNITS = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    **{unit: 10.0 ** (3 * (power + 1)) for power, unit in enumerate(("k", "M", "G", "T", "P", "E"))},
    **{unit: 1024.0 ** (power + 1) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))},
}


def quantity(text: object) -> float:
    """Return the value of a Kubernetes quantity, as ``250m``, ``2`` or ``16Gi``; 0 if it is not valid."""
    match = _QUANTITY.fullmatch(str(text).strip())
    if not match or match["unit"] not in _UNITS:
        return 0.0
    return float(match["number"]) * _UNITS[match["unit"]]
