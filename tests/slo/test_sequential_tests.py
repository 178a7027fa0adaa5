"""The test of each metric, fed with simulated runs: how soon it is right, and how seldom it is wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from _noise import Noise, Run, Server, runs

from pytest_tfserving.slo.language import Slo
from pytest_tfserving.slo.monitor import SHORTEST_WINDOW_S
from pytest_tfserving.slo.sequential_tests import Evidence, ObservedWindow, PulseSeries, SeriesSet
from pytest_tfserving.statistics.pulses import between_pulses
from simulated_runs import (
    NEEDED,
    NOISE_MEMORY_S,
    Found,
    all_decided,
    decided,
    looks,
    new_test,
    slo_text,
    truth,
    window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CLOSED, OPEN = Server(users=2, rps=100.0), Server(users=0, rps=100.0)
INDEPENDENT = Noise(tau_s=0.0, share=0.5, sigma=0.25)
SLOW = Noise(tau_s=5.0, share=0.5, sigma=0.25)
# What wanders is the machine: hardly anything is a request's own.
SHARED = Noise(tau_s=5.0, share=0.95, sigma=0.25)
HOPELESS_S = 6.0
# A limit that is 15 % away is known in so many seconds, where requests are independent.
CLOSE_S = 30.0
LATENCIES = ["p95", "p99", "mean"]


@lru_cache
def made(server: Server = CLOSED, noise: Noise = INDEPENDENT, count: int = 20, seed: int = 1) -> list[Run]:
    return runs(np.random.default_rng(seed), count, 60.0, server, noise)


def limit(metric: str, factor: float, server: Server = CLOSED, noise: Noise = INDEPENDENT) -> str:
    """An SLO whose limit is so many times as bad as what the server does."""
    known = truth(metric, server, noise)
    return slo_text(metric, known / factor if metric == "rps" else known * factor)


@lru_cache
def efficiency(server: Server, noise: Noise) -> float:
    """What share of the baseline's calls a server makes in the long run."""
    pulses = [run.pulses for run in made(server, noise, 300, seed=9)]
    baseline = np.mean([between_pulses(calls / busy_s).mean() for _, calls, busy_s, _ in pulses])
    return truth("rps", server, noise) / float(baseline)


def failing(run: Run, share: float, seed: int = 1) -> Run:
    return replace(run, failed=np.random.default_rng(seed).random(len(run.failed)) < share)


# Far from the limit


@pytest.mark.parametrize("server", [CLOSED, OPEN], ids=["closed", "open"])
@pytest.mark.parametrize(("metric", "at_most_s"), [("p95", 6), ("p99", 15), ("mean", 15), ("rps", 12)])
def test_a_limit_far_away_is_met_within_seconds(metric: str, at_most_s: float, server: Server) -> None:
    """A p99 takes five times the requests that a p95 takes, whatever they are."""
    passed, failed, median_s = all_decided(limit(metric, 4, server), made(server))

    assert (passed, failed) == (20, 0)
    assert median_s <= at_most_s


@pytest.mark.parametrize("server", [CLOSED, OPEN], ids=["closed", "open"])
@pytest.mark.parametrize("metric", [*LATENCIES, "rps"])
def test_what_is_hopeless_is_found_out_at_once(metric: str, server: Server) -> None:
    for noise in (INDEPENDENT, SLOW):
        text = limit(metric, 1 / 4, server, noise)
        passed, failed, median_s = all_decided(text, made(server, noise))

        assert (passed, failed) == (0, 20)
        assert median_s <= HOPELESS_S


@pytest.mark.parametrize(("factor", "holds"), [(10, True), (1 / 10, False)])
def test_a_rate_ten_times_away_is_known_in_the_shortest_window(factor: float, holds: bool) -> None:  # noqa: FBT001 - a table
    for noise in (INDEPENDENT, SLOW):
        for run in made(CLOSED, noise):
            assert decided(limit("rps", factor, CLOSED, noise), run) == Found(holds, SHORTEST_WINDOW_S)


def test_a_wandering_speed_takes_longer() -> None:
    calm = all_decided(limit("p95", 2), made())
    wandering = all_decided(limit("p95", 2, CLOSED, SLOW), made(CLOSED, SLOW))

    assert calm[0] == 20
    assert wandering[1] == 0
    assert wandering[2] >= 2 * calm[2]


# Close to it


@pytest.mark.parametrize("metric", [*LATENCIES, "rps"])
def test_independent_requests_tell_15_per_cent_within_seconds(metric: str) -> None:
    few = made(count=8)
    better, worse = (all_decided(limit(metric, factor), few) for factor in (1.15, 1 / 1.15))

    assert better[0] == worse[1] == 8
    assert better[1] == worse[0] == 0
    assert max(better[2], worse[2]) <= CLOSE_S


@pytest.mark.parametrize(
    ("metric", "server"),
    [
        ("p95", OPEN),
        ("mean", OPEN),
        ("rps", OPEN),
        *((metric, CLOSED) for metric in (*LATENCIES, "rps", "errors")),
    ],
)
def test_on_the_limit_it_is_hardly_ever_wrong(metric: str, server: Server) -> None:
    """One of 100 runs may be, each way; two of 20 would be by chance once in thirty times."""
    passed, failed, _ = all_decided(limit(metric, 1, server, SLOW), made(server, SLOW, seed=2))

    assert passed + failed <= 1


@pytest.mark.parametrize("noise", [SLOW, SHARED])
def test_efficiency_on_the_limit_is_hardly_ever_wrong(noise: Noise) -> None:
    text = slo_text("efficiency", efficiency(CLOSED, noise))
    passed, failed, _ = all_decided(text, made(CLOSED, noise, seed=2))

    assert passed + failed <= 1


@pytest.mark.parametrize("metric", LATENCIES)
def test_a_server_15_per_cent_too_slow_does_not_pass(metric: str) -> None:
    passed, _, _ = all_decided(limit(metric, 1 / 1.15, CLOSED, SLOW), made(CLOSED, SLOW, seed=3))

    assert passed == 0


# What is rarer than a level's wandering


def stalling(seed: int, share: float) -> Run:
    """Two users, who both wait for a second in so many of their requests, else for 40 ms."""
    random = np.random.default_rng(seed)
    taken_s = np.where(random.random(2000) < share, 1.0, 0.04 * np.exp(0.1 * random.standard_normal(2000)))
    ended_s = np.repeat(np.cumsum(taken_s), 2)
    return Run(ended_s, np.repeat(1e3 * taken_s, 2), np.zeros(len(ended_s), bool), np.empty((4, 0)))


def test_a_server_that_stalls_now_and_then_does_not_pass() -> None:
    """The level is far below the limit, as it is where stalls are rare: only counting tells them apart."""
    often, rarely = (
        all_decided("p95<500ms", [stalling(seed, share) for seed in range(30)]) for share in (0.06, 0.002)
    )

    assert often[0] <= 1
    assert rarely[0] >= 25


def test_what_is_in_flight_together_counts_as_one() -> None:
    """Ten times the users at the same rate: ten times as many requests share a stall."""
    few, many = (all_decided(f"p95<{users}s", made(Server(users=users, rps=100.0))) for users in (2, 20))

    assert few[0] == many[0] == 20
    assert many[2] >= 5 * few[2]


# Failures


@pytest.mark.parametrize(
    ("share", "percent", "holds"), [(0.0, 5.0, True), (0.2, 5.0, False), (0.2, 1.0, False), (0.2, 60.0, True)]
)
def test_failures_far_from_their_limit_are_decided(share: float, percent: float, holds: bool) -> None:  # noqa: FBT001 - a table
    for run in made(count=5):
        found = decided(f"errors<{percent}%", failing(run, share))

        assert found.holds is holds
        assert found.after_s <= 15


def test_failures_in_a_burst_are_little_evidence() -> None:
    (run,) = made(count=1)
    burst = np.zeros(len(run.failed), bool)
    burst[500:530] = True

    assert decided("errors<0.5%", replace(run, failed=burst)).holds is None
    assert decided("errors<0.5%", failing(run, 0.05)).holds is False


@pytest.mark.parametrize("text", ["errors<=0%", "max<1s", "max<50x"])
def test_what_must_never_happen_is_over_when_it_does(text: str) -> None:
    (run,) = made(count=1)
    late = int(np.searchsorted(run.ended_s, 20.0))
    failed, latencies_ms = run.failed & False, run.latencies_ms.copy()
    never = replace(run, failed=failed, latencies_ms=latencies_ms.copy())
    failed = failed.copy()
    failed[late], latencies_ms[late + 1] = True, 1500.0

    assert decided(text, never).holds is None
    once = decided(text, replace(run, failed=failed, latencies_ms=latencies_ms))
    assert once.holds is False
    assert 20 < once.after_s < 22


@pytest.mark.parametrize("text", ["rps>=0", "p95<0ms", "errors<100%", "efficiency>=0%"])
def test_a_limit_that_all_meet_or_miss_has_no_test(text: str) -> None:
    assert Slo.parse(text).sequential_test(NOISE_MEMORY_S, SeriesSet(NOISE_MEMORY_S)) is None


# Beside the baseline


def test_noise_that_server_and_baseline_share_does_not_matter() -> None:
    """The rate wanders by a quarter over seconds, and so does the baseline's: their ratio does not."""
    wandering = made(CLOSED, SHARED)
    known = efficiency(CLOSED, SHARED)

    alone = all_decided(limit("rps", 1.15, CLOSED, SHARED), wandering)
    met = all_decided(slo_text("efficiency", known / 1.15), wandering)
    missed = all_decided(slo_text("efficiency", known * 1.15), wandering)

    assert sum(alone[:2]) <= 2
    assert met[0] >= 13
    assert missed[1] >= 13
    assert met[1] == missed[0] == 0


def test_a_percentile_in_multiples_of_the_baseline_does_not_see_shared_noise() -> None:
    """The baseline's median call is 20 ms long, give or take what the level does."""
    wandering = made(CLOSED, SHARED)
    limit_ms = 1.3 * truth("p95", CLOSED, SHARED)

    alone = all_decided(f"p95<{limit_ms:.6f}ms", wandering)
    beside = all_decided(f"p95<{limit_ms / 20 / math.exp(-(SHARED.sigma**2) / 2):.6f}x", wandering)

    assert alone[0] <= 2
    assert beside[0] >= 18
    assert beside[2] <= CLOSE_S


def test_relative_limits_rest_on_what_has_a_pulse_beside_it() -> None:
    seen = ObservedWindow(
        latencies_ms=np.array([10.0, 20.0, 30.0]),
        failed=np.zeros(3, bool),
        ended_s=np.array([1.0, 2.0, 3.0]),
        length_s=3.5,
        baseline=PulseSeries(np.array([0.5, 2.5]), np.array([50.0, 50.0]), np.array([20.0, 20.0])),
    )

    assert seen.beside_baseline().length_s == 2.5
    assert seen.beside_baseline().ended_s.tolist() == [1.0, 2.0]


# CPU


def cpu(run: Run, ms: float, seed: int) -> tuple[Floats, Floats]:
    """CPU seconds of the replicas so far, every half second: about so many ms a success."""
    at_s = np.arange(0.0, 60.0, 0.5)
    successes = np.diff(np.searchsorted(run.ended_s[~run.failed], at_s))
    noise = np.exp(0.05 * np.random.default_rng(seed).standard_normal(len(successes)))
    return at_s, np.append(0.0, np.cumsum(successes * noise * ms / 1e3))


def of_cpu(text: str, found: Sequence[Run]) -> list[bool | None]:
    return [decided(text, run, cpu=cpu(run, 50.0, seed)).holds for seed, run in enumerate(found)]


def test_cpu_a_request_does_not_see_a_wandering_speed() -> None:
    wandering = made(CLOSED, SLOW)

    better, worse, on_limit = (
        of_cpu(f"cpu_per_request<{ms:.3f}ms", wandering)
        for ms in (50 * 1.15, 50 / 1.15, 50 * math.exp(0.00125))
    )

    assert better.count(True) >= 14
    assert worse.count(False) >= 10
    assert better.count(False) == worse.count(True) == 0
    assert on_limit.count(None) >= 19


def test_without_readings_of_cpu_nothing_is_said() -> None:
    (run,) = made(count=1)

    assert decided("cpu_per_request<1ms", run).holds is None


# Several tests of one window


def test_tests_that_share_series_say_what_they_say_alone() -> None:
    (run,) = made(OPEN, SLOW, count=1)
    texts = ["p50<20ms", "p95<40ms", "p99<40ms", "mean<25ms", "rps>=90", "p95<2x", "mean<1x"]
    shared = SeriesSet(NOISE_MEMORY_S)
    alone, together = ([new_test(text, each) for text in texts] for each in (None, shared))

    for until_s in looks(60.0):
        seen = window(run, until_s).beside_baseline()
        assert [test.look(seen) for test in together] == [test.look(seen) for test in alone]
        assert [test.needed_factor(NEEDED) for test in together] == [
            test.needed_factor(NEEDED) for test in alone
        ]


@pytest.mark.parametrize(
    "text",
    ["p95<1s", "mean<1s", "mean<2x", "rps>=1", "efficiency>=1%", "errors<5%", "max<1s", "cpu_per_request<1s"],
)
def test_a_window_without_requests_says_nothing(text: str) -> None:
    empty = ObservedWindow(np.empty(0), np.empty(0, bool), np.empty(0), 10.0)
    test = new_test(text)

    assert test.look(empty) == Evidence()
    assert test.needed_factor(NEEDED) == math.inf
    test.noise(NEEDED)
