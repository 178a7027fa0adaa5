"""Choice of the next body from a payload set: by weights, and the same in every run of a profile."""

from __future__ import annotations

import random
from bisect import bisect
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def body_choice(weights: Sequence[float], seed: str) -> Callable[[], int]:
    """Return a function that returns the index of the next body.

    Args:
        weights: how often each body is chosen, relative to the others.
        seed: the seed; two functions of one seed make the same choices.
    """
    count = len(weights)
    if count == 1:
        return lambda: 0
    draw = random.Random(seed).random  # noqa: S311 - no secret
    if len(set(weights)) == 1:
        return lambda: int(draw() * count)
    ends = list(accumulate(weights))
    total, last = ends[-1], count - 1
    return lambda: min(bisect(ends, draw() * total), last)
