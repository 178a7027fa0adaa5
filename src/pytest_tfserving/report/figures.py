"""How figures are written in tables, whatever the table is made of."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pytest_tfserving.slo import full_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def figure(value: float | None) -> str:
    """A number in six columns: three digits that count, or all of its whole ones."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def percent(fraction: float | None) -> str:
    """A fraction as per cent, never rounded to 0 when it is not."""
    if fraction is None or not math.isfinite(fraction):
        return "-"
    if 0 < fraction < 0.001:  # noqa: PLR2004
        return "<0.1%"
    return f"{100 * fraction:.3g}%"


def usd(value: float | None) -> str:
    """US dollars to the cent, less than ten cents to two digits that count."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"  # noqa: PLR2004 - ten cents


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """``148 [141, 156]``."""
    if value is None or not interval:
        return figure(value)
    return f"{figure(value)} {with_brackets(interval)}"


def percent_with_interval(fraction: float | None, interval: Sequence[float] | None) -> str:
    """``2% [1.3%, 2.9%]``."""
    if fraction is None or not interval:
        return percent(fraction)
    return f"{percent(fraction)} [{percent(interval[0])}, {percent(interval[1])}]"


def with_brackets(interval: Sequence[float]) -> str:
    """``[141, 156]``."""
    return f"[{figure(interval[0])}, {figure(interval[1])}]"


def curve_lines(probes: Sequence[Mapping[str, Any]], found: str) -> list[str]:
    """The curve of a search as lines of text, the smallest load first, and what was found."""
    rows = [("load", "rps", "p95 ms", "holds")]
    for probe in sorted(probes, key=lambda each: each["load"]):
        rps = with_interval(probe["rps"], probe["rps_interval"])
        p95 = with_interval(probe["p95_ms"], probe["p95_interval"])
        rows.append((figure(probe["load"]), rps, p95, "yes" if probe["holds"] else "no"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[text.rjust(width) for text, width in zip(row, widths, strict=True)] for row in rows]
    return [*("  ".join(row) for row in cells), found]


# The metrics that have intervals, by name: as tables call them, and whether they are fractions.
_MEASURED = {
    "rps": ("rps", False),
    "p50_ms": ("p50", False),
    "p75_ms": ("p75", False),
    "p90_ms": ("p90", False),
    "p95_ms": ("p95", False),
    "p99_ms": ("p99", False),
    "p99_9_ms": ("p99.9", False),
    "mean_ms": ("mean", False),
    "error_rate": ("errors", True),
    "efficiency": ("eff.", True),
    "cpu_per_request_ms": ("CPU a request", False),
}


def measured_text(
    name: str,
    metrics: Mapping[str, float | None],
    intervals: Mapping[str, Sequence[float]],
    effective: Mapping[str, float],
) -> str:
    """``p95 210 [201, 224] n_eff 310``, without what is not known; empty where the figure is not."""
    called, is_fraction = _MEASURED[name]
    value = metrics.get(name)
    if value is None or not math.isfinite(value):
        return ""
    written = percent_with_interval if is_fraction else with_interval
    told = f" n_eff {figure(effective[name])}" if name in effective and name in intervals else ""
    return f"{called} {written(value, intervals.get(name))}{told}"


def all_measured(
    metrics: Mapping[str, float | None],
    intervals: Mapping[str, Sequence[float]],
    effective: Mapping[str, float],
) -> list[str]:
    """The text of every figure that has an interval."""
    return [measured_text(name, metrics, intervals, effective) for name in _MEASURED if name in intervals]


def measured_cells(
    metrics: Mapping[str, Any], intervals: Mapping[str, Sequence[float]], effective: Mapping[str, float]
) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Of every figure that there is: its name; its value, its interval, its effective size."""
    for name, (called, is_fraction) in _MEASURED.items():
        value, interval = metrics.get(name), intervals.get(name)
        if value is None or not math.isfinite(value):
            continue
        unit = " ms" if name.endswith("_ms") else ""
        written = percent if is_fraction else figure
        between = f"{written(interval[0])} to {written(interval[1])}" if interval else "-"
        yield f"{called}{unit}", (written(value), between, figure(effective.get(name)))


def stage_text(stage: Mapping[str, Any]) -> tuple[str, str]:
    """Which part of a run a stage was, and its figures."""
    title = f"{figure(stage['start_s'])} s to {figure(stage['end_s'])} s, load {figure(stage['level'])}"
    failed = stage["errors"] / stage["requests"] if stage["requests"] else None
    metrics = {**{name: stage.get(name) for name in _STAGE_FIGURES}, "error_rate": failed}
    texts = [measured_text(name, metrics, stage["intervals"], {}) for name in (*_STAGE_FIGURES, "error_rate")]
    return title, ", ".join(filter(None, texts))


_MOST_LEVELS = 8
_STAGE_FIGURES = ("rps", "p50_ms", "p95_ms", "p99_ms")


def load_reached(record: Mapping[str, Any]) -> str:
    """Return what load a run reached, in words."""
    processes = record["processes"]
    fewest, most = min(processes, default=0), max(processes, default=0)
    parts = [f"{_levels(record['reached'])} {record['unit']}"]
    if record["to_record"] >= 0:
        parts.append(f"{record['to_record']} requests sent or due, {record['recorded']} recorded")
    heard = f"{most} load process{'' if most == 1 else 'es'}"
    parts.append(heard if fewest == most else f"{heard}, at times {fewest}")
    return "; ".join(parts)


def _levels(values: Sequence[float]) -> str:
    """The levels one after the other where they are few, else the lowest and the highest."""
    levels = [value for value, _ in groupby(values)]
    if len(levels) > _MOST_LEVELS:
        return f"{figure(min(levels))} to {figure(max(levels))}"
    return ", ".join(map(figure, levels)) or "no"


def reasons(result: Mapping[str, Any]) -> list[str]:
    """Return what a verdict rests on, what figures are to be read with, and what it was before a rerun."""
    before = [
        f"measured again for a test that was rerun; before: {each}" for each in result.get("earlier", ())
    ]
    return [*_causes(result), *result.get("warnings", ()), *before]


def _causes(result: Mapping[str, Any]) -> list[str]:
    cause = result["aborted"] or result["invalid"] or result["incomplete"] or result["not_judged"]
    if cause:
        return [cause]
    if not result["slos"]:
        return ["no SLO for this target"]
    missed = [each for each in result["slos"] if each["verdict"] not in ("PASS", "NOT JUDGED")]
    texts = [f"{each['verdict']}: {each['slo']}: {slo_reason(each)}" for each in missed]
    return list(dict.fromkeys(texts))


def slo_reason(slo: Mapping[str, Any]) -> str:
    """Return what the verdict on an SLO rests on."""
    return full_reason(slo["reason"], strict=slo["strict"])


_ROLES = {"cheapest": "as cheap", "fastest": "as fast"}


def roles(document: Mapping[str, Any], name: str) -> str:
    """What a configuration is best at, or as good as the best as far as the data tell; or unbeaten."""
    choice = document["recommendation"]
    chosen = {role: choice[role] for role in _ROLES if choice[role]}
    found = [role for role, best in chosen.items() if best["name"] == name]
    found += [_ROLES[role] for role, best in chosen.items() if name in best["ties"]]
    unbeaten = name in (*choice["front_rps"], *choice["front_p95"])
    return ", ".join(found) or ("unbeaten" if unbeaten else "")
