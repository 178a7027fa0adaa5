"""Format of figures, the same in all tables."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_tfserving.slo.language import full_reason, signed
from pytest_tfserving.slo.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfserving.report.schema import (
        Intervals,
        JudgedData,
        JudgementData,
        KindData,
        Metrics,
        PricedParts,
        ProbeData,
        RunRecordData,
        SampleSizes,
        StageData,
    )
    from pytest_tfserving.slo.metrics import Metric

# A smaller fraction has too few digits as per cent.
_FEW = 0.001


def figure(value: float | None) -> str:
    """Format a number in six columns: three significant digits, or all digits of a larger whole number."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def percent(fraction: float | None) -> str:
    """Format a fraction as per cent; a fraction above 0 is never rounded to 0."""
    if fraction is None or not math.isfinite(fraction):
        return "-"
    if 0 < fraction < _FEW:
        return "<0.1%"
    return f"{100 * fraction:.3g}%"


def _end_in_percent(fraction: float) -> str:
    """Format an end of an interval as per cent, small ends with two digits: they have to differ."""
    return f"{100 * fraction:.2g}%" if 0 < fraction < _FEW else percent(fraction)


def usd(value: float | None) -> str:
    """Format US dollars to the cent; amounts below ten cents with two significant digits."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"  # noqa: PLR2004 - ten cents


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """Format a figure with its interval: ``148 [141, 156]``."""
    if value is None or not interval:
        return figure(value)
    return f"{figure(value)} {with_brackets(interval)}"


def percent_with_interval(fraction: float | None, interval: Sequence[float] | None) -> str:
    """Format a fraction with its interval: ``2% [1.3%, 2.9%]``."""
    if fraction is None or not interval:
        return percent(fraction)
    return f"{percent(fraction)} [{_end_in_percent(interval[0])}, {_end_in_percent(interval[1])}]"


def with_brackets(interval: Sequence[float]) -> str:
    """Format an interval: ``[141, 156]``."""
    return f"[{figure(interval[0])}, {figure(interval[1])}]"


def change_text(change: float | None, *, is_ratio: bool) -> str:
    """Format a change: ``+3.2 %`` of a ratio, ``+0.5 points`` of a difference of shares."""
    return f"{_per_cent(change)} {'%' if is_ratio else 'points'}" if _is_known(change) else "-"


def change_with_interval(change: float | None, interval: Sequence[float | None], *, is_ratio: bool) -> str:
    """Format a change with its interval, as verdicts do: ``+3.2 % [-1.1, +7.6]``."""
    low, high = map(_per_cent, interval)
    return f"{change_text(change, is_ratio=is_ratio)} [{low}, {high}]"


def smallest_text(change: float | None, *, is_ratio: bool) -> str:
    """Format the smallest change that a comparison could have seen: ``4.7 %``."""
    return change_text(change, is_ratio=is_ratio).lstrip("+")


def _per_cent(change: float | None) -> str:
    """Format a change as per cent with its sign."""
    return "-" if change is None or not math.isfinite(change) else signed(100 * change)


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines: their first and last columns aligned to the left, others to the right."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *middle, last in rows:
        right = [text.rjust(width) for text, width in zip(middle, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *right, last]).rstrip())
    return lines


def curve_lines(probes: Sequence[ProbeData], found: str) -> list[str]:
    """Return the curve of a search as lines of text, the smallest load first, then the result."""
    rows = [("load", "rps", "p95 ms", "holds")]
    for probe in sorted(probes, key=lambda each: each["load"]):
        rps = with_interval(probe["rps"], probe["rps_interval"])
        p95 = with_interval(probe["p95_ms"], probe["p95_interval"])
        rows.append((figure(probe["load"]), rps, p95, "yes" if probe["holds"] else "no"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[text.rjust(width) for text, width in zip(row, widths, strict=True)] for row in rows]
    return [*("  ".join(row) for row in cells), found]


def columns() -> list[Metric]:
    """Return the metrics that tables have a column of."""
    return [each for each in METRICS.values() if each.column]


def columns_of(results: Sequence[JudgedData]) -> list[Metric]:
    """Return the metrics that a table of results has a column of, without optional ones that none has."""
    return [
        each
        for each in columns()
        if not each.is_optional or any(_is_known(result["metrics"].get(each.key)) for result in results)
    ]


def written(metric: Metric, value: float | None) -> str:
    """Return the figure of a metric as text: fractions in per cent."""
    return percent(value) if metric.is_fraction else figure(value)


def named(metric: Metric) -> str:
    """Return the name of a metric with the unit of its figures."""
    return f"{metric.label}{' ms' if metric.is_in_ms else ''}"


def written_with_interval(metric: Metric, value: float | None, interval: Sequence[float] | None) -> str:
    """Return the figure of a metric with its interval."""
    return (percent_with_interval if metric.is_fraction else with_interval)(value, interval)


def measured_text(
    metric: Metric,
    metrics: Metrics,
    intervals: Intervals,
    n_eff: SampleSizes,
) -> str:
    """Format a metric: ``p95 210 [201, 224] n_eff 310``, without unknown parts; empty without a figure."""
    name = metric.key
    value = metrics.get(name)
    if value is None or not math.isfinite(value):
        return ""
    size = f" n_eff {figure(n_eff[name])}" if name in n_eff and name in intervals else ""
    return f"{metric.label} {written_with_interval(metric, value, intervals.get(name))}{size}"


def all_measured(
    metrics: Metrics,
    intervals: Intervals,
    n_eff: SampleSizes,
) -> list[str]:
    """Return the text of every figure that has an interval."""
    known = [each for each in METRICS.values() if each.key in intervals]
    return [measured_text(each, metrics, intervals, n_eff) for each in known]


def measured_cells(
    metrics: Metrics, intervals: Intervals, n_eff: SampleSizes
) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield, for every known figure, its name, and its value, interval and effective sample size."""
    for metric in METRICS.values():
        value, interval = metrics.get(metric.key), intervals.get(metric.key)
        if value is None or not math.isfinite(value) or not metric.has_interval:
            continue
        ends = f"{written(metric, interval[0])} to {written(metric, interval[1])}" if interval else "-"
        yield named(metric), (written(metric, value), ends, figure(n_eff.get(metric.key)))


def numbers(values: Mapping[str, object]) -> dict[str, float]:
    """Return the numbers among the values of a part of a document."""
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def stage_text(stage: StageData) -> tuple[str, str]:
    """Return a stage's time and load, and its figures."""
    title = f"{figure(stage['start_s'])} s to {figure(stage['end_s'])} s, load {figure(stage['level'])}"
    failed = stage["errors"] / stage["requests"] if stage["requests"] else None
    metrics = {**numbers(stage), METRICS["errors"].key: failed}
    texts = [measured_text(each, metrics, stage["intervals"], {}) for each in part_metrics()]
    return title, ", ".join(filter(None, texts))


def kind_text(name: str, kind: KindData) -> str:
    """Return the name of a kind of requests, and its figures."""
    metrics = _kind_metrics(kind)
    texts = [measured_text(each, metrics, kind["intervals"], {}) for each in part_metrics()]
    return f"{name}: {', '.join(filter(None, texts)) or _NO_REQUESTS}"


def kind_cells(kind: KindData) -> list[str]:
    """Return the figures of a kind of requests, a cell for each of `part_metrics`."""
    metrics, intervals = _kind_metrics(kind), kind["intervals"]
    return [
        written_with_interval(each, metrics.get(each.key), intervals.get(each.key)) for each in part_metrics()
    ]


def _kind_metrics(kind: KindData) -> Metrics:
    """Return the metrics of a kind that mean something: none of a kind without requests.

    Its error rate is 1, so that no SLO on errors passes by accident.
    """
    return kind["metrics"] if kind["errors"] or kind["distribution"] else {}


def part_metrics() -> list[Metric]:
    """Return the metrics that reports have of a part of the requests, as those of a stage or of a kind."""
    return [METRICS[name] for name in _PART_FIGURES]


def open_loop_rates(result: JudgedData) -> str:
    """Return the rates of an open loop: asked for, due, sent and answered; empty for a closed loop."""
    adherence, asked = result["arrivals"], result["profile"].get("rate")
    if not (adherence and asked):
        return ""
    rates = {
        "due": adherence["due_rps"],
        "sent": adherence["sent_rps"],
        "answered": result["metrics"]["rps"],
    }
    in_window = ", ".join(f"{figure(rate)} {what}" for what, rate in rates.items())
    late = {"p50": adherence["delay_p50_ms"], "p99": adherence.get("delay_p99_ms")}
    sent = ", ".join(
        f"{name} {figure(delay_ms)} ms" for name, delay_ms in late.items() if figure(delay_ms) != "-"
    )
    return f"{figure(asked)} requests a second asked for; in the window {in_window}; sent late by {sent}"


_MOST_LEVELS = 8
_NO_REQUESTS = "no requests"
_PART_FIGURES = ("rps", "p50", "p95", "p99", "errors")


def load_reached(record: RunRecordData) -> str:
    """Return the load that a run reached, in words."""
    processes = record["processes"]
    fewest, most = min(processes, default=0), max(processes, default=0)
    parts = [f"{_levels(record['reached'])} {record['unit']}"]
    if record["to_record"] >= 0:
        parts.append(f"{record['to_record']} requests sent or due, {record['recorded']} recorded")
    heard = f"{most} load process{'' if most == 1 else 'es'}"
    parts.append(heard if fewest == most else f"{heard}, at times {fewest}")
    return "; ".join(parts)


def _levels(values: Sequence[float]) -> str:
    """Return the levels one after the other if they are few, else the lowest and the highest."""
    levels = [value for value, _ in groupby(values)]
    if len(levels) > _MOST_LEVELS:
        return f"{figure(min(levels))} to {figure(max(levels))}"
    return ", ".join(map(figure, levels)) or "no"


def reasons(result: JudgedData) -> list[str]:
    """Return the causes of a verdict, the warnings of its run, and the verdicts before a rerun."""
    before = [
        f"measured again for a test that was rerun; before: {each}" for each in result.get("earlier", ())
    ]
    return [*causes(result), *result.get("warnings", ()), *before]


def causes(result: JudgedData) -> list[str]:
    """Return the causes of a verdict."""
    cause = result["aborted"] or result["invalid"] or result["incomplete"] or result["not_judged"]
    if cause:
        return [cause]
    failed = [f"{each['verdict']}: {each['test']}: {each['text']}" for each in result.get("assertions", ())]
    if not result["slos"]:
        return failed or ["no SLO for this target; only its tests' own assertions judge it"]
    missed = [each for each in result["slos"] if each["verdict"] not in ("PASS", "NOT JUDGED")]
    texts = [f"{each['verdict']}: {each['slo']}: {slo_reason(each)}" for each in missed]
    return [*failed, *dict.fromkeys(texts)]


def slo_reason(slo: JudgementData) -> str:
    """Return the reason of the verdict on an SLO."""
    return full_reason(slo["reason"], strict=slo["strict"])


def shows_costs(document: PricedParts) -> bool:
    """Return whether a report shows costs: if several configurations have one, or costs were asked for."""
    priced = [each for each in document["results"] if each["cost"]]
    return bool(priced) and (len(priced) > 1 or document["prices"].get("asked", False))


_ROLES = {"cheapest": "as cheap", "fastest": "as fast"}


def roles(document: PricedParts, name: str) -> str:
    """Return the roles of a configuration: cheapest, fastest, as cheap, as fast, or else unbeaten."""
    choice = document["recommendation"]
    best_of = {"cheapest": choice["cheapest"], "fastest": choice["fastest"]}
    chosen = {role: best for role, best in best_of.items() if best}
    found = [role for role, best in chosen.items() if best["name"] == name]
    found += [_ROLES[role] for role, best in chosen.items() if name in best["ties"]]
    unbeaten = name in (*choice["front_rps"], *choice["front_p95"])
    return ", ".join(found) or ("unbeaten" if unbeaten else "")
