"""``report``: outputs, summary, annotations and the text of the comment, from the files that pytest wrote."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from perf_gate import findings
from perf_gate.runner import (
    gate_folder,
    input_of,
    pull_request,
    reports,
    words_of,
    write_output,
    write_summary,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ERROR = "ERROR"
# From the best to the worst.
_SIGNS = {"PASS": "✅", "NOT JUDGED": "⚪", "INCONCLUSIVE": "⚠️", "INVALID": "❌", "FAIL": "❌", _ERROR: "❌"}
_PASSED, _FAILED = "0", "1"
_MOST_LINES = 60
# A comment has at most 65 536 characters.
_MOST_CHARACTERS = 60_000


def run() -> None:
    """Write everything that people and later steps read."""
    results = _results()
    verdict = _verdict([each["verdict"] for each in results], input_of("EXIT_CODE"))
    html, junit = reports() / "report.html", reports() / "junit.xml"
    write_output("verdict", verdict)
    write_output("html", html if html.exists() else "")
    write_output("junit", junit if junit.exists() else "")
    findings.annotate_all(junit, words_of("TESTS"))
    text = body(verdict, results)
    (gate_folder() / "comment.md").write_text(text, encoding="utf-8")
    write_summary(text)


def body(verdict: str, results: Sequence[dict[str, Any]]) -> str:
    """Return the text of the summary and of the comment."""
    lines = [f"## {_SIGNS[verdict]} {verdict}: {_code(input_of('NAME'))}", ""]
    found = [line for result in results for line in _lines_of(result)]
    lines += found[:_MOST_LINES]
    if len(found) > _MOST_LINES:
        lines.append(f"- and {len(found) - _MOST_LINES} lines more, in the report")
    if not results:
        lines.append(_why_nothing())
    lines += ["", *_figures(_MOST_CHARACTERS - len("\n".join(lines))), f"<sub>{_origin()}</sub>"]
    return "\n".join(lines) + "\n"


def _results() -> list[dict[str, Any]]:
    path = reports() / "results.json"
    if not path.exists():
        return []
    results: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return results


def _verdict(verdicts: Sequence[str], code: str) -> str:
    """Return the worst verdict; FAIL if pytest failed for another reason, ERROR if nothing was measured."""
    if not verdicts or code not in (_PASSED, _FAILED):
        return _ERROR
    worst = max(verdicts, key=list(_SIGNS).index)
    return "FAIL" if code == _FAILED and worst == "PASS" else worst


def _lines_of(result: dict[str, Any]) -> Iterator[str]:
    """Yield the verdict on an experiment, the verdicts on its SLOs, and what differs between the servers."""
    causes = [text for key in ("not_judged", "aborted", "invalid", "incomplete") if (text := result[key])]
    verdict = result["verdict"]
    yield f"- {_SIGNS[verdict]} {verdict}: {_code(result['label'])} {_code('; '.join(causes))}".rstrip()
    reasons = {each["slo"]: each for each in result["slos"]}
    for each in reasons.values():
        only_reported = "" if each["strict"] else " (reported only)"
        text = f"{each['slo']}: {each['reason']}{only_reported}"
        yield f"  - {_SIGNS[each['verdict']]} {each['verdict']}: {_code(text)}"
    for difference in (result.get("comparison") or {}).get("differences", []):
        yield f"  - {_code(difference)}"


def _why_nothing() -> str:
    mistake = gate_folder() / "mistake.txt"
    if mistake.exists():
        return f"Nothing was measured: {_code(mistake.read_text(encoding='utf-8'))}"
    code = input_of("EXIT_CODE")
    cause = f"pytest ended with exit code {code}" if code else "the gate ended before pytest did"
    return f"Nothing was measured: {cause}. The log of the job has the reason."


def _figures(room: int) -> list[str]:
    """Return the plugin's own Markdown in a folded section, if there is room."""
    path = reports() / "report.md"
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    if len(text) > room:
        return ["The figures are too long for a comment; the report has them.", ""]
    return ["<details><summary>Figures</summary>", "", text, "</details>", ""]


def _origin() -> str:
    """Return what was compared, and a link to the run with its artifact."""
    environment = os.environ
    run = (
        f"{environment['GITHUB_SERVER_URL']}/{environment['GITHUB_REPOSITORY']}"
        f"/actions/runs/{environment['GITHUB_RUN_ID']}"
    )
    # The commit of a pull request's event is a merge that nobody knows.
    commit = pull_request().get("head", {}).get("sha") or environment["GITHUB_SHA"]
    against = input_of("AGAINST")
    return f"Commit {commit} against {_code(against)}. [The run]({run}) has the report as an artifact."


def _code(text: str) -> str:
    """Return ``text``, which others wrote, as a code span on one line: no markup, no mention of a person."""
    line = " ".join(text.split())
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}" if line else ""
