"""The metrics that SLOs limit: a row for each, with all that verdicts and reports need."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES, percentile_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_tfserving.slo.sequential_tests import SeriesSet, SloTest

_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d+)?)")
# Per cent.
_ALL = 100


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as users write it.

    Attributes:
        text: as in ``"p95<200ms"``; empty for a number without a unit.
        factor: the value of one such unit in the metric's own unit.
    """

    text: str
    factor: float


# A multiple of the in-process baseline's figure, on the same cores at the same time.
RELATIVE = Unit("x", 1.0)
# A change against the baseline server, in per cent; of a metric that is a fraction, in percentage points.
CHANGE = Unit("%", 0.01)
_TIMES = {"us": Unit("us", 0.001), "ms": Unit("ms", 1.0), "s": Unit("s", 1000.0)}
_LATENCY = MappingProxyType({**_TIMES, "x": RELATIVE})
_RATE = MappingProxyType({"": Unit("", 1.0), "/s": Unit("/s", 1.0), "x": RELATIVE})
_FRACTION = MappingProxyType({"%": Unit("%", 0.01)})
_CPU_TIME = MappingProxyType(_TIMES)


class Source(Enum):
    """The measurement besides the requests that a metric needs."""

    NOTHING = auto()
    BASELINE = auto()
    CPU = auto()
    REQUEST_LIMITS = auto()
    FALLS = auto()


class Disturbance(Enum):
    """The effect of a load generator that runs late on a metric."""

    NONE = auto()
    LOWERS_RATE = auto()
    ADDS_FAILURES = auto()
    ADDS_LATENCY = auto()
    SPOILS_REQUESTS = auto()
    DELAYS_RECOVERY = auto()


class Figures(Protocol):
    """The part of a result that metrics are read from; an unknown figure is NaN."""

    @property
    def rps(self) -> float: ...  # noqa: D102 - see Result
    @property
    def error_rate(self) -> float: ...  # noqa: D102 - see Result
    @property
    def mean_ms(self) -> float: ...  # noqa: D102 - see Result
    @property
    def max_ms(self) -> float: ...  # noqa: D102 - see Result
    @property
    def efficiency(self) -> float: ...  # noqa: D102 - see Result
    @property
    def cpu_per_request_ms(self) -> float: ...  # noqa: D102 - see Result
    @property
    def goodput(self) -> float: ...  # noqa: D102 - see Result
    @property
    def recovery_ms(self) -> float: ...  # noqa: D102 - see Result
    def percentile_ms(self, percentile: float) -> float:
        """Return the latency in ms that ``percentile`` % of the successes do not exceed."""
        ...


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that a sequential test is made for.

    Attributes:
        value: in the metric's own unit, in multiples of the in-process baseline, or the change that is
            allowed against the baseline server, as 0.05.
        relative: whether it is a multiple of the in-process baseline.
        at_limit_counts: whether a value that equals the limit misses it.
        noise_memory_s: longest time in seconds for which the machine's speed remembers.
        shared: the series that all tests of one window share.
        slice_s: the seconds after which load goes to the other one of two servers; 0 with one server.
    """

    value: float
    relative: bool
    at_limit_counts: bool
    noise_memory_s: float
    shared: SeriesSet
    slice_s: float = 0.0


def _never(_: float) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric, with all that verdicts and reports need.

    Attributes:
        name: as in an SLO, ``p95``.
        key: the name in results, in the JSON and in JUnit properties, with the unit: ``p95_ms``.
        label: the name in texts and in tables.
        units: the units that a limit may have, by their text.
        read: returns the value from a result, in its own unit: ms, requests a second, or a fraction of 1.
        test: returns the sequential test; None for a limit that every value meets or misses.
        change_test: returns the sequential test of a change against the baseline server; None if the metric
            has no such limits.
        window_test: returns the test of one window of an SLO with ``every``; None if the metric has none.
        higher_is_better: whether a limit is a least value.
        worse: a word for a server with a worse value.
        needs: the measurement besides the requests that the metric needs.
        disturbance: the effect of a load generator that runs late on the metric.
        whole_run: whether only the whole run can prove that a limit, in the metric's own unit, is met.
        has_interval: whether results have a 95 % interval of the metric.
        column: heading of the metric's column in reports; empty without a column.
        is_optional: whether a table has the column only if one of its results has the metric.
        terminal_width: width of the column in the terminal's table; 0 without a column.
    """

    name: str
    key: str
    label: str
    units: Mapping[str, Unit]
    read: Callable[[Figures], float]
    test: Callable[[Limit], SloTest | None]
    change_test: Callable[[Limit], SloTest] | None = None
    window_test: Callable[[Limit], SloTest] | None = None
    higher_is_better: bool = False
    worse: str = "slower"
    needs: Source = Source.NOTHING
    disturbance: Disturbance
    whole_run: Callable[[float], bool] = _never
    has_interval: bool = True
    column: str = ""
    is_optional: bool = False
    terminal_width: int = 0

    @property
    def is_fraction(self) -> bool:
        """True if the metric is written in per cent."""
        return self.units is _FRACTION

    @property
    def is_in_ms(self) -> bool:
        """True if the metric's own unit is a millisecond."""
        return self.key.endswith("_ms")


def _percentile_test(percentile: float) -> Callable[[Limit], SloTest]:
    def test(limit: Limit) -> SloTest:
        from pytest_tfserving.slo.sequential_tests import PercentileTest, latencies_of

        return PercentileTest(
            percentile,
            limit.value,
            latencies_of(relative=limit.relative),
            limit.shared,
            at_limit_counts=limit.at_limit_counts,
        )

    return test


def _percentile_count(percentile: float) -> Callable[[Limit], SloTest]:
    def test(limit: Limit) -> SloTest:
        from pytest_tfserving.slo.counts import CountTest, over_limit

        return CountTest(1 - percentile / 100, over_limit(limit.value, at_limit_counts=limit.at_limit_counts))

    return test


def _mean_test(limit: Limit) -> SloTest:
    from pytest_tfserving.slo.sequential_tests import MeanTest, latencies_of

    return MeanTest(limit.value, latencies_of(relative=limit.relative), limit.shared)


def _max_test(limit: Limit) -> SloTest:
    from pytest_tfserving.slo.sequential_tests import NeverTest, any_beyond

    return NeverTest(any_beyond(limit.value, relative=limit.relative, at_limit_counts=limit.at_limit_counts))


def _errors_test(limit: Limit) -> SloTest | None:
    from pytest_tfserving.slo.sequential_tests import ErrorsTest, NeverTest, any_failed

    if limit.value <= 0:
        return NeverTest(any_failed)
    return ErrorsTest(limit.value) if limit.value < 1 else None


def _errors_count(limit: Limit) -> SloTest:
    from pytest_tfserving.slo.counts import CountTest
    from pytest_tfserving.slo.sequential_tests import NeverTest, any_failed

    if limit.value <= 0:
        return NeverTest(any_failed)
    return CountTest(limit.value, lambda window: window.failed)


def _goodput_count(limit: Limit) -> SloTest:
    from pytest_tfserving.slo.counts import CountTest
    from pytest_tfserving.slo.goodput import AllGoodTest, bad_requests

    return AllGoodTest() if limit.value >= 1 else CountTest(1 - limit.value, bad_requests, is_of_good=True)


def _goodput_test(limit: Limit) -> SloTest | None:
    from pytest_tfserving.slo.goodput import AllGoodTest, GoodputTest

    if limit.value == 1:
        return AllGoodTest()
    return GoodputTest(limit.value, limit.shared) if limit.value < 1 else None


def _rate_test(limit: Limit) -> SloTest:
    from pytest_tfserving.slo.open_loop import OfferedRateTest

    if limit.relative:
        return _efficiency_test(limit)
    return OfferedRateTest(limit.value, limit.noise_memory_s, limit.shared)


def _efficiency_test(limit: Limit) -> SloTest:
    from pytest_tfserving.slo.sequential_tests import PairedTest, baseline_pairs

    return PairedTest(limit.value, baseline_pairs, limit.noise_memory_s)


def _cpu_test(limit: Limit) -> SloTest:
    from pytest_tfserving.slo.sequential_tests import PairedTest, cpu_pairs

    return PairedTest(limit.value, cpu_pairs, limit.noise_memory_s)


def _percentile_change_test(percentile: float) -> Callable[[Limit], SloTest]:
    def test(limit: Limit) -> SloTest:
        from pytest_tfserving.slo.change_tests import PercentileChangeTest

        return PercentileChangeTest(percentile, 1 + limit.value, limit.noise_memory_s, limit.slice_s)

    return test


def _recovery_test(_: Limit) -> None:
    """Return None: the time after each fall of the load decides, in `slo.recovery`."""


def _errors_change_test(limit: Limit) -> SloTest:
    from pytest_tfserving.slo.change_tests import ErrorsChangeTest

    return ErrorsChangeTest(limit.value, limit.noise_memory_s)


def _ratio_change_test(name: str) -> Callable[[Limit], SloTest]:
    def test(limit: Limit) -> SloTest:
        from pytest_tfserving.slo.change_tests import pairs_of, typical_sd
        from pytest_tfserving.slo.sequential_tests import PairedTest

        typical = typical_sd(limit.slice_s)
        return PairedTest(1 + limit.value, pairs_of(name), limit.noise_memory_s, typical)

    return test


def _percentile(percentile: float, *, terminal_width: int = 0) -> Metric:
    name = f"p{percentile:.10g}"
    return Metric(
        name=name,
        key=percentile_key(percentile),
        label=name,
        units=_LATENCY,
        read=lambda figures: figures.percentile_ms(percentile),
        test=_percentile_test(percentile),
        change_test=_percentile_change_test(percentile),
        window_test=_percentile_count(percentile),
        disturbance=Disturbance.ADDS_LATENCY,
        has_interval=percentile in KEPT_PERCENTILES,
        column=name if terminal_width else "",
        terminal_width=terminal_width,
    )


_COLUMN_WIDTHS = {50.0: 5, 95.0: 6, 99.0: 6}
_ROWS = (
    Metric(
        name="rps",
        key="rps",
        label="rps",
        units=_RATE,
        read=lambda figures: figures.rps,
        test=_rate_test,
        window_test=_rate_test,
        change_test=_ratio_change_test("rps"),
        higher_is_better=True,
        disturbance=Disturbance.LOWERS_RATE,
        column="rps",
        terminal_width=6,
    ),
    *(_percentile(each, terminal_width=_COLUMN_WIDTHS.get(each, 0)) for each in KEPT_PERCENTILES),
    Metric(
        name="mean",
        key="mean_ms",
        label="mean",
        units=_LATENCY,
        read=lambda figures: figures.mean_ms,
        test=_mean_test,
        window_test=_mean_test,
        change_test=_ratio_change_test("mean"),
        disturbance=Disturbance.ADDS_LATENCY,
    ),
    Metric(
        name="max",
        key="max_ms",
        label="max",
        units=_LATENCY,
        read=lambda figures: figures.max_ms,
        test=_max_test,
        window_test=_max_test,
        disturbance=Disturbance.ADDS_LATENCY,
        whole_run=lambda _: True,
        has_interval=False,
    ),
    Metric(
        name="errors",
        key="error_rate",
        label="errors",
        worse="less reliable",
        units=_FRACTION,
        read=lambda figures: figures.error_rate,
        test=_errors_test,
        window_test=_errors_count,
        change_test=_errors_change_test,
        disturbance=Disturbance.ADDS_FAILURES,
        whole_run=lambda limit: limit == 0,
        column="errors",
        terminal_width=6,
    ),
    Metric(
        name="goodput",
        key="goodput",
        label="goodput",
        worse="less reliable",
        units=_FRACTION,
        read=lambda figures: figures.goodput,
        test=_goodput_test,
        window_test=_goodput_count,
        higher_is_better=True,
        needs=Source.REQUEST_LIMITS,
        disturbance=Disturbance.SPOILS_REQUESTS,
        whole_run=lambda limit: limit == 1,
        column="goodput",
        is_optional=True,
    ),
    Metric(
        name="efficiency",
        key="efficiency",
        label="eff.",
        units=_FRACTION,
        read=lambda figures: figures.efficiency,
        test=_efficiency_test,
        higher_is_better=True,
        needs=Source.BASELINE,
        disturbance=Disturbance.LOWERS_RATE,
        column="eff.",
        terminal_width=5,
    ),
    Metric(
        name="cpu_per_request",
        key="cpu_per_request_ms",
        label="CPU a request",
        worse="costlier in CPU",
        units=_CPU_TIME,
        read=lambda figures: figures.cpu_per_request_ms,
        test=_cpu_test,
        change_test=_ratio_change_test("cpu_per_request"),
        needs=Source.CPU,
        disturbance=Disturbance.NONE,
        column="CPU ms",
    ),
    Metric(
        name="recovery",
        key="recovery_ms",
        label="recovery",
        units=MappingProxyType(_TIMES),
        read=lambda figures: figures.recovery_ms,
        test=_recovery_test,
        needs=Source.FALLS,
        disturbance=Disturbance.DELAYS_RECOVERY,
        has_interval=False,
    ),
)
# All metrics but the percentiles that results do not keep, by name, in the order of the tables.
METRICS = {row.name: row for row in _ROWS}


def is_metric(name: str) -> bool:
    """Return whether a name is one of `METRICS` or a percentile between 0 and 100."""
    percentile = percentile_of(name)
    return name in METRICS or (percentile is not None and 0 < percentile < _ALL)


def metric_of(name: str) -> Metric:
    """Return the metric of a name, one of `METRICS` or any other percentile.

    Raises:
        ConfigurationError: for an unknown name, with the valid ones.
    """
    if name in METRICS:
        return METRICS[name]
    percentile = percentile_of(name)
    if percentile is None:
        valid = nearest(name, list(METRICS))
        raise ConfigurationError(f"{name!r} is not a metric; {valid}, or any other percentile.")
    if not 0 < percentile < _ALL:
        raise ConfigurationError(f"{name!r}: a percentile lies between 0 and 100, as p95 or p99.9.")
    return _percentile(percentile)


def percentile_of(name: str) -> float | None:
    """Return ``99.9`` for ``p99.9``, None for the name of a metric that is not a percentile."""
    match = _PERCENTILE.fullmatch(name)
    return float(match[1]) if match else None


def too_few(name: str, successes: int) -> str:
    """Return a sentence if there are too few ``successes`` for a percentile; else empty."""
    percentile = percentile_of(name)
    if percentile is None or percentile >= _ALL:
        return ""
    needed = math.ceil(round(_ALL / (_ALL - percentile), 6))
    return f"{successes} requests are too few for {name}, it needs {needed}" if successes < needed else ""
