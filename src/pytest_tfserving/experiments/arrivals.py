"""Schedule of an open loop: when each request starts, fixed before the run by a rate and a seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.load_shape import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DISTRIBUTIONS = ("constant", "poisson", "gamma", "mmpp")
# With a larger one, nearly all requests of a run would start at a few moments.
_LARGEST_CV = 20
# The settings that only one distribution has.
_SETTINGS = {"gamma": ("cv",), "mmpp": ("burst_factor", "burst_s", "calm_s")}
_MEANINGS = {
    "cv": "the coefficient of variation of the gaps: 1 is like poisson, more is burstier",
    "burst_factor": "how many times the calm rate the rate in a burst is",
    "burst_s": "the mean length of a burst in seconds",
    "calm_s": "the mean time between two bursts in seconds",
}


@dataclass(frozen=True, slots=True)
class ArrivalProcess:
    """The spacing of an open loop's requests.

    Attributes:
        distribution: one of `DISTRIBUTIONS`.
        seed: the seed of the random variates; ``constant`` ignores it.
        cv: the coefficient of variation of the gaps of ``gamma``; 0 for another distribution.
        burst_factor: of ``mmpp``, the rate in a burst as a multiple of the rate between bursts.
        burst_s: of ``mmpp``, the mean length of a burst in seconds.
        calm_s: of ``mmpp``, the mean time between two bursts in seconds.

    Raises:
        ConfigurationError: for an unknown distribution, and for a setting that is missing or does not fit.
    """

    distribution: str = "poisson"
    seed: int = 1
    cv: float = 0.0
    burst_factor: float = 0.0
    burst_s: float = 0.0
    calm_s: float = 0.0

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise ConfigurationError(
                f"arrivals of a load profile is one of {', '.join(DISTRIBUTIONS)}, not {self.distribution!r}."
            )
        for owner, names in _SETTINGS.items():
            for name in names:
                self._check_setting(owner, name)
        if self.cv > _LARGEST_CV:
            raise ConfigurationError(f"cv of a load profile is at most {_LARGEST_CV}, not {self.cv:g}.")
        if self.distribution == "mmpp" and self.burst_factor <= 1:
            raise ConfigurationError(
                f"burst_factor of a load profile is more than 1, not {self.burst_factor:g}: it is "
                f"{_MEANINGS['burst_factor']}."
            )

    def _check_setting(self, owner: str, name: str) -> None:
        """Raise a ConfigurationError if a setting is missing, or is given for another distribution."""
        value = getattr(self, name)
        if owner == self.distribution and not value:
            raise ConfigurationError(f"arrivals {owner!r} needs {name}, {_MEANINGS[name]}.")
        if owner != self.distribution and value:
            raise ConfigurationError(
                f"{name} {value:g} is for arrivals {owner!r}, and the load profile's are "
                f"{self.distribution!r}; drop {name}, or set arrivals: {owner}."
            )

    @property
    def cycle_s(self) -> float:
        """Mean seconds of a burst with the calm after it; 0 without bursts of a length of their own."""
        return self.burst_s + self.calm_s

    def memory_s(self, rate: float) -> float:
        """Return for how many seconds the number of arrivals depends on the arrivals before.

        For ``gamma`` this is the time of a cluster of requests and the gap after it. The two states of
        ``mmpp`` are correlated for the reciprocal of the sum of both rates of change.
        """
        if self.distribution == "gamma":
            return self.cv**2 / rate
        return self.burst_s * self.calm_s / self.cycle_s if self.distribution == "mmpp" else 0.0

    def clump(self, rate: float) -> float:
        """Return how many requests a burst sends together; at least 1."""
        return max(rate * self.memory_s(rate) * self.highest_factor, 1.0)

    @property
    def highest_factor(self) -> float:
        """Highest rate that lasts for the time of a burst, as a multiple of the mean rate."""
        return self._calm_factor * self.burst_factor if self.distribution == "mmpp" else 1.0

    @property
    def _calm_factor(self) -> float:
        """Rate between the bursts of ``mmpp``, as a multiple of the mean rate."""
        return self.cycle_s / (self.calm_s + self.burst_factor * self.burst_s)

    def due_times(self, stages: Sequence[Stage]) -> Iterator[float]:
        """Yield the intended start of every request, in seconds since the run's start.

        The rate's integral over time counts the requests that are due. A request starts whenever the
        integral grows by a variate of mean 1: by 1 itself for ``constant``, by an exponential variate for
        ``poisson``, which makes a Poisson process whose rate may change (time rescaling: Lewis and Shedler
        1979, section 2), and by a gamma variate for ``gamma``. The rate of ``mmpp`` itself changes at random
        between two levels (Fischer and Meier-Hellstern 1993).

        Args:
            stages: the mean rate over the run, in requests a second.
        """
        steps = self._steps()
        due = next(steps)
        counted = 0.0
        for stage in self._modulated(stages) if self.distribution == "mmpp" else stages:
            inside = (stage.first + stage.last) / 2 * (stage.end_s - stage.start_s)
            while due < counted + inside:
                yield stage.start_s + _time_of(due - counted, stage)
                due += next(steps)
            counted += inside

    def _steps(self) -> Iterator[float]:
        """Yield the count at which the first request is due, and then the growth until each next one."""
        variates = random.Random(self.seed)  # noqa: S311 - a reproducible schedule, not a secret
        if self.distribution == "constant":
            yield 0.5
            yield from repeat(1.0)
        elif self.distribution == "gamma":
            shape, scale = self.cv**-2, self.cv**2
            # The rest of a gap from any moment on: a uniform part of a gap that long gaps are likelier to be.
            yield variates.random() * variates.gammavariate(shape + 1, scale)
            while True:
                yield variates.gammavariate(shape, scale)
        while True:
            yield variates.expovariate(1.0)

    def _modulated(self, stages: Sequence[Stage]) -> Iterator[Stage]:
        """Yield the parts of ``stages`` in which bursts and calm times keep their rate."""
        states = random.Random(f"states {self.seed}")  # noqa: S311 - a reproducible schedule, not a secret
        share = self.burst_s / self.cycle_s
        # The first state begins with the first stage.
        is_burst, until_s = states.random() >= share, stages[0].start_s
        for stage in stages:
            at_s = stage.start_s
            while at_s < stage.end_s:
                if until_s <= at_s:
                    is_burst = not is_burst
                    until_s += states.expovariate(1 / (self.burst_s if is_burst else self.calm_s))
                    continue
                end_s = min(until_s, stage.end_s)
                factor = self._calm_factor * (self.burst_factor if is_burst else 1)
                yield Stage(at_s, end_s, factor * stage.level(at_s), factor * stage.level(end_s))
                at_s = end_s


def _time_of(count: float, stage: Stage) -> float:
    """Return the seconds from a stage's start until ``count`` requests are due: a root of the integral."""
    if stage.first == stage.last:
        return count / stage.first
    slope = (stage.last - stage.first) / (stage.end_s - stage.start_s)
    return 2 * count / (stage.first + math.sqrt(max(stage.first**2 + 2 * slope * count, 0.0)))
