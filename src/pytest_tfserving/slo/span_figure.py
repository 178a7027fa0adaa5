"""The figures of parts of a run that an SLO judges one by one: windows, and the time after a fall of load."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class SpanFigure:
    """A part of a run and its figure.

    Attributes:
        start_s: start of the part, in seconds of the run.
        end_s: end of the part, in seconds of the run.
        value: the figure in the metric's own unit; NaN without a request that gives one.
        holds: whether the figure is proved to meet its limit, or to miss it; None if neither is proved.
    """

    start_s: float
    end_s: float
    value: float
    holds: bool | None

    def __str__(self) -> str:
        return f"from {self.start_s:.4g} s to {self.end_s:.4g} s"


def worst_of(figures: Sequence[SpanFigure], *, higher_is_better: bool) -> SpanFigure | None:
    """Return the part with the worst figure, a part that is proved to miss its limit first; None without one.

    A part without a figure counts only if no part has one.
    """
    missed = [each for each in figures if each.holds is False]
    known = [each for each in missed or figures if not math.isnan(each.value)]
    sign = -1 if higher_is_better else 1
    return max(known, key=lambda each: sign * each.value, default=figures[0] if figures else None)
