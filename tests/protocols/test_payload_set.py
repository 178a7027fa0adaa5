"""Payload sets: their requests, kinds, weights and samples."""

from __future__ import annotations

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.protocols.payload import Payload
from pytest_tfserving.protocols.payload_set import PayloadSet, SetEntry, with_kind_weights

ONE, TWO = Payload.from_instances([1.0]), Payload.from_inputs({"x": [1, 2]}, "other")


def test_a_set_gives_its_requests_back() -> None:
    entries = [SetEntry(ONE, "small", 2, "file:1"), SetEntry(TWO)]

    found = PayloadSet(entries)

    assert list(found) == [entries[0], SetEntry(TWO, "other")]
    assert found.kinds == ["small", "other"]


def test_a_single_request_is_a_set() -> None:
    assert [entry.payload for entry in PayloadSet.of(ONE)] == [ONE]


def test_what_is_neither_a_request_nor_a_set_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"request_payload gives \[1\]; valid: a Payload or a Pay"):
        PayloadSet.of([1])  # type: ignore[arg-type]  # what a user's fixture returned


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([SetEntry(ONE)], [SetEntry(TWO)]),
        ([SetEntry(ONE)], [SetEntry(ONE), SetEntry(ONE)]),
        ([SetEntry(ONE, "a")], [SetEntry(ONE, "b")]),
        ([SetEntry(ONE, weight=1)], [SetEntry(ONE, weight=2)]),
    ],
    ids=["body", "number", "kind", "weight"],
)
def test_sets_that_differ_have_different_digests(ours: list[SetEntry], theirs: list[SetEntry]) -> None:
    assert PayloadSet(ours).digest == PayloadSet(ours).digest
    assert PayloadSet(ours).digest != PayloadSet(theirs).digest


def test_a_set_without_requests_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"the payload a\.jsonl is empty: it needs a request or more"
    ):
        PayloadSet([], "the payload a.jsonl")


@pytest.mark.parametrize("weight", [0, -1.5, float("nan"), float("inf")])
def test_weights_are_above_zero(weight: float) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"f:3: the weight of a request must be above 0, not {weight:g}"
    ):
        PayloadSet([SetEntry(ONE, weight=weight, place="f:3")])


def test_a_sample_has_each_kind_with_its_whole_weight() -> None:
    many = [SetEntry(ONE, "many") for _ in range(300)]
    few = [SetEntry(TWO, "few", weight=5) for _ in range(2)]

    found = PayloadSet([*many, *few]).sample

    assert len(found) == 34
    assert list(found)[:2] == [0, 300]
    assert sum(weight for index, weight in found.items() if index < 300) == pytest.approx(300)
    assert {index: weight for index, weight in found.items() if index >= 300} == {300: 5, 301: 5}


@pytest.mark.parametrize("kind", ["two\nlines", "p95{large}", "k" * 81])
def test_a_kind_is_a_short_name(kind: str) -> None:
    with pytest.raises(ConfigurationError, match=r"f:3: the kind of a request has at most 80 characters"):
        PayloadSet([SetEntry(ONE, kind, place="f:3")])


def test_the_number_of_kinds_is_limited() -> None:
    with pytest.raises(ConfigurationError, match="the payload set has 101 kinds; valid: at most 100"):
        PayloadSet([SetEntry(ONE, f"kind {number}") for number in range(101)])


def test_kinds_get_other_weights() -> None:
    entries = [SetEntry(ONE, "small", 3), SetEntry(ONE, "small"), SetEntry(TWO, "large", 7)]

    found = with_kind_weights(PayloadSet(entries), {"small": 8})

    assert [(each.kind, each.weight) for each in found] == [("small", 6), ("small", 2), ("large", 1)]
