"""Kinds of requests: of the bodies of a payload set, and of the names in a locustfile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.load.kinds import MOST_NAMES, OTHER_NAMES, Kinds

if TYPE_CHECKING:
    from numpy.typing import NDArray


def records_of(*numbers: int) -> NDArray[np.float64]:
    """Records with these last numbers."""
    records = np.zeros((len(numbers), 5))
    records[:, 4] = numbers
    return records


def test_a_record_has_the_kind_of_its_body() -> None:
    kinds = Kinds.named(["small", "large", "small"])

    assert kinds.names == ("small", "large")
    assert kinds.of_records(records_of(2, 1, 0, 1)).tolist() == [0, 1, 0, 1]
    assert kinds.reported == {"small": 0, "large": 1}


def test_all_bodies_are_of_the_only_kind() -> None:
    kinds = Kinds()

    assert not kinds.reported
    assert kinds.of_records(records_of(0, 9)).tolist() == [0, 0]


def test_names_of_a_locustfile_come_while_load_runs() -> None:
    """Those that SLOs name have their numbers before; other processes have numbers of their own."""
    kinds, records = Kinds.of_locustfile(["search", "search", "misspelt"]), records_of(0, 1000, 1)
    known = [kinds.known(records)]
    for number, name in ((0, "home"), (1000, "search"), (1, "home")):
        kinds.add(number, name)
        known.append(kinds.known(records))

    assert known == [0, 1, 2, 3]
    assert [kinds.names[each] for each in kinds.of_records(records)] == ["home", "search", "home"]
    assert kinds.names[1:3] == ("search", "misspelt")
    assert list(kinds.reported) == ["search", "home"]
    assert [kinds.has_come(each) for each in ("search", "misspelt")] == [True, False]


def test_one_name_in_a_locustfile_is_reported_if_an_slo_names_a_kind() -> None:
    plain, named = Kinds.of_locustfile([]), Kinds.of_locustfile(["misspelt"])
    for kinds in (plain, named):
        kinds.add(0, "search")

    assert [list(kinds.reported) for kinds in (plain, named)] == [[], ["search"]]


def test_too_many_names_are_counted_together() -> None:
    kinds = Kinds.of_locustfile([])
    for number in range(2 * MOST_NAMES):
        kinds.add(number, f"/item/{number}")

    assert len(kinds.reported) == MOST_NAMES + 1
    assert kinds.names[-1] == OTHER_NAMES
    assert kinds.names[kinds.of_records(records_of(MOST_NAMES + 5))[0]] == OTHER_NAMES
