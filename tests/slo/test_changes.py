"""The changes against a baseline server that reports show, of simulated runs of two servers."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from _noise import Noise, Run, Server, duets

from pytest_tfserving.slo.change_tests import PercentileChangeTest, ServerChange
from pytest_tfserving.slo.changes import changes_of
from pytest_tfserving.slo.language import Decision, parse_slos
from pytest_tfserving.slo.monitor import SloMonitor
from simulated_runs import NEEDED, NOISE_MEMORY_S, window

if TYPE_CHECKING:
    from pytest_tfserving.slo.sequential_tests import ObservedWindow

LENGTH_S = 40.0
SERVER = Server(users=2, rps=100.0)
WANDERING = Noise(tau_s=5.0, share=0.8, sigma=0.25)
LATENCIES = ("p50_ms", "p95_ms", "p99_ms", "mean_ms")


@lru_cache
def made(slower: float, count: int = 20) -> list[tuple[Run, Run]]:
    return duets(np.random.default_rng(2), count, LENGTH_S, SERVER, WANDERING, slower)


def beside(ours: Run, theirs: Run) -> ObservedWindow:
    at_s = np.arange(0, LENGTH_S + 0.25, 0.5)
    both = [
        window(run, LENGTH_S, (at_s, np.interp(at_s, run.ended_s, np.cumsum(run.latencies_ms) / 2e3)))
        for run in (ours, theirs)
    ]
    return replace(both[0], against=both[1])


def changes(both: ObservedWindow) -> dict[str, ServerChange]:
    return changes_of(both, NOISE_MEMORY_S, NEEDED)


@lru_cache
def all_changes(slower: float) -> list[dict[str, ServerChange]]:
    return [changes(beside(*duet)) for duet in made(slower)]


def covers(change: ServerChange, value: float) -> bool:
    return change.low <= value <= change.high


def test_intervals_have_the_true_change_in_them() -> None:
    """19 of 20 should: fewer than 16 have a probability of 0.3 %."""
    found = all_changes(1.05)

    for key in LATENCIES:
        assert sum(covers(each[key], 0.05) for each in found) >= 16, key
    assert sum(covers(each["rps"], 1 / 1.05 - 1) for each in found) >= 16
    assert sum(covers(each["cpu_per_request_ms"], 0.05) for each in found) >= 16


def two_modes(seed: int) -> Run:
    """Requests that take 125 or 135 us, half of them each: the median lies where hardly any request does."""
    random = np.random.default_rng(seed)
    count = 4000
    medians_ms = np.where(random.random(count) < 0.5, 0.125, 0.135)
    latencies_ms = medians_ms * random.lognormal(0, 0.01, count)
    ended_s = np.sort(random.uniform(0, 20, count))
    return Run(ended_s, latencies_ms, np.zeros(count, bool), np.empty((4, 0)))


def test_an_interval_of_p50_is_wide_where_p50_is_uncertain() -> None:
    found = []
    for seed in range(30):
        ours, theirs = (window(two_modes(each), 20.0) for each in (2 * seed, 2 * seed + 1))
        found.append(
            PercentileChangeTest(50, 1.0, NOISE_MEMORY_S).change(replace(ours, against=theirs), NEEDED)
        )

    known = [each for each in found if each]
    assert len(known) == len(found)
    assert sum(covers(each, 0.0) for each in known) >= 25
    assert np.std([each.value for each in known]) > 0.01


def test_the_wander_of_both_servers_is_not_in_the_intervals() -> None:
    """The machine's speed wanders by 22 %."""
    found = all_changes(1.0)[:5]

    for key in ("p50_ms", "p95_ms", "mean_ms", "rps"):
        assert all(each[key].high - each[key].low < 0.12 for each in found), key


def test_no_server_has_an_advantage() -> None:
    found = all_changes(1.0)

    for key in (*LATENCIES, "rps"):
        values = np.array([each[key].value for each in found])
        assert abs(values.mean()) < 4 * values.std(ddof=1) / math.sqrt(len(values)), key


@pytest.mark.parametrize("key", [*LATENCIES, "rps", "cpu_per_request_ms"])
def test_a_change_lies_in_its_interval_and_more_of_it_can_be_seen(key: str) -> None:
    for found in all_changes(1.05)[:5]:
        change = found[key]

        assert change.low < change.value < change.high
        assert (change.high - change.low) / 2 < change.resolution < 4 * (change.high - change.low)


def test_without_failures_their_change_is_0_within_what_so_few_requests_say() -> None:
    """Eight of some 4 000 requests count as one; 3.7 failures of so many groups would be too many."""
    ours, theirs = made(1.0)[0]

    change = changes(beside(ours, theirs))["error_rate"]

    assert change.value == 0.0
    assert change.high == pytest.approx(3.7 / (len(ours.failed) / 8), rel=0.05)
    assert change.low == pytest.approx(-3.7 / (len(theirs.failed) / 8), rel=0.05)
    assert change.resolution > change.high


def test_failures_of_one_server_are_a_change() -> None:
    ours, theirs = made(1.0)[0]
    failing = replace(ours, failed=np.arange(len(ours.failed)) % 20 == 7)

    worse = changes(beside(failing, theirs))["error_rate"]
    better = changes(beside(theirs, failing))["error_rate"]

    assert worse.value == pytest.approx(0.05, abs=1e-3)
    assert worse.low > 0.03
    assert better.value == pytest.approx(-0.05, abs=1e-3)
    assert better.high < -0.03


def test_a_server_that_only_fails_has_a_change_of_failures_alone() -> None:
    ours, theirs = made(1.0)[0]
    failing = replace(ours, failed=np.ones(len(ours.failed), bool))

    assert changes(beside(failing, theirs))["error_rate"].value == 1.0
    assert list(changes(beside(failing, theirs))) == ["error_rate"]


def test_without_cpu_readings_there_is_no_change_of_cpu() -> None:
    both = replace(beside(*made(1.0)[0]), cpu_at_s=np.empty(0), cpu_s=np.empty(0))

    found = changes(both)

    assert "cpu_per_request_ms" not in found
    assert "rps" in found


def test_without_requests_or_another_server_nothing_is_known() -> None:
    ours, _ = made(1.0)[0]
    none = Run(np.empty(0), np.empty(0), np.empty(0, bool), np.empty((4, 0)))
    both = replace(window(ours, LENGTH_S), against=window(none, LENGTH_S))

    assert changes(both) == {}
    assert changes(window(ours, LENGTH_S)) == {}


def test_a_percentile_that_an_slo_limits_has_a_change_too() -> None:
    both = beside(*made(1.1)[0])

    found = changes_of(both, NOISE_MEMORY_S, NEEDED, ["p90", "p95"])

    assert covers(found["p90_ms"], 0.1)
    assert list(found).count("p95_ms") == 1


def watched(slo: str = "", *, holds: bool = True) -> dict[str, ServerChange]:
    """Return the changes of a run, in which an SLO may have been decided."""
    ours, theirs = made(1.1)[0]
    baseline = SloMonitor((), 0.01, has_baseline=False, keeps_requests=True)
    candidate = SloMonitor(parse_slos([slo] * bool(slo)), 0.01, has_baseline=False, against=baseline)
    for monitor, run in ((baseline, theirs), (candidate, ours)):
        monitor.settle(0.0)
        monitor.add(run.ended_s, run.latencies_ms, run.failed)
        monitor.look(LENGTH_S, last=True)
    if slo:
        candidate.decisions = {slo: Decision(holds, 0.01, LENGTH_S, LENGTH_S, 10.0)}
    return candidate.changes(LENGTH_S)


@pytest.mark.parametrize(
    ("key", "text", "holds", "end"),
    [
        ("mean_ms", "mean<={:+.3f}%", True, "high"),
        ("mean_ms", "mean<={:+.3f}%", False, "low"),
        ("rps", "rps>={:+.3f}%", True, "low"),
        ("rps", "rps>={:+.3f}%", False, "high"),
    ],
)
def test_an_interval_ends_where_a_verdict_proved_that_the_change_does_not_lie(
    key: str, text: str, end: str, *, holds: bool
) -> None:
    plain = watched()[key]
    limit = plain.value + (0.001 if end == "high" else -0.001)
    slo = text.format(100 * limit)

    found = watched(slo, holds=holds)[key]

    assert getattr(found, end) == pytest.approx(limit, abs=1e-5)
    assert found == replace(plain, **{end: getattr(found, end)})


def test_what_was_proved_narrows_an_interval_and_never_leaves_the_change_out() -> None:
    wide = ServerChange(0.10, -0.87, 44.0, 0.03)

    assert wide.proved(0.05, below=False) == replace(wide, low=0.05)
    assert wide.proved(0.15, below=True) == replace(wide, high=0.15)
    assert wide.proved(0.05, below=True) == wide.proved(0.15, below=False) == wide
    assert wide.proved(-0.9, below=False) == wide
