"""The parts of a run that an SLO judges one by one, as texts: windows, and recoveries after load falls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from pytest_tfserving.report.formatting import figure
from pytest_tfserving.report.slo_lines import value_text
from pytest_tfserving.slo.language import Slo, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.report.schema import PartData, ResultData

MET, MISSED, UNDECIDED = "met", "missed", "undecided"
_FINDINGS = {True: MET, False: MISSED, None: UNDECIDED}
_VERDICTS = {MISSED: Verdict.FAIL, UNDECIDED: Verdict.INCONCLUSIVE}
_MOST_ROWS = 20
_MOST_IN_A_LINE = 5


class PartRow(NamedTuple):
    """A part of a run that does not meet its limit; ``kind`` is the verdict whose colour the finding has."""

    seconds: str
    value: str
    finding: str
    kind: str


class PartTable(NamedTuple):
    """The parts that an SLO judges: how many there are, and the first ones that do not meet the limit."""

    slo: str
    summary: str
    rows: list[PartRow]
    more: int


def part_tables(result: ResultData) -> list[PartTable]:
    """Return a table for each SLO on parts of the run; those that miss the limit come first."""
    return [_table(text, parts, _MOST_ROWS) for text, parts in result.get("parts", {}).items() if parts]


def part_lines(result: ResultData) -> list[str]:
    """Return a line for each SLO whose limit is not met by all parts of the run."""
    tables = [
        _table(text, parts, _MOST_IN_A_LINE) for text, parts in result.get("parts", {}).items() if parts
    ]
    return [_line(table) for table in tables if table.rows]


def _line(table: PartTable) -> str:
    found = [f"{row.value} from {row.seconds} s, {row.finding}" for row in table.rows]
    found += [f"and {table.more} more"] if table.more else []
    return f"{table.slo}: {table.summary}: {'; '.join(found)}"


def _table(text: str, parts: Sequence[PartData], most: int) -> PartTable:
    slo = Slo.parse(text)
    findings = [_FINDINGS[each["holds"]] for each in parts]
    rows = [
        _row(slo, part, wanted)
        for wanted in (MISSED, UNDECIDED)
        for part, finding in zip(parts, findings, strict=True)
        if finding == wanted
    ]
    noun = ("window" if slo.every_s else "recovery"), ("windows" if slo.every_s else "recoveries")
    counts = [f"{findings.count(each)} {each}" for each in (MET, MISSED, UNDECIDED) if each in findings]
    summary = f"{len(parts)} {noun[len(parts) > 1]}, {', '.join(counts)}"
    return PartTable(text, summary, rows[:most], max(len(rows) - most, 0))


def _row(slo: Slo, part: PartData, finding: str) -> PartRow:
    value = math.nan if part["value"] is None else part["value"] / slo.unit.factor
    seconds = f"{figure(part['start_s'])} to {figure(part['end_s'])}"
    return PartRow(seconds, value_text(slo, value), finding, _VERDICTS[finding])
