"""Who has the turn of a cluster, as far as its Lease says, which anybody can have made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.targets.common.ownership import OWNER
from pytest_tfserving.targets.kubernetes.cluster_lock import _PURPOSE, held_by

if TYPE_CHECKING:
    from pytest_tfserving.targets.kubernetes.objects import Lease


@pytest.mark.parametrize(
    ("lease", "said"),
    [
        (
            {
                "metadata": {"annotations": {_PURPOSE: "theirs"}},
                "spec": {"holderIdentity": "ann@host-7-abc"},
            },
            "ann@host-7 is measuring theirs",
        ),
        ({"metadata": {}}, "somebody is measuring something"),
        ({"metadata": {"annotations": None}, "spec": {}}, "somebody is measuring something"),
        ({"metadata": {"annotations": {OWNER: "[1]"}}, "spec": None}, "somebody is measuring something"),
        ({"metadata": {"annotations": {_PURPOSE: "\x1b[31ma\nb"}}}, "somebody is measuring a b"),
    ],
    ids=["ours", "nothing", "empty", "no spec", "control codes"],
)
def test_who_holds_a_lease_is_said(lease: Lease, said: str) -> None:
    assert held_by(lease, 12.0) == f"{said} (its lease ends in 12 s unless renewed)"
