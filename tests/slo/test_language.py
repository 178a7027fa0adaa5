"""The SLO language and its verdicts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import RESULT
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.load.kinds import KindFigures
from pytest_tfserving.slo.language import Slo, Verdict, signed
from pytest_tfserving.statistics.latencies import Latencies


def judged(text: str, **changes: object) -> tuple[str, str]:
    changed: dict[str, Any] = dict(changes)
    judgement = Slo.parse(text).judge(replace(RESULT, **changed))
    return str(judgement.verdict), judgement.reason


@pytest.mark.parametrize(
    ("text", "metric", "op", "limit"),
    [
        ("p95<200ms", "p95", "<", 200),
        (" rps >= 120 ", "rps", ">=", 120),
        ("rps>=1e3/s", "rps", ">=", 1000),
        ("errors<0.1%", "errors", "<", 0.1),
        ("efficiency>=80%", "efficiency", ">=", 80),
        ("p99.9<=1.5s", "p99.9", "<=", 1.5),
        ("p95<8x", "p95", "<", 8),
        ("max<10us", "max", "<", 10),
        ("goodput>=99%", "goodput", ">=", 99),
        ("recovery<5s", "recovery", "<", 5),
    ],
)
def test_an_slo_is_read(text: str, metric: str, op: str, limit: float) -> None:
    slo = Slo.parse(text)

    assert (metric, op, limit) == (slo.metric, slo.op, slo.limit)


@pytest.mark.parametrize(
    ("text", "kind", "every_s"),
    [
        ("p95{large}<400ms", "large", 0),
        ("errors{a b:c} < 0.1%", "a b:c", 0),
        ("rps { search } >= 10", "search", 0),
        ("goodput{large}>=99% every 10s", "large", 10),
        ("recovery{large}<5s", "large", 0),
    ],
)
def test_an_slo_can_be_on_requests_of_one_kind(text: str, kind: str, every_s: float) -> None:
    slo = Slo.parse(text)

    assert (slo.kind, slo.every_s, slo.text) == (kind, every_s, text)


LARGE = KindFigures(Latencies.of(np.arange(1.0, 101.0)), {"HTTP 500": 25})
KINDS = {"large": LARGE, "small": KindFigures(Latencies.of(np.ones(900)))}


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        ("p95{large}<=95ms", "PASS", "p95{large} is 95 ms, 0 ms below the limit"),
        ("errors{large}<10%", "FAIL", "errors{large} is 20%, 10% above the limit"),
        ("errors{small}<10%", "PASS", "errors{small} is 0%"),
        ("rps{large}>=10", "PASS", "rps{large} is 10/s"),
        (
            "p95{larger}<95ms",
            "FAIL",
            "no request was of kind 'larger'; did you mean 'large'? valid: large, small",
        ),
        ("errors{larger}<95%", "FAIL", "no request was of kind 'larger'; did you mean 'large'?"),
    ],
)
def test_a_verdict_is_on_the_requests_of_its_kind(text: str, verdict: str, reason: str) -> None:
    found, why = judged(text, kinds=KINDS)

    assert (verdict, reason) == (found, why[: len(reason)])


def test_a_kind_without_a_success_fails() -> None:
    failed = {"large": KindFigures(Latencies.of(np.empty(0)), {"HTTP 500": 3})}

    assert judged("p95{large}<1s", kinds=failed) == ("FAIL", "no successful request in the window")


def test_the_figures_of_a_kind_without_requests_are_one_sentence() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^no request was of kind 'larg'; did you mean 'large'\? valid:"
    ):
        replace(RESULT, kinds=KINDS).of_kind("larg")
    with pytest.raises(ConfigurationError, match=r"^no request .* 'large'; all requests were of one kind\.$"):
        RESULT.of_kind("large")


def test_a_check_can_name_a_kind() -> None:
    slos = tuple(Slo.parse(text) for text in ("p95<1s", "p95{large}<1s", "p95{small}<1s", "errors<1%"))
    seen: list[str] = []
    result = replace(RESULT, kinds=KINDS).bound(
        slos, lambda _, judgements, __: seen.extend(each.slo.text for each in judgements)
    )

    result.check("p95{large}")

    assert seen == ["p95{large}<1s", "errors<1%"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p95<200", "a missing unit does not fit p95; valid: 'us', 'ms', 's', 'x'"),
        ("p95<200min", "unit 'min' does not fit p95; valid: 'us', 'ms', 's', 'x'"),
        ("rps>=5%", "unit '%' does not fit rps; valid: none, '/s', 'x'"),
        ("rps<5", "'<' does not fit rps, where higher is better; valid: > and >="),
        ("p95>5ms", "'>' does not fit p95, where lower is better; valid: < and <="),
        ("p95==5ms", "'==' does not fit p95"),
        ("eficiency>=80%", "'eficiency' is not a metric; did you mean 'efficiency'? valid: rps, p50"),
        ("p100<1ms", "'p100': a percentile lies between 0 and 100"),
        ("p0<1ms", "'p0': a percentile lies between 0 and 100"),
        ("p95<fast", "'p95<fast' is not an SLO; write it as \"p95<200ms\""),
        ("p95<1.2.3ms", "'1.2.3' is not a number"),
        ("p95<-1ms", "a limit is neither negative"),
        ("", "'' is not an SLO"),
        ("p95{}<200ms", "'p95{}<200ms' is not an SLO"),
        (
            "efficiency{large}>=8%",
            "SLO 'efficiency{large}>=8%': efficiency>=8% has no limits by kind; absolute",
        ),
        ("cpu_per_request{large}<8ms", "has no limits by kind"),
        ("p95{large}<8x", "p95<8x has no limits by kind"),
        ("p95{large}<=+5%", "p95<=+5% has no limits by kind"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Slo.parse(text)

    assert message in str(caught.value)


@given(st.text(max_size=30))
def test_no_text_is_more_than_an_error(text: str) -> None:
    try:
        slo = Slo.parse(text)
    except ConfigurationError:
        return
    assert math.isfinite(slo.limit)


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        ("rps>=100", "PASS", "rps is 100/s, 0/s below the limit (+0.0 %)"),
        ("rps>=100000", "FAIL", "rps is 100/s, 99900/s below the limit (-99.9 %)"),
        ("p95<=950ms", "PASS", "p95 is 950 ms"),
        ("p95<0.95s", "FAIL", "p95 is 0.95 s"),
        ("p50<=500ms", "PASS", "p50 is 500 ms"),
        ("p99.9<=999ms", "PASS", "p99.9 is 999 ms"),
        ("max<1000ms", "FAIL", "max is 1000 ms"),
        ("mean<501ms", "PASS", "mean is 500.5 ms"),
        ("errors<1%", "PASS", "errors is 0.9901%"),
        ("errors<0.5%", "FAIL", "errors is 0.9901%, 0.4901% above the limit (+98.0 %)"),
        ("efficiency>=60%", "PASS", "efficiency is 80%"),
        ("efficiency>=110%", "FAIL", "efficiency is 80%"),
        ("efficiency>=75%", "PASS", "efficiency is 80%, 5% above the limit"),
        ("rps>=0.6x", "PASS", "rps is 0.8x"),
        ("p95<130x", "PASS", "p95 is 105.6x"),
        ("p95<100x", "FAIL", "p95 is 105.6x, 5.556x above the limit"),
    ],
)
def test_a_verdict_says_by_how_much(text: str, verdict: str, reason: str) -> None:
    found, why = judged(text)

    assert (verdict, reason) == (found, reason if reason in why else why)


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"aborted": "the server died"}, "FAIL", "the server died"),
        ({"invalid": "the generator was busy"}, "INVALID", "the generator was busy"),
        ({"incomplete": "interrupted"}, "INCONCLUSIVE", "interrupted"),
        ({"latencies": Latencies.of(np.empty(0))}, "FAIL", "no successful request in the window"),
        (
            {"latencies": Latencies.of(np.ones(19))},
            "INCONCLUSIVE",
            "19 requests are too few for p95, it needs 20",
        ),
        ({"latencies": Latencies.of(np.ones(20))}, "PASS", "p95 is 1 ms"),
    ],
)
def test_figures_that_cannot_be_believed_are_not_judged(
    changes: dict[str, Any], verdict: str, reason: str
) -> None:
    found, why = judged("p95<100ms", **changes)

    assert verdict == found
    assert reason in why


def test_a_relative_slo_without_a_bare_session_is_not_judged() -> None:
    found, why = judged("efficiency>=1%", baseline=None)

    assert (found, why) == (Verdict.NOT_JUDGED, "the in-process baseline was not measured here")


@given(
    st.lists(st.floats(0.01, 1e6), min_size=1, max_size=300),
    st.floats(0.1, 99.9).map(lambda percentile: round(percentile, 1)),
)
def test_percentiles_are_the_nearest_rank(latencies: list[float], percentile: float) -> None:
    result = replace(RESULT, latencies=Latencies.of(np.array(latencies)))
    expected = np.percentile(latencies, percentile, method="inverted_cdf")

    assert result.percentile_ms(percentile) == pytest.approx(expected, rel=1e-12)


def test_the_worst_verdict_decides() -> None:
    assert Verdict.worst([Verdict.PASS, Verdict.FAIL, Verdict.INVALID]) == Verdict.FAIL
    assert Verdict.worst([Verdict.PASS, Verdict.INCONCLUSIVE]) == Verdict.INCONCLUSIVE
    assert Verdict.worst([]) == Verdict.NOT_JUDGED


@pytest.mark.parametrize(
    ("per_cent", "text"),
    [(120.4, "+120"), (-9.96, "-10"), (9.2, "+9.2"), (0.04, "+0.04"), (0.001, "+0.0"), (0.0, "+0.0")],
)
def test_a_change_has_as_many_digits_as_it_takes(per_cent: float, text: str) -> None:
    assert signed(per_cent) == text
