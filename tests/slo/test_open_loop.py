"""Rates in an open loop: what was answered of what was due, by simulated servers with one queue."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.measurement.prepared_load import due_requests
from pytest_tfserving.slo.language import Slo
from pytest_tfserving.slo.monitor import SHORTEST_WINDOW_S, SloMonitor
from pytest_tfserving.slo.open_loop import DueRequests

POISSON = LoadProfile("p", run_time_s=60, rate=50)
CONSTANT = LoadProfile("p", run_time_s=60, rate=50, arrivals="constant")
GAMMA = LoadProfile("p", run_time_s=60, rate=50, arrivals="gamma", cv=3)
MMPP = LoadProfile("p", run_time_s=60, rate=50, arrivals="mmpp", burst_factor=4, burst_s=0.4, calm_s=1.6)


def answered(
    profile: LoadProfile, service_s: float, failing: float = 0.0, *, varying: bool = False
) -> list[np.ndarray]:
    """Ends, latencies and failures of a server that takes ``service_s`` for a request, one after the other.

    The times for requests are exponential if they are ``varying``.
    """
    random = np.random.default_rng(profile.seed)
    due_s = np.array(list(profile.due_times()))
    each_s = random.exponential(service_s, len(due_s)) if varying else np.full(len(due_s), service_s)
    served_s = np.cumsum(each_s)
    ended_s = served_s + np.maximum.accumulate(due_s - served_s + each_s)
    failed = random.random(len(due_s)) < failing
    return [ended_s, (ended_s - due_s) * 1e3, failed]


def watched(
    profile: LoadProfile, made: list[np.ndarray], *texts: str, knows: bool = True
) -> tuple[SloMonitor, float]:
    """Feed the requests as they would come; return the monitor, and when the run is over."""
    monitor = SloMonitor(
        [Slo.parse(text) for text in texts],
        0.01,
        has_baseline=False,
        due=due_requests(profile) if knows else None,
    )
    monitor.settle(0.0)
    fed = 0
    for now_s in np.arange(0.5, profile.run_time_s + 0.5, 0.5).tolist():
        upto = int(np.searchsorted(made[0], now_s))
        monitor.add(*(part[fed:upto] for part in made))
        fed = upto
        monitor.look(now_s, last=now_s >= profile.run_time_s)
        if monitor.is_over():
            return monitor, float(now_s)
    return monitor, math.inf


@pytest.mark.parametrize("profile", [POISSON, CONSTANT], ids=["poisson", "constant"])
def test_a_rate_near_that_of_the_schedule_is_proved_in_half_a_minute(profile: LoadProfile) -> None:
    """All requests are answered in 10 ms; without the schedule a Poisson process takes more than a minute."""
    made = answered(profile, 0.01)
    monitor, over_s = watched(profile, made, "rps>=45")
    unaware, _ = watched(profile, made, "rps>=45", knows=False)

    assert monitor.decisions["rps>=45"].holds
    assert SHORTEST_WINDOW_S <= over_s <= 30
    assert unaware.decisions.keys() == ({"rps>=45"} if profile is CONSTANT else set())


def test_a_server_that_does_not_keep_up_misses_the_rate() -> None:
    monitor, over_s = watched(POISSON, answered(POISSON, 1 / 40), "rps>=45")

    assert not monitor.decisions["rps>=45"].holds
    assert over_s <= 30


def test_a_server_that_does_not_keep_up_has_its_own_rate() -> None:
    monitor, over_s = watched(POISSON, answered(POISSON, 1 / 40), "rps>=36")

    assert monitor.decisions["rps>=36"].holds
    assert over_s <= 40


def test_failures_are_no_answers() -> None:
    monitor, _ = watched(POISSON, answered(POISSON, 0.01, failing=0.2), "rps>=45", "rps>=30")

    assert not monitor.decisions["rps>=45"].holds
    assert monitor.decisions["rps>=30"].holds


def test_a_limit_above_the_schedules_rate_is_hopeless_in_half_a_minute() -> None:
    monitor, over_s = watched(POISSON, answered(POISSON, 0.01), "rps>=60")

    assert not monitor.decisions["rps>=60"].holds
    assert over_s <= 30


def test_the_rate_so_far_has_to_agree() -> None:
    """The schedule of this seed has 43 requests a second due in its first 10 s, and 50 in the long run."""
    sparse = min(
        (POISSON.with_overrides({"seed": seed}) for seed in range(200)),
        key=lambda profile: sum(1 for due_s in profile.due_times() if due_s < 10),
    )
    monitor, over_s = watched(sparse, answered(sparse, 0.01), "rps>=45")

    ended_s = answered(sparse, 0.01)[0]
    assert 10 < over_s < math.inf
    assert np.count_nonzero(ended_s < over_s - 0.6) >= 45 * (over_s - 0.6)
    assert monitor.decisions["rps>=45"].holds


@pytest.mark.parametrize(("profile", "least_s"), [(GAMMA, 18.0), (MMPP, 32.0)], ids=["gamma", "mmpp"])
def test_nothing_is_decided_before_bursts_have_shown(profile: LoadProfile, least_s: float) -> None:
    """A hundred times the 0.18 s for which gamma's gaps are remembered, and the 0.32 s of the states."""
    monitor, over_s = watched(profile, answered(profile, 0.001), "p95<5s", "rps>=30")

    assert all(decision.holds for decision in monitor.decisions.values())
    assert least_s <= over_s <= least_s + 5


def test_a_first_burst_is_no_warm_up() -> None:
    """Latencies in the first two seconds are five times those of the rest, as in a burst."""
    ended_s, _, failed = answered(MMPP, 0.001)
    slow_ms = np.where(ended_s < 2, 50.0, 10.0) * (1 + 0.01 * np.sin(ended_s))
    bursty, _ = watched(MMPP, [ended_s, slow_ms, failed], "p95<5s")
    steady, _ = watched(POISSON, [ended_s, slow_ms, failed], "p95<5s")

    assert bursty.start_s == 0
    assert steady.start_s == pytest.approx(2, abs=1)


def test_arrivals_that_are_remembered_for_long_make_a_long_noise_memory() -> None:
    slow = LoadProfile("p", run_time_s=300, rate=50, arrivals="mmpp", burst_factor=4, burst_s=60, calm_s=60)

    assert SloMonitor([], 0.01, has_baseline=False, due=due_requests(slow)).noise_memory_s == 30
    assert SloMonitor([], 0.01, has_baseline=False, due=due_requests(POISSON)).noise_memory_s == 10


def test_due_requests_are_taken_as_they_come() -> None:
    taken = []
    due = DueRequests((taken.append(at) or at / 10 for at in range(100_000)), 10.0)  # type: ignore[func-returns-value]  # noted as it is taken

    np.testing.assert_allclose(due.between(2.0, 3.0), np.arange(20, 30) / 10)
    assert len(taken) < 2000
    np.testing.assert_allclose(due.between(0.0, 0.35), [0, 0.1, 0.2, 0.3])
    assert len(due.between(9_990, 20_000)) == 100


@pytest.mark.parametrize("profile", [POISSON, GAMMA], ids=["poisson", "gamma"])
def test_a_rate_just_above_the_servers_own_is_not_proved(profile: LoadProfile) -> None:
    """Two per cent above it, where the schedule asks for more: neither chance must pass it."""
    seeds = [profile.with_overrides({"seed": seed, "run_time_s": 30}) for seed in range(30)]
    decided = [
        watched(each, answered(each, 1 / 44.1, varying=True), "rps>=45")[0].decisions.get("rps>=45")
        for each in seeds
    ]

    assert sum(decision.holds for decision in decided if decision) <= 1


@pytest.mark.parametrize("metric", ["mean", "p99"])
def test_what_bursts_take_over_the_limit_is_not_passed(metric: str) -> None:
    """A burst has more requests than its time is worth, and takes them over the limit together."""
    bursts = LoadProfile("p", run_time_s=120, rate=50, arrivals="mmpp", burst_factor=5, burst_s=1, calm_s=4)
    latencies_ms = answered(bursts.with_overrides({"run_time_s": 4000}), 0.006)[1]
    truth_ms = latencies_ms.mean() if metric == "mean" else np.percentile(latencies_ms, 99)
    text = f"{metric}<{truth_ms:.4g}ms"
    seeds = [bursts.with_overrides({"seed": seed}) for seed in range(16)]
    decided = [watched(each, answered(each, 0.006), text)[0].decisions.get(text) for each in seeds]

    assert sum(decision.holds for decision in decided if decision) <= 1
