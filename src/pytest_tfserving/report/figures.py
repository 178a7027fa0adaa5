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
    """``2% [1.3%, 2.9%]``; an interval of nothing but 0 is left out."""
    if not interval or not any(interval):
        return percent(fraction)
    return f"{percent(fraction)} [{percent(interval[0])}, {percent(interval[1])}]"


def with_brackets(interval: Sequence[float]) -> str:
    """``[141, 156]``."""
    return f"[{figure(interval[0])}, {figure(interval[1])}]"


def stage_text(stage: Mapping[str, float]) -> tuple[str, str]:
    """Which part of a run a stage was, and its figures."""
    title = f"{figure(stage['start_s'])} s to {figure(stage['end_s'])} s, load {figure(stage['level'])}"
    latencies = [f"{name} {figure(stage.get(f'{name}_ms'))} ms" for name in ("p50", "p95", "p99")]
    failed = percent(stage["errors"] / stage["requests"]) if stage["requests"] else "-"
    return title, ", ".join([f"rps {figure(stage['rps'])}", *latencies, f"errors {failed}"])


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
