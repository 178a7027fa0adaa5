"""The test of each change against a baseline server, fed with simulated runs of two servers."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from _noise import Noise, Run, Server, duets

from pytest_tfserving.slo.language import Slo
from pytest_tfserving.slo.noise import NoiseKind
from simulated_runs import NEEDED, Found, looks, new_test, window

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_tfserving.slo.sequential_tests import ObservedWindow

    Floats = NDArray[np.float64]

USERS = 2
CLOSED = Server(users=USERS, rps=100.0)
INDEPENDENT = Noise(tau_s=0.0, share=0.5, sigma=0.1)
WANDERING = Noise(tau_s=5.0, share=0.8, sigma=0.25)
# All SLOs of a gate by default share alpha.
GATE = NEEDED + math.log(3)
HOPELESS_S = 6.0
ALL = ["p50", "p95", "p99", "mean", "rps", "cpu_per_request"]
FAST = ["p50", "p95", "mean", "rps", "cpu_per_request"]


@lru_cache
def made(
    slower: float, noise: Noise = INDEPENDENT, server: Server = CLOSED, count: int = 6, length_s: float = 40.0
) -> list[tuple[Run, Run]]:
    """Runs of two servers, of which the first one takes ``slower`` times as long a request."""
    return duets(np.random.default_rng(1), count, length_s, server, noise, slower)


def beside(duet: tuple[Run, Run], until_s: float) -> ObservedWindow:
    """The window of both servers, which compute all the time."""
    ours, theirs = (window(run, until_s, cpu(run, until_s)) for run in duet)
    return replace(ours, against=theirs)


def cpu(run: Run, until_s: float) -> tuple[Floats, Floats]:
    """When the CPU time of a server was read, and the time."""
    at_s = np.arange(0, until_s + 0.25, 0.5)
    used_s = np.cumsum(run.latencies_ms) / 1e3 / USERS
    return at_s, np.interp(at_s, np.r_[0.0, run.ended_s], np.r_[0.0, used_s])


def limited(metric: str, change: float) -> str:
    """An SLO that a server which takes ``1 + change`` times as long a request just meets."""
    if metric == "rps":
        return f"rps>={100 * (1 / (1 + change) - 1):+.9f}%"
    return f"{metric}<={100 * change:+.9f}%"


def decided(
    text: str,
    duet: tuple[Run, Run],
    length_s: float = 40.0,
    seen: Callable[[ObservedWindow], ObservedWindow] = lambda both: both,
) -> Found:
    """What the test of an SLO decides of a pair of runs, and when."""
    slo, test = Slo.parse(text), new_test(text)
    for until_s in looks(length_s):
        evidence = test.look(seen(beside(duet, until_s)))
        if evidence.most >= GATE:
            return Found((evidence.above if slo.higher_is_better else evidence.below) >= GATE, until_s)
    return Found(None, length_s)


def requests(ended_s: Floats, latencies_ms: Floats, failed: NDArray[np.bool_] | None = None) -> Run:
    """A run of these requests."""
    failed = np.zeros(len(ended_s), bool) if failed is None else failed
    return Run(ended_s, latencies_ms, failed, np.empty((4, 0)))


def failing(share: float, rps: float = 100.0, seed: int = 1, length_s: float = 40.0) -> Run:
    """A run with this share of failures, each independent of the others."""
    random = np.random.default_rng([seed, round(1e4 * share)])
    count = int(rps * length_s)
    return requests(np.linspace(0, length_s, count), np.full(count, 5.0), random.random(count) < share)


@lru_cache
def many(slower: float) -> Run:
    """A run of 5 000 requests a second, or fewer of a slower server."""
    random = np.random.default_rng(round(100 * slower))
    count = int(12 * 5000 / slower)
    return requests(np.sort(random.uniform(0, 12, count)), 0.4 * slower * random.lognormal(0, 0.1, count))


# --- right and wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [INDEPENDENT, WANDERING], ids=["independent", "wandering"])
@pytest.mark.parametrize("metric", ALL)
def test_a_change_that_is_the_limit_is_hardly_ever_decided(metric: str, noise: Noise) -> None:
    found = [decided(limited(metric, 0.05), duet) for duet in made(1.05, noise)]

    assert [each.holds for each in found] == [None] * len(found)


@pytest.mark.parametrize("noise", [INDEPENDENT, WANDERING], ids=["independent", "wandering"])
@pytest.mark.parametrize("metric", FAST)
def test_far_limits_are_decided_in_the_shortest_window(metric: str, noise: Noise) -> None:
    passed = [decided(limited(metric, 1.0), duet) for duet in made(1.0, noise)]
    failed = [decided(limited(metric, 0.05), duet) for duet in made(2.0, noise)]

    assert all(each.holds and each.after_s <= HOPELESS_S for each in passed)
    assert all(each.holds is False and each.after_s <= HOPELESS_S for each in failed)


def test_a_percentile_of_few_requests_takes_some_more() -> None:
    passed = [decided("p99<=+100%", duet) for duet in made(1.0)]

    assert all(each.holds and each.after_s <= 20 for each in passed)


@pytest.mark.parametrize("metric", FAST)
def test_a_close_limit_is_decided_however_the_machine_wanders(metric: str) -> None:
    """What slows both servers down costs no evidence."""
    passed = [decided(limited(metric, 0.2), duet) for duet in made(1.0, WANDERING)]

    assert all(each.holds for each in passed)
    assert np.median([each.after_s for each in passed]) <= 25


def test_a_smaller_change_than_5_percent_is_found_in_cpu_and_rates() -> None:
    for metric in ("rps", "mean", "cpu_per_request"):
        failed = [decided(limited(metric, 0.0), duet) for duet in made(1.05)]

        assert all(each.holds is False for each in failed), metric


def test_one_stall_of_one_server_is_no_proof() -> None:
    """It takes more than a twentieth of the requests so far over the limit, all together."""
    ours, theirs = made(1.0)[0]
    hit = (ours.ended_s > 8) & (ours.ended_s < 9)
    stalled = replace(ours, latencies_ms=np.where(hit, 500.0, ours.latencies_ms))

    assert decided("p95<=+5%", (stalled, theirs), 10.0).holds is None


# --- rates of requests ----------------------------------------------------------------------------


def test_few_requests_a_second_do_not_mislead() -> None:
    server = Server(users=USERS, rps=5.0)
    same, slower = (made(each, Noise(2.0, 0.5, 0.25), server) for each in (1.0, 2.0))

    for metric in ALL:
        assert False not in [decided(limited(metric, 0.05), duet).holds for duet in same]
    for metric in ("rps", "mean"):
        assert all(decided(limited(metric, 0.05), duet).holds is False for duet in slower)


@pytest.mark.parametrize("metric", ALL)
def test_a_small_change_of_many_requests_a_second_is_found(metric: str) -> None:
    duet = many(1.05), many(1.0)

    assert decided(limited(metric, 0.0), duet, 12.0).holds is False
    assert decided(limited(metric, 0.15), duet, 12.0).holds is True


def test_rates_that_arrivals_set_are_the_same() -> None:
    random = np.random.default_rng(3)
    due_s = np.arange(0.005, 40, 0.01)
    duet = tuple(
        requests(due_s + latencies_ms / 1e3, latencies_ms)
        for latencies_ms in (0.5 * random.lognormal(0, 0.1, len(due_s)) for _ in range(2))
    )
    ours, theirs = duet

    assert decided("rps>=-5%", (ours, theirs)).after_s <= HOPELESS_S
    assert decided("rps>=-5%", (ours, theirs)).holds is True
    assert decided("rps>=-0%", (ours, theirs)).holds is None
    assert decided("p95<=+0%", (ours, theirs)).holds is None


def test_seconds_without_a_request_are_no_change() -> None:
    """Neither responds at the start, and for some seconds later."""
    ours, theirs = (
        replace(run, **{name: getattr(run, name)[kept] for name in ("ended_s", "latencies_ms", "failed")})
        for run in made(1.0)[0]
        for kept in [(run.ended_s > 3) & ~((run.ended_s > 12) & (run.ended_s < 16))]
    )

    for metric in ALL:
        assert decided(limited(metric, 0.2), (ours, theirs)).holds is not False, metric
    assert decided("mean<=+20%", (ours, theirs)).holds is True


def test_a_server_that_stops_responding_does_not_pass_on_its_rate() -> None:
    ours, theirs = made(1.0)[0]
    answered = ours.ended_s < 2
    stopped = requests(ours.ended_s[answered], ours.latencies_ms[answered])

    assert decided("rps>=-50%", (stopped, theirs)).holds is not True
    assert decided("rps>=-50%", (ours, theirs)).holds is True


# --- failures --------------------------------------------------------------------------------------


def test_no_failure_passes_once_there_are_enough_requests() -> None:
    duet = failing(0.0), failing(0.0)

    assert decided("errors<=+5%", duet).holds is True
    assert decided("errors<=+0.1%", duet).holds is None
    assert decided("errors<=+0%", duet).holds is None


@pytest.mark.parametrize(("limit", "requests_needed"), [("0.5", 13_600), ("0.1", 67_800)])
def test_requests_without_a_failure_that_a_small_limit_takes(limit: str, requests_needed: int) -> None:
    """As docs/comparing.md has them: a PASS comes at the first look after them."""
    test, needed = new_test(f"errors<=+{limit}%"), NEEDED + math.log(4)

    found = []
    for count in (0.97 * requests_needed, 1.03 * requests_needed):
        run = failing(0.0, rps=200.0, length_s=count / 200)
        found.append(test.look(beside((run, run), count / 200)).below)
    few, enough = found

    assert few < needed < enough


def test_failures_of_the_candidate_fail() -> None:
    assert decided("errors<=+0.1%", (failing(0.05), failing(0.0))).holds is False
    assert decided("errors<=+0.1%", (failing(1.0), failing(0.0))).after_s <= HOPELESS_S
    assert decided("errors<=+0%", (failing(0.05), failing(0.0))).holds is False


def test_failures_of_the_baseline_server_alone_do_not_fail() -> None:
    assert decided("errors<=+0.1%", (failing(0.0), failing(0.05))).holds is True
    assert decided("errors<=+0%", (failing(0.0), failing(0.05))).holds is True


def test_failures_of_both_are_no_change() -> None:
    assert decided("errors<=+10%", (failing(0.1), failing(0.1, seed=2))).holds is True
    assert decided("errors<=+0.1%", (failing(0.1), failing(0.1, seed=2))).holds is None


def test_rare_failures_at_the_limit_are_not_decided() -> None:
    """The candidate fails twice as often, which the limit just allows, and often later for the first time."""
    for seed in range(30):
        duet = failing(0.002, 200.0, seed, 20.0), failing(0.001, 200.0, seed, 20.0)

        assert decided("errors<=+0.1%", duet, 20.0).holds is None, seed


# --- what is missing -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*(limited(metric, 0.05) for metric in ALL), "errors<=+0.1%"])
def test_there_is_no_evidence_without_the_other_server(text: str) -> None:
    duet = made(1.0)[0]

    assert decided(text, duet, seen=lambda both: replace(both, against=None)).holds is None
    nothing = requests(np.empty(0), np.empty(0))
    assert decided(text, (duet[0], nothing)).holds is None
    assert decided(text, (nothing, nothing)).holds is None


def test_there_is_no_evidence_of_cpu_without_readings() -> None:
    def unread(both: ObservedWindow) -> ObservedWindow:
        return replace(both, cpu_at_s=np.empty(0), cpu_s=np.empty(0))

    assert decided("cpu_per_request<=+100%", made(1.0)[0], seen=unread).holds is None


def test_an_open_limit_says_how_much_longer_it_takes() -> None:
    duet = made(1.0)[0]
    for metric in ALL:
        test = new_test(limited(metric, 0.03))
        evidence = test.look(beside(duet, 5.0))

        assert evidence.most < GATE
        assert 1 < test.needed_factor(GATE) < 100, metric
        noise = test.noise(GATE)
        assert noise
        assert noise.kind in (NoiseKind.COUNT, NoiseKind.SPEED)
