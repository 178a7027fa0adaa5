"""Recovery: the time after a spike until requests are good again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import planted_results as planted
from harness import EXPERIMENTS
from pytest_tfserving.slo.expected_load import ExpectedLoad, Fall
from pytest_tfserving.slo.language import Slo
from pytest_tfserving.slo.monitor import SloMonitor
from pytest_tfserving.slo.recovery import Back, conditions
from pytest_tfserving.slo.request_limits import RequestLimits

if TYPE_CHECKING:
    from harness import Project

RATE = 60
LIMITS = RequestLimits.parse("200ms")
# Load falls at 20 s, and stays there for 20 s.
SPIKE = ExpectedLoad(40.0, LIMITS, (Fall(20.0, 40.0),))


def watched(text: str, slow_until_s: float, load: ExpectedLoad = SPIKE, *others: str) -> SloMonitor:
    """The monitor of a run whose requests take 500 ms from 15 s on, and 100 ms again after a while."""
    slos = [Slo.parse(each) for each in (text, *others)]
    monitor = SloMonitor(slos, 0.01, has_baseline=False, plateau=False, load=load)
    monitor.settle(0.0)
    ended_s = np.arange(int(load.run_time_s * RATE)) / RATE
    is_slow = (ended_s >= 15) & (ended_s < slow_until_s)
    monitor.add(ended_s, np.where(is_slow, 500.0, 100.0), np.zeros(len(ended_s), bool))
    for now_s in np.arange(1.0, load.run_time_s + 1).tolist():
        monitor.look(now_s, last=now_s >= load.run_time_s)
    return monitor


@pytest.mark.parametrize(
    ("slow_until_s", "recovery_s", "holds"),
    [(15.0, 0.0, True), (22.0, 1.8, True), (24.9, 4.7, True), (27.0, 6.8, False), (31.0, 10.8, False)],
)
def test_it_is_the_time_until_requests_are_good_again(
    slow_until_s: float,
    recovery_s: float,
    holds: bool,  # noqa: FBT001 - a table
) -> None:
    """Of the requests of 5 s, those of a quarter of a second may be slow."""
    monitor = watched("recovery<5s", slow_until_s)

    assert monitor.decisions["recovery<5s"].holds is holds
    (part,) = monitor.parts["recovery<5s"]
    assert part.start_s == 20
    assert part.value == pytest.approx(1e3 * recovery_s, abs=101)


def test_it_is_decided_as_soon_as_its_window_has_passed() -> None:
    assert watched("recovery<5s", 22.0).decisions["recovery<5s"].at_s == pytest.approx(31, abs=2)


def test_a_server_that_never_recovers_has_the_time_that_was_looked_at() -> None:
    monitor = watched("recovery<5s", 99.0)

    assert not monitor.decisions["recovery<5s"].holds
    assert monitor.parts["recovery<5s"][0].value == pytest.approx(15_000, abs=101)


def test_failed_requests_are_not_good() -> None:
    monitor = SloMonitor([Slo.parse("recovery<5s")], 0.01, has_baseline=False, plateau=False, load=SPIKE)
    monitor.settle(0.0)
    ended_s = np.arange(40 * RATE) / RATE
    monitor.add(ended_s, np.full(len(ended_s), 1.0), ended_s > 20)
    monitor.look(40.0, last=True)

    assert not monitor.decisions["recovery<5s"].holds


def test_every_fall_counts() -> None:
    """The second one is never over: the server is slow until the end."""
    twice = ExpectedLoad(40.0, LIMITS, (Fall(5.0, 14.0), Fall(20.0, 40.0)))
    monitor = watched("recovery<2s", 99.0, twice)

    assert [each.holds for each in monitor.parts["recovery<2s"]] == [True, False]
    assert not monitor.decisions["recovery<2s"].holds


def test_without_limits_on_requests_the_slos_on_percentiles_say_what_is_good() -> None:
    slos = [Slo.parse(text) for text in ("rps>=1", "p95<200ms", "p99<1s every 8s", "p95<8x", "recovery<5s")]
    load = ExpectedLoad(40.0, falls=SPIKE.falls)

    assert conditions(slos, SPIKE) == (Back(0.95, 5.0),)
    assert conditions(slos, load) == (Back(0.95, 5.0, 200.0), Back(0.99, 8.0, 1000.0))
    for slow_until_s, holds in ((22.0, True), (29.0, False)):
        monitor = watched("recovery<5s", slow_until_s, load, "p95<200ms")
        assert monitor.decisions["recovery<5s"].holds is holds


def test_a_level_that_does_not_last_long_enough_says_so() -> None:
    short = ExpectedLoad(40.0, LIMITS, (Fall(20.0, 28.0),))

    said = watched("recovery<5s", 22.0, short).undecided(40.0)["recovery<5s"]

    assert str(said) == (
        "undecided (alpha 0.01): load fell at 20 s, and its level then did not last for 5 s and the 5 s "
        "after that, in which requests have to be good"
    )


def test_too_few_requests_say_so() -> None:
    text = "recovery<1s"
    load = ExpectedLoad(40.0, falls=SPIKE.falls)
    said = watched(text, 15.0, load, "p95<200ms every 1s").undecided(40.0)[text]

    assert "the 1 s that began 1 s after load fell at 20 s have too few requests to tell" in str(said)
    assert "as 'every 2s', has more of them" in str(said)


# Real runs


def test_a_queue_outlives_the_spike(project: Project) -> None:
    """One request at a time of 10 ms, and two seconds of one and a half times as many."""
    project.behave(latencies_ms=[10], lock=True)
    project.write(
        EXPERIMENTS.replace(
            "users: 2, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.01",
            "rate: 150, shape: 'spike 20:150', arrivals: constant, run_time_s: 4.5",
        ).replace('"rps>=1"', '"recovery<0.5s", "p95<100ms every 1s"')
    )

    run, (result,) = project.results()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["*FAIL*recovery<0.5s: recovery is * s after the load fell at 3 s, * above the limit*hopeless after*"]
    )
    assert result["metrics"]["recovery_ms"] > 500
    assert False in [each["holds"] for each in result["parts"]["p95<100ms every 1s"]]


def test_a_server_that_a_spike_does_not_bother(project: Project) -> None:
    project.write(
        EXPERIMENTS.replace(
            "users: 2, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.01",
            "rate: 60, shape: 'spike 40:60', run_time_s: 4.5",
        ).replace('"rps>=1"', '"recovery<0.5s", "p50<5s every 1s"')
    )

    run, (result,) = project.results()

    run.assert_outcomes(passed=1)
    assert [slo["verdict"] for slo in result["slos"]] == ["PASS"] * 3
    assert "proved in" in result["slos"][0]["reason"]
    assert result["metrics"]["recovery_ms"] == 0


def test_without_a_fall_it_is_not_judged(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(EXPERIMENTS.replace('"rps>=1"', '"recovery<5s"'))

    run = project.run()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(
        ["*NOT JUDGED: recovery<5s: it takes a load that falls, as shape 'spike 10:100'*"]
    )
