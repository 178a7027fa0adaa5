"""SLOs whose limits are what was measured, with a margin."""

from __future__ import annotations

import math
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from pytest_tfserving.slo.language import Slo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_tfserving.load.result import Result

# SLOs of an experiment that has none.
DEFAULT_SLOS = tuple(map(Slo.parse, ("rps>=1", "p95<=1ms")))
_NUMBER = re.compile(r"(?<=[<>=])(\s*)[+-]?[\d._]+(?:[eE][+-]?\d+)?")
_DIGITS = 3
# Metrics whose limits are a matter of choice, not of a server's speed.
_STAY = ("errors", "goodput")


def measured_limit(slo: Slo, results: Iterable[Result], margin: float) -> str:
    """Return an SLO's text with a limit that all results meet, each with a margin.

    The limit is the end of the figure's 95 % interval on the side of the limit, or the figure itself without
    an interval, plus or minus the margin, rounded away from the figure to three digits. Limits on errors, on
    goodput and on changes stay as they are, and so does a limit on a figure that is not known.
    """
    if slo.metric in _STAY or slo.against:
        return slo.text
    ends = [_end(slo, result) for result in results]
    if not ends or not all(0 < end < math.inf for end in ends):
        return slo.text
    if slo.higher_is_better:
        limit = _rounded(min(ends) / (1 + margin), ROUND_FLOOR)
    else:
        limit = _rounded(max(ends) * (1 + margin), ROUND_CEILING)
    return _NUMBER.sub(lambda match: f"{match[1]}{limit}", slo.text, count=1)


def _end(slo: Slo, result: Result) -> float:
    """Return the worse end of a figure's interval, in the unit of its SLO."""
    value = result.metric_range(slo)[1]
    seen = result.of_slo(slo)
    interval = None if slo.judges_parts else seen.intervals.get(slo.definition.key)
    own = slo.definition.read(seen)
    if not interval or not own > 0:
        return value
    # A multiple of the baseline has the relative uncertainty of the figure.
    return value * (interval[0] if slo.higher_is_better else interval[1]) / own


def _rounded(value: float, rounding: str) -> str:
    exact = Decimal(repr(value))
    rounded = exact.quantize(Decimal(1).scaleb(exact.adjusted() - _DIGITS + 1), rounding=rounding)
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
