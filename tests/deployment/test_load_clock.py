"""The clock of a run of load, stopped and read by different processes."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.deployment.load_clock import LoadClock

if TYPE_CHECKING:
    from pathlib import Path

# Time has to pass: a clock that stands shows it by not moving.
PAUSE_S = 0.03
# That of a moment given as a float.
ROUNDING_S = 1e-6
_OTHER = (
    "from pathlib import Path; from pytest_tfserving.deployment.load_clock import LoadClock; import sys; "
)


@pytest.fixture
def clock(tmp_path: Path) -> LoadClock:
    made = LoadClock(tmp_path / "clock")
    made.begin(time.time())
    return made


def in_another_process(clock: LoadClock, call: str) -> str:
    code = f"{_OTHER}clock = LoadClock(Path(sys.argv[1])); {call}"
    return subprocess.run(
        [sys.executable, "-c", code, str(clock.path)], capture_output=True, text=True, check=True
    ).stdout


def test_it_stands_while_it_is_stopped_and_then_goes_on_from_there(clock: LoadClock) -> None:
    clock.stop()
    shown_s = clock.now_s()
    time.sleep(PAUSE_S)
    stood_at_s = clock.now_s()
    before = time.perf_counter()
    clock.go_on()
    went_on_s = clock.now_s()
    took_s = time.perf_counter() - before

    assert stood_at_s == shown_s
    assert shown_s <= went_on_s <= shown_s + took_s
    assert not clock.stands


def test_all_processes_of_a_file_have_one_clock(clock: LoadClock) -> None:
    clock.stop()
    shown_s = clock.now_s()

    assert float(in_another_process(clock, "print(repr(clock.now_s()))")) == shown_s
    in_another_process(clock, "clock.go_on()")
    assert not clock.stands
    assert clock.now_s() > shown_s


def test_what_it_showed_at_a_past_moment_is_known(clock: LoadClock) -> None:
    seen: list[tuple[float, float, float]] = []
    for _ in range(3):
        for change in (clock.stop, clock.go_on):
            seen.append((time.perf_counter(), clock.now_s(), time.perf_counter()))
            change()
            time.sleep(PAUSE_S / 3)

    for before, shown_s, after in seen:
        assert clock.shown_at_s(before) - ROUNDING_S <= shown_s <= clock.shown_at_s(after) + ROUNDING_S


def test_it_is_negative_before_load_begins() -> None:
    clock = LoadClock()
    clock.begin(time.time() + 10)

    assert -10 <= clock.now_s() < 0
    assert clock.reading_s() - clock.origin_s <= clock.now_s()


def test_it_knows_what_it_showed_some_time_ago(clock: LoadClock) -> None:
    before_s = clock.now_s()
    shown_s = clock.shown_before_s(PAUSE_S)

    assert before_s - PAUSE_S <= shown_s <= clock.now_s() - PAUSE_S


def test_what_it_showed_some_time_ago_leaves_out_its_stops(clock: LoadClock) -> None:
    before, before_s = time.perf_counter(), clock.now_s()
    clock.stop()
    time.sleep(PAUSE_S)
    clock.go_on()

    shown_s = clock.shown_before_s(time.perf_counter() - before)

    assert shown_s == pytest.approx(before_s, abs=PAUSE_S / 2)
