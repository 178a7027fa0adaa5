"""The limits of single requests, as a load profile has them."""

from __future__ import annotations

import math

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.slo.request_limits import RequestLimits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("200ms", "200ms"),
        (" 0.2 s ", "200ms"),
        ({"large": "400ms", "*": "200ms"}, "large: 400ms, *: 200ms"),
        ("large: 400ms, 200ms", "large: 400ms, *: 200ms"),
        ({"a:b": "1500us"}, "a:b: 1.5ms"),
        ("", ""),
    ],
)
def test_limits_are_read_and_written(value: object, text: str) -> None:
    found = RequestLimits.parse(value)

    assert str(found) == text
    assert RequestLimits.parse(str(found)) == found


def test_each_kind_has_its_limit() -> None:
    by_kind = RequestLimits.parse({"large": "400ms", "*": "200ms"})
    one = RequestLimits.parse("large: 400ms")

    assert [by_kind.of(kind) for kind in ("large", "small", "")] == [400, 200, 200]
    assert [one.of(kind) for kind in ("large", "small")] == [400, math.inf]
    assert not RequestLimits()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (200, "request_limits is 200ms, or by kind {large: 400ms, '*': 200ms}, not 200."),
        ("200", "'200' is not a latency of more than 0 with its unit; write 200ms, or by kind"),
        ({"large": 400}, "400 is not a latency of more than 0 with its unit"),
        ("0ms", "'0ms' is not a latency of more than 0"),
        ("1.2.3ms", "'1.2.3ms' is not a latency"),
        ({3: "1ms"}, "3 is not the name of a kind of requests"),
        ("a: 1ms, a: 2ms", "has two limits for one kind"),
    ],
)
def test_a_wrong_limit_is_one_sentence(value: object, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        RequestLimits.parse(value)

    assert message in str(error.value)


def test_a_profile_takes_them_as_a_text_or_by_kind() -> None:
    profile = LoadProfile("p", run_time_s=60, users=1)
    limited = profile.with_overrides({"request_limits": {"large": "1s"}})

    assert "request_limits" not in profile.as_fields()
    assert limited.as_fields()["request_limits"] == "large: 1000ms"
    assert limited.expected.request_limits.of("large") == 1000


def test_a_spike_has_one_fall() -> None:
    spike = LoadProfile("p", run_time_s=60, rate=100, shape="spike 10:100").expected

    assert [(fall.at_s, fall.until_s) for fall in spike.falls] == [(40, 60)]
    assert LoadProfile("p", run_time_s=60, shape="steps 1:8:x2").expected.falls == ()


def test_load_falls_back_from_each_peak_of_a_day() -> None:
    day = LoadProfile("p", run_time_s=60, rate=60, shape="day 30:10:60:50:20:40").expected

    assert [(fall.at_s, fall.until_s) for fall in day.falls] == [(30, 40)]
