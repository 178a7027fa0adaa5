"""The report as Markdown, short enough for a comment on a pull request.

Text that others wrote stands in code spans, so that it cannot be markup, a link or a mention of a person.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from pytest_tfserving.report import comparison_text, server_comparison
from pytest_tfserving.report.formatting import (
    all_measured,
    columns_of,
    figure,
    kind_cells,
    named,
    open_loop_rates,
    part_metrics,
    reasons,
    shows_costs,
    usd,
    with_interval,
    written_with_interval,
)
from pytest_tfserving.report.judged_parts import part_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_tfserving.report.schema import ComparisonData, Document, ResultData, SearchData
    from pytest_tfserving.slo.metrics import Metric

_SIGNS = {"PASS": "✅", "FAIL": "❌", "INVALID": "❌", "INCONCLUSIVE": "⚠️", "NOT JUDGED": "⚪"}
_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~"})
_MOST_REASONS = 20


def markdown_text(document: Document) -> str:
    """Return verdicts, figures, cost, recommendation and comparison of a document as Markdown."""
    results, prices, comparison = document["results"], document["prices"], document["comparison"]
    lines = ["## Serving performance", ""]
    if results or not comparison:
        lines += [*_answer(document), *_figures(document), ""]
    lines += _kinds(results)
    lines += _parts(results)
    lines += [line for result in results for line in _server_comparison(result)]
    if comparison:
        lines += [*comparison_lines(comparison), ""]
    for search in document["searches"]:
        lines += [*_curve(search), ""]
    lines += _sizes(results)
    priced = f"Prices: {_code(prices['source'])}, {_code(prices['date'])}. " if shows_costs(document) else ""
    lines += [f"<sub>{priced}Brackets: 95 % confidence.</sub>"]
    return "\n".join(lines) + "\n"


def _answer(document: Document) -> list[str]:
    """Return the verdicts and the recommendation."""
    names = {result["label"] for result in document["results"]}
    sentence = _sentence(document["recommendation"]["sentence"], names)
    return [verdict_line(document), "", f"**{sentence}**", ""]


def _figures(document: Document) -> list[str]:
    """Return the table of figures, and below it the reasons of verdicts."""
    results = document["results"]
    shown = columns_of(results)
    figures = [_heading(each) for each in shown]
    if shows_costs(document):
        figures += [f"USD for {document['prices']['hours_a_month']:g} h a month", "USD a million"]
    lines = [f"| experiment | verdict | {' | '.join(figures)} |"]
    lines.append("|---|---|" + "--:|" * len(figures))
    lines += [_row(result, shown, has_cost=shows_costs(document)) for result in results]
    told = [
        f"- {_code(each['label'])}: {_code(text)}"
        for each in results
        for text in filter(None, (open_loop_rates(each), *reasons(each)))
    ]
    if told:
        lines += ["", *told[:_MOST_REASONS]]
    if len(told) > _MOST_REASONS:
        lines.append(f"- and {len(told) - _MOST_REASONS} more")
    return lines


def _kinds(results: Sequence[ResultData]) -> list[str]:
    """Return the table of figures by kind of requests; empty if no result has several kinds."""
    rows = [
        f"| {_code_in_table(result['label'])} | {_code_in_table(name)} | {' | '.join(kind_cells(kind))} |"
        for result in results
        for name, kind in result.get("kinds", {}).items()
    ]
    if not rows:
        return []
    head = part_metrics()
    lines = ["**By kind of request**", ""]
    lines.append(f"| experiment | kind | {' | '.join(map(named, head))} |")
    lines.append("|---|---|" + "--:|" * len(head))
    return [*lines, *rows, ""]


def _parts(results: Sequence[ResultData]) -> list[str]:
    """Return the parts of runs that do not meet the limits of SLOs on single parts; empty without one."""
    rows = [f"- {_code(result['label'])}: {_code(line)}" for result in results for line in part_lines(result)]
    return ["**By window**", "", *rows, ""] if rows else []


def comparison_lines(comparison: ComparisonData) -> list[str]:
    """Return the comparison with a stored run: limits first, then notes and all changes."""
    lines = [f"**{_text(comparison['sentence'])}**", ""]
    lines += [
        f"- {_SIGNS[each['verdict']]} {_code(comparison_text.limit_line(each))}"
        for each in comparison["limits"]
    ]
    lines += [f"- {_code(note)}" for note in comparison_text.notes(comparison)]
    heads = [text or "finding" for text in comparison_text.HEAD]
    lines += ["", f"| experiment | {' | '.join(heads)} |", "|---|---|--:|--:|--:|--:|---|"]
    lines += [
        f"| {_code_in_table(experiment['label'])} | {' | '.join(comparison_text.cells(change))} |"
        for experiment in comparison["experiments"]
        for change in comparison_text.shown_changes(experiment)
    ]
    return lines


def _server_comparison(result: ResultData) -> list[str]:
    """Return the comparison of a result with its baseline server; empty without one."""
    comparison = result.get("comparison")
    if not comparison:
        return []
    lines = [f"**{_code(result['label'])} against {_code(comparison['against'])}**", ""]
    lines += [f"| {' | '.join(server_comparison.HEAD)} |", "|---|--:|--:|--:|--:|---|"]
    for each in server_comparison.changed_metrics(result):
        verdict = f"{_SIGNS.get(each.verdict, '')} {each.verdict}".strip()
        lines.append(f"| {' | '.join(each.cells[:-1])} | {verdict} |")
    lines += ["", *(f"- {_code(each)}" for each in comparison["differences"][:_MOST_REASONS])]
    return [*lines, ""]


def verdict_line(document: Document) -> str:
    """Return ``12 PASS, 1 FAIL, 2 NOT JUDGED``, and whether the run was interrupted."""
    counts = Counter(result["verdict"] for result in document["results"])
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _SIGNS if counts[verdict])
    return f"{told} (incomplete: the run was interrupted)" if document["interrupted"] else told


def _heading(metric: Metric) -> str:
    """Return the heading of a column, with the unit of its figures."""
    return metric.column if metric.column.endswith(" ms") or not metric.is_in_ms else f"{metric.column} ms"


def _row(result: ResultData, shown: Sequence[Metric], *, has_cost: bool) -> str:
    metrics, intervals, cost = result["metrics"], result["intervals"], result["cost"]
    cells = [_code_in_table(result["label"]), f"{_SIGNS[result['verdict']]} {result['verdict']}"]
    if result["not_judged"] or not metrics["requests"]:
        cells += ["-"] * len(shown)
    else:
        cells += [
            written_with_interval(each, metrics.get(each.key), intervals.get(each.key)) for each in shown
        ]
    if has_cost:
        cells += [usd(cost["month_usd"]), usd(cost["million_usd"])] if cost else [usd(None)] * 2
    return f"| {' | '.join(cells)} |"


def _sizes(results: Sequence[ResultData]) -> list[str]:
    """Return every figure with its interval and effective sample size, in a folded section."""
    measured = [each for each in results if not each["not_judged"] and each["n_eff"]]
    if not measured:
        return []
    lines = ["<details><summary>Intervals and effective sample sizes (n_eff)</summary>", ""]
    for each in measured:
        texts = all_measured(each["metrics"], each["intervals"], each["n_eff"])
        lines.append(f"- {_code(each['label'])}: {', '.join(texts)}")
    return [*lines, "", "</details>", ""]


def _curve(search: SearchData) -> list[str]:
    """Return the curve of a search for the largest load as a table."""
    slos = ", ".join(search["slos"])
    title = f"{_code(search['label'])}, {_code(search['over'])} that hold {_code(slos)}"
    lines = [f"**{title}:** {_code(search['found'])}", ""]
    lines.append(f"| {_code_in_table(search['over'])} | rps | p95 ms | holds |")
    lines.append("|--:|--:|--:|---|")
    for probe in search["probes"]:
        rps = with_interval(probe["rps"], probe["rps_interval"])
        p95 = with_interval(probe["p95_ms"], probe["p95_interval"])
        lines.append(f"| {figure(probe['load'])} | {rps} | {p95} | {'yes' if probe['holds'] else 'no'} |")
    return lines


def _sentence(text: str, names: Collection[str]) -> str:
    """Return one of the plugin's sentences; names in it, which others wrote, become code spans."""
    longest_first = sorted(filter(None, names), key=len, reverse=True)
    if not longest_first:
        return _text(text)
    any_name = "|".join(map(re.escape, longest_first))
    parts = re.split(rf"(?<!\w)({any_name})(?!\w)", text)
    return "".join(_code(part) if part in names else _text(part) for part in parts)


def _text(text: str) -> str:
    """Return ``text`` with Markdown's and HTML's special characters escaped."""
    return text.translate(_SPECIAL)


def _code(text: str) -> str:
    """Return ``text`` as a code span on one line, even if it has backticks."""
    line = " ".join(text.split())
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}" if line else ""


def _code_in_table(text: str) -> str:
    """Return ``text`` as a code span for a table cell; bars are escaped, also after backslashes."""
    return _code(text).replace("\\|", "\\ |").replace("|", "\\|")
