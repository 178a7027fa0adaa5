"""SLOs in one line each: the value, the limit, and the margin between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfserving.slo.language import Slo, Verdict, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.report.schema import ResultData
    from pytest_tfserving.slo.language import Judgement

# From twice the limit on, a factor says more than a percentage.
_TWICE = 2.0
_NO_FRACTION = 9.95


def headline(judgements: Sequence[Judgement]) -> str:
    """Return the figure of the worst verdict and its limit: ``p95 is 1.218 ms, limit 0.2 ms (6.1 x)``."""
    worst = Verdict.worst(each.verdict for each in judgements)
    found = [each for each in judgements if each.verdict is worst]
    first = found[0]
    text = f"{_figure(first.slo, first.value)}, limit {limit_text(first.slo)}"
    # Pytest cuts the line in a terminal of 80 columns: another verdict says more than the margin.
    if worst is not Verdict.FAIL:
        text += f", {worst}"
    elif distance := _distance(first.slo, first.value):
        text += f" ({distance})"
    return text if len(found) == 1 else f"{text}, and {len(found) - 1} more"


def _figure(slo: Slo, value: float) -> str:
    if slo.against and not math.isnan(value):
        return f"{slo.subject} changed by {signed(value)} %"
    return f"{slo.subject} is {value_text(slo, value)}"


def slo_rows(result: ResultData) -> list[tuple[str, tuple[str, str, str, str]]]:
    """Return, for each SLO of a result, its verdict, and the SLO, its value, its limit and the margin.

    A limit on a change against a baseline server has a row with the metric's change.
    """
    rows: dict[str, tuple[str, tuple[str, str, str, str]]] = {}
    for each in result["slos"]:
        slo = Slo.parse(each["slo"], strict=each["strict"])
        value = math.nan if each["value"] is None else each["value"]
        if slo.against and result.get("comparison"):
            continue
        said = margin_text(slo, value) if slo.strict else f"{margin_text(slo, value)} (reported only)"
        shown = (slo.text, value_text(slo, value), f"limit {limit_text(slo)}", said.strip())
        rows[f"{slo.text} {slo.strict}"] = each["verdict"], shown
    return list(rows.values())


def value_text(slo: Slo, value: float) -> str:
    """Return a value in the unit of the SLO's limit; ``-`` if it is unknown."""
    return "-" if math.isnan(value) else slo.show(value)


def limit_text(slo: Slo) -> str:
    """Return the limit of an SLO with its unit."""
    return f"{slo.limit:+g} %" if slo.against else slo.show(slo.limit)


def margin_text(slo: Slo, value: float) -> str:
    """Return how far a value lies from its limit: ``95.4 % below``, ``6.1 x``; empty if it is unknown."""
    if math.isnan(value):
        return ""
    side = "above" if value > slo.limit else "below"
    if slo.against:
        return f"{abs(value - slo.limit):.3g} points {side}"
    if not slo.limit:
        return ""
    ratio = value / slo.limit
    return _factor(ratio) if ratio >= _TWICE else f"{100 * abs(ratio - 1):.3g} % {side}"


def _distance(slo: Slo, value: float) -> str:
    """Return the margin as a factor or with a sign, for a short sentence."""
    if math.isnan(value) or slo.against or not slo.limit:
        return ""
    ratio = value / slo.limit
    return _factor(ratio) if ratio >= _TWICE else f"{signed(100 * (ratio - 1))} %"


def _factor(ratio: float) -> str:
    return f"{ratio:.1f} x" if ratio < _NO_FRACTION else f"{ratio:.0f} x"
