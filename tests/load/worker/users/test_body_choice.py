"""The choice of bodies from a payload set."""

from __future__ import annotations

from collections import Counter
from itertools import starmap

import pytest

from pytest_tfserving.load.worker.users.body_choice import body_choice


def drawn(weights: list[float], seed: str, count: int = 20_000) -> list[int]:
    choose = body_choice(weights, seed)
    return list(starmap(choose, [()] * count))


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [1.0, 5.0, 0.5]])
def test_bodies_are_chosen_by_their_weights(weights: list[float]) -> None:
    counts = Counter(drawn(weights, "1 0 1"))

    for body, weight in enumerate(weights):
        assert counts[body] == pytest.approx(20_000 * weight / sum(weights), rel=0.1)


def test_a_seed_makes_the_same_choices() -> None:
    assert drawn([1, 2, 3], "1 0 1", 100) == drawn([1, 2, 3], "1 0 1", 100)
    assert drawn([1, 2, 3], "1 0 1", 100) != drawn([1, 2, 3], "2 0 1", 100)


def test_a_single_body_is_always_chosen() -> None:
    assert set(drawn([0.1], "1", 10)) == {0}
