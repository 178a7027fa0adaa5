"""Change between two figures, with an interval that rests on the intervals of both.

Both intervals are turned into errors of the logarithm, downward and upward, and the errors of two figures add
up in squares: the method of variance estimates recovery (Donner and Zou, Statistics in Medicine 29, 2010, for
ratios; Zou and Donner, Statistics in Medicine 27, 2008, for differences).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

# Of a two-sided 95 % interval.
Z_95 = NormalDist().inv_cdf(0.975)
# A change is seen when its interval leaves out no change; this adds a probability of 80 %.
_POWER = NormalDist().inv_cdf(0.8)
# The exponential of a larger number is not finite.
_LARGEST_LOG = 700.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one run.

    Attributes:
        value: the figure.
        low: the lower end of its 95 % interval.
        high: the upper end of its 95 % interval.
        least_sd: the least standard deviation of the figure's logarithm, as known from elsewhere.
        between_sd: the standard deviation of the logarithm that comes on top, as between two runs.
    """

    value: float
    low: float
    high: float
    least_sd: float = 0.0
    between_sd: float = 0.0

    @property
    def log_errors(self) -> tuple[float, float]:
        """The standard errors of the logarithm downward and upward; infinite down to an end of 0."""
        below = math.log(self.value / self.low) if self.low > 0 else math.inf
        above = math.log(self.high / self.value) if self.high > 0 else math.inf
        return self._whole(below / Z_95), self._whole(above / Z_95)

    def _whole(self, error: float) -> float:
        return math.hypot(max(error, self.least_sd, 0.0), self.between_sd)


@dataclass(frozen=True, slots=True)
class Change:
    """The change from one figure to another: relative, or a difference.

    Attributes:
        centre: the logarithm of the ratio, or the difference.
        below_se: the standard error downward, on the scale of ``centre``.
        above_se: the standard error upward.
        is_ratio: whether the change is relative.
    """

    centre: float
    below_se: float
    above_se: float
    is_ratio: bool

    @property
    def value(self) -> float:
        """The change: the ratio minus 1, or the difference."""
        return self._shown(self.centre)

    def interval(self, z: float = Z_95) -> tuple[float, float]:
        """Return the interval of the change, ``z`` standard errors to both sides."""
        return self._shown(self.centre - z * self.below_se), self._shown(self.centre + z * self.above_se)

    def smallest(self, *, upward: bool) -> float:
        """Return the smallest change that would be seen with a probability of 80 %, as a positive number.

        Seen means that the 95 % interval leaves out no change.
        """
        needed = Z_95 + _POWER
        return abs(self._shown(needed * self.below_se if upward else -needed * self.above_se))

    def _shown(self, centre: float) -> float:
        if not self.is_ratio:
            return centre
        return math.expm1(centre) if centre < _LARGEST_LOG else math.inf


def relative_change(before: Figure, now: Figure) -> Change | None:
    """Return the relative change between two figures; None unless both are above 0."""
    if not (before.value > 0 and now.value > 0):
        return None
    before_below, before_above = before.log_errors
    now_below, now_above = now.log_errors
    below, above = math.hypot(now_below, before_above), math.hypot(now_above, before_below)
    return Change(math.log(now.value / before.value), below, above, is_ratio=True)


def difference(before: Figure, now: Figure) -> Change:
    """Return the difference between two shares."""
    below = math.hypot(now.value - now.low, before.high - before.value) / Z_95
    above = math.hypot(now.high - now.value, before.value - before.low) / Z_95
    return Change(now.value - before.value, below, above, is_ratio=False)
