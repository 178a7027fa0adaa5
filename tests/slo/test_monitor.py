"""Deciding SLOs while load runs, fed with made-up requests."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from _noise import Noise, Run, Server, runs

from harness import EXPERIMENTS
from pytest_tfserving.slo.expected_load import ExpectedLoad
from pytest_tfserving.slo.language import Slo, Undecided
from pytest_tfserving.slo.monitor import SHORTEST_WINDOW_S, SloMonitor
from pytest_tfserving.slo.noise import NoiseKind
from pytest_tfserving.slo.request_limits import RequestLimits
from pytest_tfserving.slo.sequential_tests import Evidence, ObservedWindow, RateTest
from simulated_runs import autocorrelated, slo_text, truth

if TYPE_CHECKING:
    from harness import Project

Requests = tuple[np.ndarray, np.ndarray, np.ndarray]


def requests(seconds: float = 60, rate: float = 100, seed: int = 1, rho: float = 0.0) -> Requests:
    """Poisson arrivals, lognormal latencies with a p95 of 178 ms, no failures."""
    random = np.random.default_rng(seed)
    finished_s = np.cumsum(random.exponential(1 / rate, int(seconds * rate)))
    latencies_ms = 100 * np.exp(0.35 * autocorrelated(random, len(finished_s), rho)[0])
    return finished_s, latencies_ms, np.zeros(len(finished_s), bool)


def watched(monitor: SloMonitor, made: Requests, seconds: float = 60) -> float:
    """Feed the requests as they would come; when the run is over."""
    monitor.settle(0.0)
    fed = 0
    for now_s in np.arange(0.5, seconds + 0.5, 0.5).tolist():
        upto = int(np.searchsorted(made[0], now_s))
        monitor.add(*(part[fed:upto] for part in made))
        fed = upto
        monitor.look(now_s, last=now_s >= seconds)
        if monitor.is_over():
            return float(now_s)
    return math.inf


def monitor(*slos: str, has_baseline: bool = False, early_stop: bool = True) -> SloMonitor:
    return SloMonitor(
        [Slo.parse(text) for text in slos], 0.01, has_baseline=has_baseline, early_stop=early_stop
    )


def test_what_is_easy_passes_in_seconds() -> None:
    easy = monitor("p95<400ms", "rps>=25")

    assert SHORTEST_WINDOW_S <= watched(easy, requests()) <= 15
    assert all(decision.holds for decision in easy.decisions.values())


def test_evidence_grows_until_it_decides_and_is_kept_for_each_look() -> None:
    both = monitor("p95<400ms", "rps>=300")
    watched(both, requests())

    for text, proof in (("p95<400ms", "holds"), ("rps>=300", "fails")):
        path = both.evidence[text]
        grown = getattr(path, proof)
        assert path.needed == pytest.approx(math.log(100))
        assert len(path.at_s) == len(path.holds) == len(path.fails) >= 2
        assert grown[0] < path.needed <= grown[-1]
        assert path.at_s[-1] == both.decisions[text].at_s


def test_how_latencies_wander_is_no_matter_far_from_the_limit() -> None:
    finished_s, _, failed = requests(120, rate=12)
    wandering_ms = 370 * np.exp(0.1 * autocorrelated(np.random.default_rng(4), len(failed), 0.97)[0])
    far, near, hopeless = monitor("p95<5s"), monitor("p95<500ms"), monitor("p95<40ms")
    made = finished_s, wandering_ms, failed

    assert watched(hopeless, made, 120) <= 10
    # Four or five are in flight together, and 120 independent requests prove a p95.
    assert watched(far, made, 120) == pytest.approx(120 * 0.37, rel=0.2)
    assert watched(near, made, 120) > 60


def test_what_stalls_take_together_counts_as_one() -> None:
    """One request in twenty is too slow, four at a time, and the first stall is long in coming."""
    finished_s, _, failed = requests(60, rate=10)
    at = np.arange(len(failed))
    stalled = (at >= 300) & (at % 80 >= 76)
    stalling = monitor("p95<50s")
    watched(stalling, (finished_s, np.where(stalled, 60_000.0, 400.0), failed), 60)

    assert stalling.decisions == {}


def test_what_is_hopeless_ends_in_seconds() -> None:
    hopeless = monitor("p95<100ms", "rps>=300")

    assert SHORTEST_WINDOW_S <= watched(hopeless, requests()) <= 7
    assert not any(decision.holds for decision in hopeless.decisions.values())


def test_what_is_close_takes_its_time() -> None:
    close = monitor("p95<178ms", "rps>=99.9")

    assert watched(close, requests()) == math.inf
    assert set(close.undecided(60.0)) == {"p95<178ms", "rps>=99.9"}


def test_it_says_how_much_longer_it_would_take() -> None:
    """15 % away, on the safe side: what is said after 4 s is about what it takes."""
    said, known = monitor("p95<205ms"), monitor("p95<205ms")
    watched(said, requests(), 4)

    assert 4 + said.undecided(4.0)["p95<205ms"].more_s == pytest.approx(watched(known, requests()), rel=1.5)


def test_a_run_takes_its_whole_time_when_told_so() -> None:
    whole = monitor("p95<400ms", early_stop=False)

    assert watched(whole, requests()) == math.inf
    assert whole.decisions["p95<400ms"].holds


def test_a_look_may_come_right_after_load_has_settled() -> None:
    """What ended in the last half second is held back then: there is nothing to look at yet."""
    early = monitor("p95<400ms")
    early.settle(3.0)
    early.add(*(part[:5] for part in requests()))
    early.look(3.05)

    assert early.decisions == {}
    assert not early.is_over()


def test_without_an_slo_a_run_takes_its_whole_time() -> None:
    assert watched(monitor(), requests()) == math.inf


def test_the_warm_up_is_cut_off() -> None:
    finished_s, latencies_ms, failed = requests()
    warm_up = monitor("p95<205ms")
    watched(warm_up, (finished_s, np.where(finished_s < 3, 5, 1) * latencies_ms, failed))

    assert warm_up.start_s == pytest.approx(3, abs=2)
    assert warm_up.decisions["p95<205ms"].holds


def test_failures_are_not_cut_off_as_a_warm_up() -> None:
    """What was lost with a replica that died under load is in the figures, whatever came before it."""
    finished_s, latencies_ms, failed = requests()
    slow_ms = np.where(finished_s < 3, 5, 1) * latencies_ms
    failing = failed | ((finished_s > 2) & (finished_s < 2.2))
    lost = monitor("errors<5%", early_stop=False)
    watched(lost, (finished_s, slow_ms, failing), 60)

    assert lost.start_s == pytest.approx(2, abs=0.1)


def test_a_server_that_slows_down_is_not_judged() -> None:
    finished_s, latencies_ms, failed = requests()
    slowing = monitor("errors<0.01%")
    watched(slowing, (finished_s, latencies_ms * np.linspace(0.7, 1.5, len(failed)), failed), 40)

    assert "latency kept rising" in slowing.undecided(40.0)["errors<0.01%"].unsteady


def test_failures_decide_an_error_rate() -> None:
    finished_s, latencies_ms, failed = requests()
    random = np.random.default_rng(2)

    for share, holds in ((0.0, True), (0.2, False)):
        errors = monitor("errors<5%")
        watched(errors, (finished_s, latencies_ms, random.random(len(failed)) < share))

        assert errors.decisions["errors<5%"].holds is holds


def test_one_failure_is_enough_where_none_is_allowed() -> None:
    finished_s, latencies_ms, failed = requests()
    failed[3000] = True
    none, high = monitor("errors<=0%"), monitor("max<1s")

    assert watched(none, (finished_s, latencies_ms, failed)) < 35
    assert not none.decisions["errors<=0%"].holds
    assert watched(high, requests()) == math.inf


def test_relative_limits_are_those_of_the_pulses_beside_the_load() -> None:
    """100 requests a second of about 106 ms on average, where the baseline makes 100 of 10 ms."""
    even = np.arange(6000) / 100, *requests()[1:]
    at_s = np.arange(0.1, 20.0, 0.8)
    texts = "efficiency>=50%", "efficiency>=200%", "p95<80x", "mean<5x"
    relative = monitor(*texts, has_baseline=True)
    watched(relative, even, 20)
    assert relative.decisions == {}

    relative.add_baseline(at_s, *(np.full(len(at_s), value) for value in (5.0, 0.05, 10.0)))
    relative.look(20.0, last=True)

    assert [relative.decisions[text].holds for text in texts] == [True, False, True, False]


def test_without_a_baseline_relative_limits_are_not_asked() -> None:
    assert watched(monitor("efficiency>=80%", "p95<8x"), requests(10), 10) == math.inf
    assert monitor("efficiency>=80%", "p95<8x").undecided(1.0) == {}


def test_cpu_decides_as_soon_as_it_is_known() -> None:
    """Every half second the replicas have used half a second more, for 50 requests."""
    at_s = np.arange(0.0, 20.0, 0.5)
    cheap, dear = "cpu_per_request<20ms", "cpu_per_request<5ms"
    each = monitor(cheap, dear)
    each.add_cpu(at_s, at_s)
    watched(each, requests(20), 20)

    assert each.decisions[cheap].holds
    assert not each.decisions[dear].holds


def test_requests_may_come_late_and_in_any_order() -> None:
    made = requests(20)
    order = np.random.default_rng(3).permutation(len(made[0]))
    mixed = monitor("p95<400ms")
    mixed.settle(0.0)
    mixed.add(*(part[order] for part in made))
    mixed.look(20.0, last=True)

    assert mixed.decisions["p95<400ms"].holds


@pytest.mark.parametrize("noise", [Noise(0.0, 0.5, 0.25), Noise(5.0, 0.5, 0.25)])
def test_on_the_limit_few_verdicts_are_passed(noise: Noise) -> None:
    """With the steady window found meanwhile, too: 3 of 30 would be by chance once in fifty times."""
    server = Server(users=2, rps=100.0)
    limit = slo_text("p95", truth("p95", server, noise))
    passed = 0
    for run in runs(np.random.default_rng(1), 30, 60.0, server, noise):
        close = monitor(limit)
        watched(close, (run.ended_s, run.latencies_ms, run.failed), 60)
        passed += limit in close.decisions

    assert passed <= 2


def test_looks_come_at_growing_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an hour of load is looked at a hundred times, not 7 000."""
    looked_s: list[float] = []
    look = RateTest.look

    def noted(test: RateTest, window: ObservedWindow) -> Evidence:
        looked_s.append(window.length_s)
        return look(test, window)

    monkeypatch.setattr(RateTest, "look", noted)
    watched(monitor("rps>=100"), requests(), 60)

    assert np.diff(looked_s)[-5:-1].min() >= 3
    assert len(looked_s) <= 40
    assert looked_s[-1] == 60


# What kept it open


def undecided(text: str, run: Run, seconds: float, *, has_baseline: bool = False) -> Undecided:
    """What is said of an SLO that a run of so many seconds did not decide."""
    left = monitor(text, has_baseline=has_baseline)
    if has_baseline:
        left.add_baseline(*run.pulses[:, run.pulses[0] < seconds])
    watched(left, (run.ended_s, run.latencies_ms, run.failed), seconds)
    return left.undecided(seconds)[text]


def run_of(server: Server, noise: Noise) -> Run:
    return runs(np.random.default_rng(1), 1, 60.0, server, noise)[0]


def test_it_says_whether_the_machine_or_the_server_wanders() -> None:
    """The baseline tells: where it is calm, the machine is."""
    server, noise = Server(users=2, rps=100.0), Noise(5.0, 0.8, 0.25)
    shared = run_of(server, noise)
    calm = replace(shared, pulses=run_of(server, Noise(0.0, 0.5, 0.02)).pulses)
    text = slo_text("p95", 1.05 * truth("p95", server, noise))

    of_machine = undecided(text, shared, 30, has_baseline=True)
    of_server = undecided(text, calm, 30, has_baseline=True)
    of_either = undecided(text, shared, 30)

    assert "since the machine's speed wandered by " in str(of_machine)
    assert "a machine without other work would help most" in str(of_machine)
    assert "since the server's speed wandered by " in str(of_server)
    assert "since the speed of the machine or the server wandered by " in str(of_either)
    for each in (of_machine, of_server, of_either):
        assert each.noise
        assert 0.1 < each.noise.sd < 0.4
        assert 0.15 < each.noise.resolution < 1
        assert str(each).endswith(
            "a window of 30 s is short for a noise memory of 10 s: close limits take 100 s at least"
        )


def test_what_is_paired_with_the_baseline_is_never_the_machines_fault() -> None:
    server, noise = Server(users=2, rps=100.0), Noise(5.0, 0.8, 0.25)

    for text in ("efficiency>=205%", "p95<1.45x"):
        left = undecided(text, run_of(server, noise), 20, has_baseline=True)
        assert left.noise
        assert left.noise.kind in (NoiseKind.SERVER, NoiseKind.SPEED)
        assert left.noise.sd < 0.15


def test_it_says_that_many_in_flight_count_as_one() -> None:
    left = undecided("p99<5s", run_of(Server(users=40, rps=100.0), Noise(0.0, 0.5, 0.25)), 20)

    assert "since 40 requests in flight share their fate, and count as one" in str(left)
    assert "fewer users (--tfserving-users) would help most" in str(left)
    assert "noise memory" not in str(left)


@pytest.mark.parametrize("text", ["p99.9<5s", "errors<0.1%"])
def test_it_says_that_there_were_too_few_requests(text: str) -> None:
    left = undecided(text, run_of(Server(users=1, rps=20.0), Noise(0.0, 0.5, 0.25)), 20)

    assert "since there were too few requests: about " in str(left)


def test_a_moment_of_load_tells_nothing() -> None:
    left = undecided("p95<1ms", run_of(Server(users=2, rps=100.0), Noise(0.0, 0.5, 0.25)), 1)

    assert str(left) == (
        "undecided (alpha 0.01): there was too little steady load to tell how much more would decide it"
    )


def test_a_decision_says_which_noise_memory_it_rests_on() -> None:
    slos = [Slo.parse("p95<10s")]
    for memory_s in (2.5, 20.0):
        each = SloMonitor(slos, 0.01, has_baseline=False, noise_memory_s=memory_s)
        watched(each, requests(), 60)

        assert f", noise memory {memory_s:g} s)" in str(each.decisions["p95<10s"])


# Kinds of requests


def kinds_watched(*texts: str, limits: str = "") -> SloMonitor:
    """The monitor of a run in which every tenth request is of another kind, and takes 2 s."""
    load = ExpectedLoad(60.0, RequestLimits.parse(limits), kinds=("small", "large"))
    each = SloMonitor([Slo.parse(text) for text in texts], 0.01, has_baseline=False, load=load)
    finished_s, latencies_ms, failed = requests(60, rate=200)
    kinds = (np.arange(len(failed)) % 10 == 9).astype(np.int64)
    latencies_ms[kinds == 1] = 2000.0 + latencies_ms[kinds == 1] / 10
    each.settle(0.0)
    each.add(finished_s, latencies_ms, failed | ((kinds == 1) & (finished_s % 2 > 1)), kinds)
    each.look(60.0, last=True)
    return each


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("p50<1s", True),
        ("p95{small}<1s", True),
        ("p50{large}<1s", False),
        ("rps{large}>=40", False),
        ("rps{small}>=40", True),
        ("errors{large}<10%", False),
        ("errors{small}<10%", True),
        ("p95{small}<1s every 10s", True),
        ("p95{large}<1s every 10s", False),
    ],
)
def test_each_kind_is_decided_by_its_own_requests(text: str, holds: bool) -> None:  # noqa: FBT001 - a table
    assert kinds_watched(text).decisions[text].holds is holds


def test_each_kind_has_its_own_limit_on_requests() -> None:
    text, small = "goodput>=85%", "goodput{small}>=85%"
    loose, tight = "large: 10s, *: 1s", "1s"

    assert kinds_watched(text, limits=loose).decisions[text].holds
    assert text not in kinds_watched("goodput>=90%", limits=tight).decisions
    assert kinds_watched(small, limits=tight).decisions[small].holds


def test_an_unknown_kind_is_not_asked() -> None:
    assert kinds_watched("p95{huge}<1s", "p95{huge}<1s every 10s").undecided(60.0) == {}


SET = """{"instances": [1.0, 2.0], "kind": "small", "weight": 30}
{"instances": [1.0, 2.0, 5.0], "kind": "large"}
"""


def kinds_project(project: Project, slos: str, profile: str = "") -> None:
    """A project with small and large requests."""
    (project.pytester.path / "set.jsonl").write_text(SET, encoding="utf-8")
    project.write(
        EXPERIMENTS.replace("request.json", "set.jsonl")
        .replace("users: 2, spawn_rate: 20, run_time_s: 1.2", f"users: 16, run_time_s: 20{profile}")
        .replace('"rps>=1"', slos)
    )


def test_a_server_that_is_slow_for_one_kind_is_found_by_kind(project: Project) -> None:
    """And hidden without: one request in thirty."""
    project.behave(slow=[3, 800])
    project.decide_soon()
    kinds_project(
        project,
        '"p95<500ms", "p95{small}<500ms", "p95{large}<500ms"',
        ", request_limits: {large: 60s, '*': 500ms}",
    )

    run, (result,) = project.results()

    run.assert_outcomes(failed=1)
    assert [slo["slo"] for slo in result["slos"] if slo["verdict"] == "FAIL"] == ["p95{large}<500ms"]
    run.stdout.fnmatch_lines(["*FAIL * p95{large}<500ms: p95{large} is 8*"])
    assert result["kinds"]["large"]["metrics"]["goodput"] == 1


@pytest.mark.parametrize(
    ("slos", "profile", "message"),
    [
        (
            '"p95{larg}<1s"',
            "",
            "SLO 'p95{larg}<1s': the requests have no kind 'larg'; did you mean 'large'? valid: small, *",
        ),
        (
            '"rps>=1"',
            ", request_limits: {larg: 1s}",
            "request_limits of load profile 'tiny': the requests have no kind 'larg'; did you mean 'large'?*",
        ),
    ],
)
def test_an_unknown_kind_is_one_sentence(project: Project, slos: str, profile: str, message: str) -> None:
    kinds_project(project, slos, profile)

    run = project.run()

    run.stdout.fnmatch_lines([f"*{message}"])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_a_kind_of_requests_that_are_all_of_one_kind_is_refused(project: Project) -> None:
    project.write(EXPERIMENTS.replace('"rps>=1"', '"p95{large}<1s"'))

    run = project.run()

    run.stdout.fnmatch_lines(
        ["*SLO 'p95{large}<1s': the requests have no kind 'large'; all * are of one kind.*"]
    )
