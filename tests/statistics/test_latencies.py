"""Latencies in bounded memory: HdrHistograms that other tools read, exact values up to a number."""

from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfserving.statistics.histogram import DIGITS, HIGHEST_NS, PRECISION, Histogram
from pytest_tfserving.statistics.latencies import Collected, Latencies, nearest_rank
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES

LATENCIES_MS = st.lists(st.floats(1e-6, 3.6e6), min_size=1, max_size=200)


@given(LATENCIES_MS)
def test_the_official_library_reads_and_writes_the_same(latencies_ms: list[float]) -> None:
    theirs = HdrHistogram(1, HIGHEST_NS, DIGITS)
    for value in latencies_ms:
        theirs.record_value(round(value * 1e6))

    ours = Histogram.of(np.array(latencies_ms))

    assert ours.encoded() == theirs.encode().decode()
    read = HdrHistogram.decode(ours.encoded())
    assert read.get_total_count() == len(latencies_ms)
    assert read.get_value_at_percentile(50) == theirs.get_value_at_percentile(50)


@given(LATENCIES_MS, st.floats(0.1, 99.9))
def test_percentiles_of_a_histogram_are_within_its_precision(
    latencies_ms: list[float], percentile: float
) -> None:
    exact_ms = nearest_rank(np.sort(latencies_ms), percentile)

    # A nanosecond is the finest there is.
    assert Histogram.of(np.array(latencies_ms)).percentile_ms(percentile) == pytest.approx(
        exact_ms, rel=PRECISION, abs=1e-6
    )


@given(st.lists(LATENCIES_MS, min_size=1, max_size=5))
def test_merging_loses_nothing(parts: list[list[float]]) -> None:
    merged = Histogram.merged(Histogram.of(np.array(part)) for part in parts)

    assert merged.encoded() == Histogram.of(np.concatenate(parts)).encoded()


def test_what_is_read_back_is_the_same() -> None:
    histogram = Histogram.of(np.random.default_rng(1).lognormal(2, 2, 10_000))

    assert Histogram.decoded(histogram.encoded()).encoded() == histogram.encoded()
    assert len(Histogram.decoded(Histogram.of(np.empty(0)).encoded())) == 0


@pytest.mark.parametrize("text", ["", "cheese", "SElTVA==", HdrHistogram(1, 1000, 2).encode().decode()])
def test_what_is_no_such_histogram_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an HdrHistogram"):
        Histogram.decoded(text)


def test_an_hour_is_the_most() -> None:
    assert Histogram.of(np.array([1e9])).percentile_ms(50) == pytest.approx(3.6e6, rel=PRECISION)


def test_few_latencies_are_exact() -> None:
    values_ms = np.random.default_rng(2).lognormal(2, 1, 5000)
    latencies = Latencies.of(values_ms)

    np.testing.assert_array_equal(latencies.values_ms, np.sort(values_ms))
    for percentile in KEPT_PERCENTILES:
        assert latencies.percentile_ms(percentile) == nearest_rank(np.sort(values_ms), percentile)


def test_many_latencies_are_within_the_precision_and_take_bounded_memory() -> None:
    values_ms = np.random.default_rng(3).lognormal(2, 1, 50_000)
    collected = Collected(most_exact=20_000)
    for block in np.split(values_ms, 50):
        collected.add(block)
    latencies = collected.latencies()

    assert latencies.exact_ms is None
    assert len(latencies) == 50_000
    assert latencies.mean_ms == pytest.approx(values_ms.mean(), rel=1e-12)
    assert latencies.max_ms == values_ms.max()
    for percentile in KEPT_PERCENTILES:
        exact_ms = nearest_rank(np.sort(values_ms), percentile)
        assert latencies.percentile_ms(percentile) == pytest.approx(exact_ms, rel=PRECISION)
    assert len(latencies.values_ms) == 50_000
