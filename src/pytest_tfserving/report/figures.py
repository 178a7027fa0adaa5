"""How figures are written in tables, whatever the table is made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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


def measured_texts(
    metrics: Mapping[str, float | None],
    intervals: Mapping[str, Sequence[float]],
    effective: Mapping[str, float],
) -> list[str]:
    """Every figure that there is, each as `measured_text`."""
    return [text for name in _MEASURED if (text := measured_text(name, metrics, intervals, effective))]


def stage_text(stage: Mapping[str, Any]) -> tuple[str, str]:
    """Which part of a run a stage was, and its figures."""
    title = f"{figure(stage['start_s'])} s to {figure(stage['end_s'])} s, load {figure(stage['level'])}"
    failed = stage["errors"] / stage["requests"] if stage["requests"] else None
    metrics = {**{name: stage.get(name) for name in _STAGE_FIGURES}, "error_rate": failed}
    texts = [measured_text(name, metrics, stage["intervals"], {}) for name in (*_STAGE_FIGURES, "error_rate")]
    return title, ", ".join(filter(None, texts))


_STAGE_FIGURES = ("rps", "p50_ms", "p95_ms", "p99_ms")


def reasons(result: Mapping[str, Any]) -> list[str]:
    """What a result's verdict rests on, where it is not PASS."""
    cause = result["aborted"] or result["invalid"] or result["incomplete"] or result["not_judged"]
    if cause:
        return [cause]
    if not result["slos"]:
        return ["no SLO for this target"]
    missed = [each for each in result["slos"] if each["verdict"] not in ("PASS", "NOT JUDGED")]
    return list(dict.fromkeys(f"{each['verdict']}: {each['slo']}: {each['reason']}" for each in missed))


_ROLES = {"cheapest": "as cheap", "fastest": "as fast"}


def roles(document: Mapping[str, Any], name: str) -> str:
    """What a configuration is best at, or as good as the best as far as the data tell; or unbeaten."""
    choice = document["recommendation"]
    chosen = {role: choice[role] for role in _ROLES if choice[role]}
    found = [role for role, best in chosen.items() if best["name"] == name]
    found += [_ROLES[role] for role, best in chosen.items() if name in best["ties"]]
    unbeaten = name in (*choice["front_rps"], *choice["front_p95"])
    return ", ".join(found) or ("unbeaten" if unbeaten else "")
