"""Goodput: how its test decides, on simulated runs and on a server that is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from _noise import Noise, Run, Server, runs

import planted_results as planted
from harness import EXPERIMENTS
from pytest_tfserving.slo.goodput import AllGoodTest, GoodputTest, bad_requests
from pytest_tfserving.slo.sequential_tests import Evidence, ObservedWindow, SeriesSet
from simulated_runs import NEEDED, NOISE_MEMORY_S, looks, truth, window

if TYPE_CHECKING:
    from harness import Project

SERVER, CALM, SLOW = Server(users=2, rps=100.0), Noise(0.0, 0.5, 0.25), Noise(5.0, 0.5, 0.25)


def limited(run: Run, until_s: float, limit_ms: float) -> ObservedWindow:
    seen = window(run, until_s)
    return replace(seen, limits_ms=np.full(len(seen.ended_s), limit_ms))


def decided(test: GoodputTest, run: Run, limit_ms: float, length_s: float = 120.0) -> bool | None:
    """Whether goodput was found to be above the limit, or below it, in a run that grows."""
    for until_s in looks(length_s):
        evidence = test.look(limited(run, until_s, limit_ms))
        if evidence.most >= NEEDED:
            return evidence.above >= NEEDED
    return None


def made(noise: Noise, count: int = 8, failed: float = 0.0, seed: int = 1) -> list[Run]:
    random = np.random.default_rng(seed)
    found = runs(random, count, 120.0, SERVER, noise)
    return [replace(run, failed=random.random(len(run.failed)) < failed) for run in found]


def all_decided(limit: float, noise: Noise, limit_ms: float, failed: float = 0.0) -> list[bool | None]:
    return [
        decided(GoodputTest(limit, SeriesSet(NOISE_MEMORY_S)), run, limit_ms)
        for run in made(noise, failed=failed)
    ]


def test_a_bad_request_failed_or_took_too_long() -> None:
    seen = ObservedWindow(
        np.array([10.0, 300.0]), np.array([False, True, False]), np.array([1.0, 3.0]), 4.0,
        limits_ms=np.array([100.0, 200.0]),
    )  # fmt: skip

    assert bad_requests(seen).tolist() == [False, True, True]


@pytest.mark.parametrize("noise", [CALM, SLOW], ids=["calm", "slow"])
def test_far_limits_are_decided(noise: Noise) -> None:
    p95_ms = truth("p95", SERVER, noise)

    assert all_decided(0.8, noise, 4 * p95_ms) == [True] * 8
    assert all_decided(0.95, noise, p95_ms / 3) == [False] * 8


def test_failures_alone_are_enough_to_miss_it() -> None:
    assert all_decided(0.95, CALM, 60_000.0, failed=0.2) == [False] * 8


@pytest.mark.parametrize("failed", [0.0, 0.02])
def test_on_the_limit_it_is_hardly_ever_wrong(failed: float) -> None:
    """One of 100 runs may be, each way."""
    goodput = 0.95 * (1 - failed)
    found = all_decided(goodput, SLOW, truth("p95", SERVER, SLOW), failed)

    assert sum(each is not None for each in found) <= 1


def test_requests_without_a_limit_are_good_if_they_succeed() -> None:
    run = made(CALM, 1)[0]
    seen = limited(run, 60.0, 1.0)
    free = replace(seen, limits_ms=np.where(np.arange(len(seen.ended_s)) % 10 > 0, np.inf, 1e6))

    assert GoodputTest(0.8, SeriesSet(NOISE_MEMORY_S)).look(free).above >= NEEDED


def test_one_bad_request_is_enough_where_all_have_to_be_good() -> None:
    run = made(CALM, 1)[0]

    assert AllGoodTest().look(limited(run, 10.0, 1.0)).below == np.inf
    assert AllGoodTest().look(limited(run, 10.0, 1e9)) == Evidence()


# Real runs


def test_a_server_that_is_slow_for_one_request_in_four(project: Project) -> None:
    project.behave(latencies_ms=[2, 2, 2, 100])
    project.decide_soon()
    project.write(
        EXPERIMENTS.replace("run_time_s: 1.2", "run_time_s: 60, request_limits: 50ms").replace(
            '"rps>=1"', '"goodput>=98%"'
        )
    )

    run, (result,) = project.results("--tfserving-markdown=out.md", "--tfserving-html=out.html")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*FAIL*goodput>=98%: goodput is *%*below the limit*hopeless after*"])
    assert 0.3 < result["metrics"]["goodput"] < 0.76
    assert result["good_requests"] < result["metrics"]["requests"]
    low, high = result["intervals"]["goodput"]
    assert low < result["metrics"]["goodput"] < high
    for name in ("out.md", "out.html"):
        assert "goodput" in (project.pytester.path / name).read_text(encoding="utf-8")


def test_without_limits_on_requests_it_is_not_judged(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(EXPERIMENTS.replace('"rps>=1"', '"goodput>=99%"'))

    run = project.run()

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(["*NOT JUDGED: goodput>=99%: load profile 'tiny' has no request_limits*"])


def test_a_mark_can_set_limits(project: Project) -> None:
    planted.instead_of_load(project, lambda profile: {"good_requests": 5 if profile.request_limits else 0})
    mark = '@pytest.mark.load_profile(request_limits={"large": "1s"})\n@pytest.mark.slo("goodput>=99%")\n'
    project.write(tests=f"import pytest\n{mark}def test_gate(load):\n    load().check('goodput')\n")

    run, (result,) = project.results()

    run.assert_outcomes(failed=1)
    assert result["profile"]["request_limits"] == "large: 1000ms"


def test_a_wrong_limit_has_its_line(project: Project) -> None:
    project.write(EXPERIMENTS.replace("run_time_s: 1.2", "run_time_s: 60, request_limits: 200"))

    run = project.run()

    run.stdout.fnmatch_lines(["*experiments.yaml:4: request_limits is 200ms, or by kind*, not 200.*"])
