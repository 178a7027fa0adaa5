"""The alternation of load between two deployments, with freezers that note what happens."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from pytest_tfserving.deployment.load_clock import LoadClock
from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.measurement import alternation as module
from pytest_tfserving.measurement.alternation import Alternation, RunningOn, Side

SLICE_S = 1 / 256
LONG_S = 20.0
TURNS = 60


class Clock(LoadClock):
    """A load clock that goes on by half a slice each time it is read, and not by itself."""

    def __init__(self) -> None:
        self.has_run_s = 0.0
        self.has_stopped = False
        self.now_s = self._read

    def _read(self) -> float:
        self.has_run_s += 0 if self.stands else SLICE_S / 2
        return self.has_run_s

    @property
    def has_begun(self) -> bool:
        return True

    @property
    def stands(self) -> bool:
        return self.has_stopped

    def stop(self) -> None:
        self.has_stopped = True

    def go_on(self) -> None:
        self.has_stopped = False


class Diary:
    """What happened to two deployments: who runs, and at each turn how many slices either one has had."""

    def __init__(self) -> None:
        self.running = {"ours", "theirs"}
        self.together: list[int] = []
        self.slices: list[tuple[float, float]] = []
        self.done = threading.Event()
        self.sides = tuple(Side(Clock(), Fake(), Fake(self, name)) for name in ("ours", "theirs"))

    @property
    def both(self) -> tuple[Side, Side]:
        ours, theirs = self.sides
        return ours, theirs

    def froze(self, name: str) -> None:
        self.running.discard(name)

    def thawed(self, name: str) -> None:
        self.running.add(name)
        if self.done.is_set():
            return
        self.together.append(len(self.running))
        ours, theirs = (side.clock.has_run_s / SLICE_S for side in self.sides)  # type: ignore[attr-defined] # a Clock
        self.slices.append((ours, theirs))
        if len(self.slices) == TURNS:
            self.done.set()


@dataclass
class Fake:
    """Processes that note when they are frozen."""

    diary: Diary | None = None
    name: str = ""
    takes_s: float = 0.0
    fails_from: float = float("inf")
    calls: list[str] = field(default_factory=list)

    def freeze(self) -> None:
        self.calls.append("freeze")
        time.sleep(self.takes_s)
        if len(self.calls) > self.fails_from:
            raise DeploymentError("the engine no longer answers: gone")
        if self.diary:
            self.diary.froze(self.name)

    def thaw(self) -> None:
        self.calls.append("thaw")
        if self.diary:
            self.diary.thawed(self.name)


@pytest.fixture
def _short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices that do not depend on how long this machine takes for a fake."""
    monkeypatch.setattr(module, "_slice_s", lambda _: SLICE_S)


def begun() -> LoadClock:
    clock = LoadClock()
    clock.begin(time.time())
    return clock


def alternated(seed: int) -> Diary:
    """What happened in `TURNS` turns."""
    diary = Diary()
    with Alternation(diary.both, seed) as alternation:
        assert diary.done.wait(LONG_S)
    assert alternation.failure() == ""
    return diary


@pytest.mark.usefixtures("_short_slices")
def test_only_one_side_runs_at_a_time_until_the_end() -> None:
    diary = alternated(1)

    assert set(diary.together) == {1}
    assert diary.running == {"ours", "theirs"}


@pytest.mark.usefixtures("_short_slices")
def test_both_sides_get_the_same_load_time() -> None:
    slices = alternated(1).slices

    # A slice and the half of one by which a clock goes on.
    assert max(abs(ours - theirs) for ours, theirs in slices) <= 1.25 + 0.5
    assert min(slices[-1]) > TURNS / 4


@pytest.mark.usefixtures("_short_slices")
def test_slices_differ_in_length_so_that_requests_do_not_always_fit() -> None:
    slices = alternated(1).slices

    lengths = [after - before for (_, before), (_, after) in pairwise(slices) if after > before]
    assert {0.5, 1.0, 1.5} <= set(lengths)


@pytest.mark.usefixtures("_short_slices")
def test_the_order_is_random_and_comes_from_the_seed() -> None:
    first = alternated(1).slices

    assert first == alternated(1).slices
    assert first != alternated(2).slices
    # Either one may be the first of a pair.
    assert {math.copysign(1, ours - theirs) for ours, theirs in first} == {-1, 1}


def test_a_side_that_stands_has_no_time() -> None:
    side = Side(begun(), Fake(), Fake())
    side.freeze()
    before_s = side.clock.now_s()
    assert side.clock.stands
    assert side.clock.now_s() == before_s

    side.thaw()
    side.thaw()

    assert not side.clock.stands
    assert side.servers.calls == ["freeze", "thaw", "thaw"]


def test_nothing_stops_before_both_loads_have_begun() -> None:
    late = LoadClock()
    servers = [Fake(), Fake()]
    first, second = Side(begun(), servers[0], Fake()), Side(late, servers[1], Fake())
    with Alternation((first, second)):
        calls = [list(each.calls) for each in servers]

    # Freezing was tried, to see how long it takes.
    assert calls == [["freeze", "thaw"], ["freeze", "thaw"]]
    assert not first.clock.stands
    assert not late.stands


@pytest.mark.usefixtures("_short_slices")
def test_servers_that_cannot_be_frozen_are_reported_and_go_on() -> None:
    failing = Fake(fails_from=20)
    ours, theirs = Side(begun(), failing, Fake()), Side(begun(), Fake(), Fake())
    with Alternation((ours, theirs)) as alternation:
        deadline = time.monotonic() + LONG_S
        while not alternation.failure() and time.monotonic() < deadline:
            time.sleep(SLICE_S)
        said = alternation.failure()
        alternation.end()

    assert said == "load cannot alternate between the two servers: the engine no longer answers: gone"
    assert not ours.clock.stands
    assert not theirs.clock.stands


@pytest.mark.usefixtures("_short_slices")
def test_the_end_lets_both_go_on_and_may_come_twice() -> None:
    diary = Diary()
    with Alternation(diary.both) as alternation:
        assert diary.done.wait(LONG_S)
        alternation.end()
        alternation.end()

        assert diary.running == {"ours", "theirs"}
        assert not any(side.clock.stands for side in diary.sides)


def test_slices_are_longer_where_freezing_takes_time() -> None:
    slow = Fake(takes_s=0.01)
    with Alternation((Side(begun(), slow, Fake()), Side(begun(), Fake(), Fake()))) as alternation:
        assert 0.2 <= alternation.slice_s <= 2.0


def test_slices_of_servers_that_run_on_are_many_requests_long() -> None:
    for warm_s, slice_s in ((0.001, 1.0), (0.1, 4.0)):
        running = [Side(begun(), RunningOn(warm_s), Fake()) for _ in range(2)]
        with Alternation((running[0], running[1])) as alternation:
            assert alternation.slice_s == pytest.approx(slice_s)


def test_slices_of_servers_that_wait_are_many_waits_long() -> None:
    with Alternation(
        (Side(begun(), Fake(), Fake(), waits_s=0.02), Side(begun(), Fake(), Fake()))
    ) as alternation:
        assert alternation.slice_s == pytest.approx(0.4)
