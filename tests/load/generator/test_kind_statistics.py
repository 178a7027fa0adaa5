"""Figures of each kind of requests, from the records of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.load.generator.kind_statistics import KindStatistics
from pytest_tfserving.load.kinds import Kinds
from pytest_tfserving.load.result import Window

if TYPE_CHECKING:
    from collections import Counter

    from numpy.typing import NDArray

SMALL, LARGE = 0, 1


def requests(count: int, latency_ms: float, body: int, outcome: int = 0) -> NDArray[np.float64]:
    """Records of requests that were sent evenly over ten seconds."""
    sent_s = np.linspace(0, 9.5, count)
    columns = [sent_s, np.full(count, latency_ms), np.full(count, outcome), np.zeros(count)]
    return np.column_stack([*columns, np.full(count, body)])


def statistics(kinds: Kinds, *blocks: NDArray[np.float64]) -> KindStatistics:
    found = KindStatistics(kinds, Window(0.0, 10.0), 1.0)
    for block in blocks:
        found.add(block)
    found.close()
    for block in blocks:
        found.see_again(block)
    return found


def by_cause(outcomes: Counter[int]) -> dict[str, int]:
    return {f"cause {outcome}": count for outcome, count in outcomes.items()}


def test_each_kind_has_its_own_latencies_and_errors() -> None:
    blocks = [requests(900, 2.0, SMALL), requests(100, 50.0, LARGE), requests(5, 1.0, LARGE, outcome=3)]

    found = statistics(Kinds.named(["small", "large"]), np.concatenate(blocks)).figures(by_cause)

    assert [len(each.latencies) for each in found.values()] == [900, 100]
    assert [each.latencies.percentile_ms(95) for each in found.values()] == [2.0, 50.0]
    assert [dict(each.errors) for each in found.values()] == [{}, {"cause 3": 5}]
    assert all("rps" in each.intervals for each in found.values())


def test_one_kind_has_no_figures_of_its_own() -> None:
    assert not statistics(Kinds(), requests(10, 1.0, SMALL)).figures(by_cause)


def test_a_kind_without_requests_has_no_latencies() -> None:
    found = statistics(Kinds.named(["small", "large"]), requests(10, 1.0, SMALL)).figures(by_cause)

    assert len(found["large"].latencies) == 0
