"""What created objects carry, and which of them are left over."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_tfserving.targets.common.ownership import (
    EXPERIMENT,
    OWNER,
    OrphanRule,
    Owner,
    OwnershipLabels,
    label_value,
    selector,
)

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
VALID_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
LATER = datetime.now(UTC) + timedelta(days=2)


def carried(tags: OwnershipLabels) -> dict[str, str]:
    return {**tags.labels, **tags.annotations}


def ended_owner() -> Owner:
    """A process of this machine that has ended and is reaped."""
    program = "import os, psutil; print(os.getpid(), psutil.Process().create_time())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    pid, started_s = done.stdout.split()
    return Owner(Owner.this_process().host, int(pid), float(started_s))


ELSEWHERE = Owner("another-machine", 1, 0.0)


@given(st.text())
@example("-" * 70 + "a")
@example("a" * 62 + "-" + "b")
@example("8cpu-16gb-2n-interop4")
def test_any_text_becomes_a_label_that_kubernetes_takes(text: str) -> None:
    assert VALID_VALUE.fullmatch(label_value(text))


def test_an_experiments_name_stays_as_it_is() -> None:
    assert OwnershipLabels("8cpu-16gb-2n-interop4").labels[EXPERIMENT] == "8cpu-16gb-2n-interop4"


def test_no_two_deployments_have_one_run_id() -> None:
    assert len({OwnershipLabels("e").run for _ in range(100)}) == 100


def test_the_selector_finds_the_run_and_nothing_else() -> None:
    mine, other = OwnershipLabels("e"), OwnershipLabels("e")

    assert selector(mine.run).items() <= mine.labels.items()
    assert not selector(mine.run).items() <= other.labels.items()


def test_what_a_running_process_has_made_is_never_left_over() -> None:
    mine = carried(OwnershipLabels("e", lifetime=timedelta(0)))

    assert not OrphanRule(now=LATER).include(mine)


def test_what_an_ended_process_has_made_is_left_over_at_once() -> None:
    assert OrphanRule().include(carried(OwnershipLabels("e", owner=ended_owner())))


def test_a_process_id_that_is_used_again_does_not_keep_it() -> None:
    earlier = Owner(Owner.this_process().host, os.getpid(), psutil.Process().create_time() - 3600)

    assert OrphanRule().include(carried(OwnershipLabels("e", owner=earlier)))


def test_what_another_machine_has_made_is_left_over_when_its_time_is_up() -> None:
    theirs = carried(OwnershipLabels("e", owner=ELSEWHERE))

    assert not OrphanRule().include(theirs)
    assert OrphanRule(now=LATER).include(theirs)


@pytest.mark.parametrize("keep", ["always", "on-failure"])
def test_what_was_kept_stays_until_its_time_is_up_or_it_is_asked_for(keep: str) -> None:
    kept = carried(OwnershipLabels("e", keep=keep, owner=ended_owner()))

    assert not OrphanRule().include(kept)
    assert OrphanRule(kept=True).include(kept)
    assert OrphanRule(now=LATER).include(kept)


def test_a_run_that_is_named_is_the_only_one() -> None:
    mine, other = OwnershipLabels("e"), OwnershipLabels("e", owner=ended_owner())

    assert OrphanRule(run=mine.run).include(carried(mine))
    assert not OrphanRule(run=mine.run).include(carried(other))


@pytest.mark.parametrize(
    "strangers",
    [
        {},
        {"app.kubernetes.io/managed-by": "Helm", "pytest-tfserving/run": "1"},
        {"app.kubernetes.io/managed-by": "pytest-tfserving"},
        {"app": "pytest-tfserving", "pytest-tfserving/expires-at": "2000-01-01T00:00:00+00:00"},
    ],
)
def test_a_strangers_object_is_never_left_over(strangers: dict[str, str]) -> None:
    assert not OrphanRule(now=LATER, kept=True).include(strangers)
    assert not OrphanRule(run="1").include(strangers)


@pytest.mark.parametrize(
    "owner",
    [
        "",
        "null",
        "7",
        "[1]",
        "{}",
        '{"host": "h"}',
        '{"host": "h", "pid": "x", "started_s": 1}',
        '{"host": "h", "pid": 1e999, "started_s": 1}',
        '{"host": "h", "pid": 1, "started_s": [1]}',
        '{"host": "h", "pid": 1, "started_s": 1',
        "[" * 50_000,
    ],
    ids=lambda owner: owner[:50],
)
def test_an_owner_that_cannot_be_read_counts_as_one_elsewhere(owner: str) -> None:
    unreadable = {**carried(OwnershipLabels("e")), OWNER: owner}

    assert not OrphanRule().include(unreadable)
    assert OrphanRule(now=LATER).include(unreadable)


@pytest.mark.parametrize("pid", [-1, 10**30])
def test_a_process_that_no_system_has_does_not_run(pid: int) -> None:
    here = Owner.this_process()

    assert not replace(here, pid=pid).is_running


def test_an_expiry_that_cannot_be_read_is_none() -> None:
    unreadable = {**carried(OwnershipLabels("e", owner=ELSEWHERE)), "pytest-tfserving/expires-at": "soon"}

    assert not OrphanRule(now=LATER).include(unreadable)


def test_the_owner_is_this_process() -> None:
    owner = json.loads(OwnershipLabels("e").annotations[OWNER])

    assert owner["pid"] == os.getpid()
    assert Owner(**owner).is_running
