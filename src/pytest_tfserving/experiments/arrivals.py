"""Schedule of an open loop: when each request starts, fixed before the run by a rate and a seed."""

from __future__ import annotations

import math
import random
from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfserving.experiments.load_shape import Stage

DISTRIBUTIONS = ("constant", "poisson")


def arrivals(stages: Sequence[Stage], distribution: str, seed: int) -> Iterator[float]:
    """Yield the intended start of every request, in seconds since the run's start.

    The rate's integral over time counts the requests that are due. ``constant`` starts a request whenever
    the integral grows by 1; ``poisson`` whenever the integral grows by an exponential variate of mean 1,
    which makes a Poisson process whose rate may change (time rescaling: Lewis and Shedler 1979, section 2).

    Args:
        stages: the rate over the run, in requests a second.
        distribution: one of `DISTRIBUTIONS`.
        seed: the seed of the exponential variates; ``constant`` ignores it.
    """
    steps = _exponential(seed) if distribution == "poisson" else repeat(1.0)
    due = next(steps) if distribution == "poisson" else 0.5
    counted = 0.0
    for stage in stages:
        inside = (stage.first + stage.last) / 2 * (stage.end_s - stage.start_s)
        while due < counted + inside:
            yield stage.start_s + _time_of(due - counted, stage)
            due += next(steps)
        counted += inside


def _exponential(seed: int) -> Iterator[float]:
    variates = random.Random(seed)  # noqa: S311 - a reproducible schedule, not a secret
    while True:
        yield variates.expovariate(1.0)


def _time_of(count: float, stage: Stage) -> float:
    """Return the seconds from a stage's start until ``count`` requests are due: a root of the integral."""
    slope = (stage.last - stage.first) / (stage.end_s - stage.start_s)
    return 2 * count / (stage.first + math.sqrt(stage.first**2 + 2 * slope * count))
