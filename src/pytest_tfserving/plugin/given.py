"""Results as tests get them: they report which figures are read, and which figures rest on too few data."""

from __future__ import annotations

import math
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar, cast, overload

from pytest_tfserving.load.result import Result
from pytest_tfserving.measurement.search import SearchResult
from pytest_tfserving.slo.language import Decision, Verdict
from pytest_tfserving.slo.metrics import METRICS, Source, is_metric, metric_of, too_few
from pytest_tfserving.statistics.latencies import Latencies
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES, percentile_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from _typeshed import DataclassInstance

    from pytest_tfserving.slo.language import Judgement, Slo

    # Called with the figure that is read, and why it rests on too few data; empty if it does not.
    OnRead = Callable[[str, str], None]

# The dataclass of the value that reports reads.
Plain = TypeVar("Plain", bound="DataclassInstance")
Figure = TypeVar("Figure")
Default = TypeVar("Default")

_PERCENTILES = {percentile_key(each): f"p{each:g}" for each in KEPT_PERCENTILES}
# Figures of a result that are metrics of the SLO language, by their attributes.
_METRICS = {each.key: each.name for each in METRICS.values()}
_OTHER_FIGURES = (
    *("errors", "requests", "successes", "total_requests", "total_errors", "latencies", "latencies_ms"),
    *(
        "series",
        "slices",
        "stages",
        "kinds",
        "alternatives",
        "intervals",
        "arrivals",
        "cpu",
        "server",
        "server_findings",
    ),
    *("decided", "undecided"),
)
# Among fewer requests, one failure is more than the 1 % that is allowed by default.
_FEWEST_REQUESTS = 100


class _Given(Generic[Plain]):
    """A value that calls ``on_read`` with the name of each figure that is read from its source."""

    _figures: ClassVar[frozenset[str]] = frozenset()
    _source: Plain | None = None
    _on_read: OnRead | None = None
    # Values that report reads of their own figures, by attributes of the source.
    _parts: Mapping[str, object] = MappingProxyType({})

    @classmethod
    def reporting(cls, source: Plain, on_read: OnRead) -> Self:
        """Return the same value as ``source``, an instance of this class's base dataclass."""
        made: Callable[..., Self] = cls
        given = made(**{part.name: getattr(source, part.name) for part in fields(source)})
        object.__setattr__(given, "_source", source)
        object.__setattr__(given, "_on_read", on_read)
        return given

    def __getattribute__(self, name: str) -> object:
        own = object.__getattribute__
        if name not in own(self, "_figures") or own(self, "_source") is None:
            return own(self, name)
        own(self, "_note")(name)
        return own(self, "_parts").get(name) or getattr(own(self, "_source"), name)

    def _note(self, figure: str) -> None:
        __tracebackhide__ = True
        if self._on_read:
            self._on_read(figure, self._too_little(figure))

    def _too_little(self, figure: str) -> str:  # noqa: ARG002 - for subclasses
        return ""

    @property
    def _plain(self) -> Plain:
        """The value that does not report; a copy made by `dataclasses.replace` is such a value itself."""
        return cast("Plain", self) if self._source is None else self._source


class GivenResult(_Given[Result], Result):
    """The result of a run of load, as `load()` gives it to a test."""

    _figures = frozenset({*_METRICS, *_OTHER_FIGURES})

    @classmethod
    def reporting(cls, source: Result, on_read: OnRead) -> Self:
        """Return the same result, with stages and latencies that report reads too."""
        given = super().reporting(source, on_read)
        stages = [
            _GivenRow.of(row, f"stages[{index}]", row["requests"] - row["errors"], on_read)
            for index, row in enumerate(source.stages)
        ]
        alternatives = {
            name: _GivenRow.of(row, f"alternatives[{name!r}]", source.successes, on_read)
            for name, row in source.alternatives.items()
        }
        latencies = _GivenLatencies.reporting(source.latencies, on_read)
        object.__setattr__(
            given, "_parts", {"stages": stages, "alternatives": alternatives, "latencies": latencies}
        )
        return given

    def _too_little(self, figure: str) -> str:
        return too_little(self._plain, figure)

    def percentile_ms(self, percentile: float) -> float:
        """Return the nearest-rank percentile: the least latency that ``percentile`` % do not exceed."""
        self._note(f"p{percentile:.10g}")
        return Result.percentile_ms(self._plain, percentile)

    def metric(self, name: str) -> float:
        """Return a metric of the SLO language in its own unit: ms, requests a second, or a fraction."""
        self._note(name)
        return Result.metric(self._plain, name)

    def judge(self, slos: Sequence[Slo]) -> list[Judgement]:
        """Return the verdict on each of ``slos``."""
        self._note("judge")
        return Result.judge(self._plain, slos)

    def check(self, *metrics: str) -> None:
        """Judge every SLO of the experiment and of the test's mark; fail or skip the test accordingly.

        Args:
            metrics: judge only the SLOs of these metrics, as ``"rps"``, ``"efficiency"`` or ``"p95"``, and
                the SLO on errors.
        """
        __tracebackhide__ = True
        Result.check(self._plain, *metrics)

    def __repr__(self) -> str:
        return Result.__repr__(self._plain)


class _GivenLatencies(_Given[Latencies], Latencies):
    """The latencies of a result, which report the percentiles that are read."""

    def percentile_ms(self, percentile: float) -> float:
        """Return the nearest-rank percentile: the least latency that ``percentile`` % do not exceed."""
        __tracebackhide__ = True
        if self._on_read:
            metric = f"p{percentile:.10g}"
            self._on_read(f"latencies, {metric}", too_few(metric, len(self._plain)))
        return float(self._plain.percentile_ms(percentile))

    def named_percentiles(self) -> dict[str, float]:
        """Return the percentiles that every result has, by their names."""
        named = self._plain.named_percentiles()
        return _GivenRow.of(named, "latencies", len(self._plain), self._on_read) if self._on_read else named


class _GivenRow(dict[str, Figure]):
    """The figures of a part of a run with ``successes``; the row reports the percentiles that are read."""

    _where = ""
    _successes = 0
    _on_read: OnRead | None = None

    @classmethod
    def of(cls, row: Mapping[str, Figure], where: str, successes: int, on_read: OnRead) -> Self:
        """Return the same row; ``where`` is its place in the result."""
        given = cls(row)
        given._where, given._successes, given._on_read = where, successes, on_read
        return given

    def __getitem__(self, name: str) -> Figure:
        self._note(name)
        return super().__getitem__(name)

    @overload
    def get(self, name: str, default: None = None, /) -> Figure | None: ...

    @overload
    def get(self, name: str, default: Figure, /) -> Figure: ...

    @overload
    def get(self, name: str, default: Default, /) -> Figure | Default: ...

    def get(self, name: str, default: object = None, /) -> object:
        """Return the figure, or ``default``."""
        self._note(name)
        return super().get(name, default)

    def _note(self, name: str) -> None:
        __tracebackhide__ = True
        if self._on_read and name in _PERCENTILES:
            self._on_read(f"{self._where}.{name}", too_few(_PERCENTILES[name], self._successes))


class GivenSearchResult(_Given[SearchResult], SearchResult):
    """The outcome of a search, as `load.max_rps` gives it to a test."""

    _figures = frozenset({"knee", "confirmed", "probes", "curve", "table"})


def too_little(result: Result, figure: str) -> str:
    """Return why ``figure`` of a result rests on too few data, as `check` would; empty if it does not."""
    metric = _METRICS.get(figure, figure)
    if not is_metric(metric):
        return ""
    own = [slo for slo in result.slos if slo.metric == metric and not slo.is_of_part]
    judgements = result.judge([slo for slo in own if slo.strict])
    if undecided := [each for each in judgements if each.verdict is Verdict.INCONCLUSIVE]:
        return str(undecided[0])
    if any(isinstance(result.decision(slo), Decision) for slo in own):
        return ""
    if math.isnan(result.metric(metric)):
        return _unknown(result, metric)
    return too_few(metric, result.successes) or _without_interval(result, metric)


def _unknown(result: Result, metric: str) -> str:
    """Return why the figure is unknown."""
    if metric_of(metric).needs is not Source.NOTHING:
        return f"it is not known: {result.unknown(metric_of(metric))}"
    return "it is not known: no request succeeded in the window"


def _without_interval(result: Result, metric: str) -> str:
    """Return a sentence if there were too few requests for an interval; empty if ``metric`` never has one."""
    if metric == "errors":
        is_enough = result.requests >= _FEWEST_REQUESTS
    else:
        row = metric_of(metric)
        is_enough = not row.has_interval or row.key in result.intervals
    if is_enough:
        return ""
    return (
        f"{result.requests} requests in a window of {result.window.length_s:.1f} s are too few to tell "
        f"how far off {metric} is"
    )
