"""SLOs on windows: each is judged by itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness import EXPERIMENTS, RESULT
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.slo.expected_load import ExpectedLoad
from pytest_tfserving.slo.language import Slo, Verdict
from pytest_tfserving.slo.monitor import SloMonitor
from pytest_tfserving.slo.request_limits import RequestLimits
from pytest_tfserving.slo.span_figure import SpanFigure, worst_of

if TYPE_CHECKING:
    from harness import Project

RATE = 60
RUN_TIME_S = 30.0


def watched(
    text: str, latencies_ms: np.ndarray, failed: np.ndarray | None = None, *, seconds: float = RUN_TIME_S
) -> SloMonitor:
    """The monitor of a run with `RATE` requests a second, at even distances."""
    monitor = SloMonitor(
        [Slo.parse(text)], 0.01, has_baseline=False,
        load=ExpectedLoad(RUN_TIME_S, RequestLimits.parse("200ms")),
    )  # fmt: skip
    monitor.settle(0.0)
    ended_s = np.arange(len(latencies_ms)) / RATE
    monitor.add(ended_s, latencies_ms, np.zeros(len(ended_s), bool) if failed is None else failed)
    for now_s in np.arange(1.0, seconds + 1).tolist():
        monitor.look(now_s, last=now_s >= seconds)
    return monitor


def latencies(seconds: float = RUN_TIME_S, slow: slice = slice(0, 0)) -> np.ndarray:
    """Latencies of about 100 ms, and of 500 ms in some of the run's seconds."""
    random = np.random.default_rng(1)
    found = 100 * np.exp(0.2 * random.standard_normal(int(seconds * RATE)))
    found[slow.start * RATE : slow.stop * RATE] = 500
    return found


METRICS = ["p95<200ms", "p95<=200ms", "max<300ms", "mean<200ms", "rps>=30", "goodput>=90%", "errors<5%"]


@pytest.mark.parametrize("text", METRICS)
def test_it_holds_once_every_window_holds(text: str) -> None:
    every = f"{text} every 10s"
    monitor = watched(every, latencies())

    assert monitor.decisions[every].holds
    assert monitor.decisions[every].at_s == RUN_TIME_S
    assert [(each.start_s, each.end_s) for each in monitor.parts[every]] == [(0, 10), (10, 20), (20, 30)]


@pytest.mark.parametrize("text", ["p95<200ms", "max<300ms", "goodput>=90%"])
def test_one_window_is_enough_to_miss_it(text: str) -> None:
    """Of which the whole run shows nothing: p97 is met in all 30 s."""
    every = f"{text} every 5s"
    monitor = watched(every, latencies(slow=slice(12, 13)))

    assert not monitor.decisions[every].holds
    assert monitor.decisions[every].at_s <= 17
    assert [each.holds for each in monitor.parts[every]].count(False) == 1
    assert monitor.parts[every][2].holds is False


def test_failures_in_one_window_miss_it() -> None:
    failed = np.zeros(int(RUN_TIME_S * RATE), bool)
    failed[RATE * 21 : RATE * 22] = True

    assert not watched("errors<5% every 10s", latencies(), failed).decisions["errors<5% every 10s"].holds
    assert not watched("errors<=0% every 10s", latencies(), failed).decisions["errors<=0% every 10s"].holds
    none = watched("errors<=0% every 10s", latencies())
    assert none.decisions["errors<=0% every 10s"].holds


def test_a_slow_window_is_found_in_a_run_that_is_not_steady() -> None:
    """For the whole run, nothing is decided then."""
    text = "p95<200ms every 5s"
    monitor = watched(text, latencies(slow=slice(15, 30)))

    assert monitor.unsteady
    assert not monitor.decisions[text].holds


def test_a_window_with_too_few_requests_decides_nothing() -> None:
    """60 requests, none over the limit, prove no p95."""
    text = "p95<200ms every 1s"
    monitor = watched(text, latencies())

    assert monitor.decisions == {}
    said = str(monitor.undecided(RUN_TIME_S)[text])
    assert said.startswith(
        "undecided (alpha 0.01): 30 of 30 windows can tell neither, the first from 0 s to 1 s; windows of "
    )
    assert said.endswith("s would likely be decided")


def test_a_window_on_the_limit_decides_nothing() -> None:
    on_limit = latencies()
    on_limit[::20] = 300
    text = "p95<200ms every 10s"

    said = str(watched(text, on_limit).undecided(RUN_TIME_S)[text])

    assert said.endswith("it has too few requests, or is too close to the limit")


def test_a_run_without_a_whole_window_says_so() -> None:
    text = "p95<200ms every 20s"

    assert str(watched(text, latencies(10), seconds=10).undecided(10.0)[text]) == (
        "undecided (alpha 0.01): no window of 20 s was complete in the steady time"
    )


def test_a_window_without_requests_decides_nothing() -> None:
    text = "p95<200ms every 5s"

    assert "no request ended in it" in str(watched(text, latencies(10)).undecided(RUN_TIME_S)[text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p95<200ms every 10", "'10' is not the length of a window of 1 s or more; write it as 'every 10s'"),
        ("p95<200ms every 10ms", "'10ms' is not the length of a window of 1 s or more"),
        (
            "efficiency>=80% every 10s",
            "efficiency>=80% has no limits by window; absolute ones on percentiles",
        ),
        ("p95<=+5% every 10s", "p95<=+5% has no limits by window"),
        ("p95<8x every 10s", "p95<8x has no limits by window"),
        ("cpu_per_request<5ms every 10s", "cpu_per_request<5ms has no limits by window"),
        ("recovery<5s every 10s", "recovery<5s has no limits by window"),
        ("p95<200 every 10s", "a missing unit does not fit p95"),
    ],
)
def test_a_wrong_window_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Slo.parse(text)

    assert message in str(error.value)


def test_minutes_are_a_length() -> None:
    assert Slo.parse("rps>=10 every 1.5m").every_s == 90


@pytest.mark.parametrize(
    ("text", "values", "verdict", "reason"),
    [
        (
            "p95<200ms every 10s",
            ((150.0, True), (312.0, False)),
            Verdict.FAIL,
            "p95 is 312 ms from 11 s to 21 s, the worst of 2 windows, 112 ms above the limit (+56.0 %)",
        ),
        (
            "rps>=30 every 10s",
            ((40.0, True),),
            Verdict.PASS,
            "rps is 40/s from 1 s to 11 s, 10/s above the limit",
        ),
        ("p95<200ms every 10s", (), Verdict.NOT_JUDGED, "the run has no window of 10 s"),
    ],
)
def test_the_worst_window_is_named(
    text: str, values: tuple[tuple[float, bool], ...], verdict: Verdict, reason: str
) -> None:
    parts = [SpanFigure(1.0 + 10 * at, 11.0 + 10 * at, *each) for at, each in enumerate(values)]

    judgement = Slo.parse(text).judge(replace(RESULT, parts={text: parts} if parts else {}))

    assert judgement.verdict is verdict
    assert judgement.reason.startswith(reason)


def test_the_worst_part_is_one_that_is_proved_to_miss_its_limit() -> None:
    parts = [SpanFigure(0, 1, 300.0, None), SpanFigure(1, 2, 250.0, False), SpanFigure(2, 3, math.nan, None)]

    assert worst_of(parts, higher_is_better=False) is parts[1]
    assert worst_of(parts[2:], higher_is_better=False) is parts[2]
    assert worst_of((), higher_is_better=True) is None


# Real runs


def test_a_server_that_is_slow_for_some_seconds(project: Project) -> None:
    project.behave(latencies_ms=[3] * 150 + [400] * 12)
    project.decide_soon()
    text = "p95<150ms every 2s"
    project.write(
        EXPERIMENTS.replace("users: 2, spawn_rate: 20, run_time_s: 1.2", "users: 1, run_time_s: 20").replace(
            "rps>=1", text
        )
    )

    run, (result,) = project.results()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*FAIL*p95<150ms every 2s: p95 is 4??* ms from * s to * s, *"])
    missed = [each for each in result["parts"][text] if each["holds"] is False]
    assert missed[0]["value"] >= 400
