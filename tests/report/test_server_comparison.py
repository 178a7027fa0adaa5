"""The comparison with a baseline server in every report, from planted results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import jsonschema
import pytest

import planted_results as planted
import pytest_tfserving
from pytest_tfserving.cli import main
from pytest_tfserving.load.result import CpuUse
from pytest_tfserving.measurement.environment import this_machine
from pytest_tfserving.report.json import json_text, result_as_dict, result_from_dict
from pytest_tfserving.report.markdown import markdown_text
from pytest_tfserving.report.server_comparison import changed_metrics

if TYPE_CHECKING:
    from harness import Project
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.report.schema import Document

SCHEMA = json.loads((Path(pytest_tfserving.__file__).parent / "report" / "results.schema.json").read_text())
DIFFERENCE = "the candidate's memory grew by 1.0 MB a second, that of the baseline server by 0.0 MB a second"
TESTS = """
import pytest

@pytest.mark.slo("p95<=+{}%")
def test_gate(load):
    load().check("p95")
"""
SPECIAL = f"""lambda _: {{"p50_ms": 330.0, "comparison": planted.compared({DIFFERENCE!r}).comparison}}"""


def document(result: Result, *slos: str) -> Document:
    return planted.document(planted.entry(result, *slos))


def rows(result: Result, *slos: str) -> dict[str, tuple[str, ...]]:
    """The cells of each metric's row but for its name."""
    (found,) = document(result, *slos)["results"]
    return {row.name: row.cells[1:] for row in changed_metrics(found)}


def plant(project: Project, allowed: int = 5, **changes: object) -> None:
    """Let the project's only test compare a server that is 10 % slower with its baseline server."""
    known: dict[str, object] = {
        "p50_ms": 330.0,
        "comparison": planted.compared(DIFFERENCE).comparison,
        **changes,
    }
    planted.instead_of_load(project, lambda _: known)
    project.write(tests=TESTS.format(allowed))


def test_a_metric_has_the_verdict_of_its_slos_or_else_what_its_interval_says() -> None:
    found = rows(planted.compared(), "p95<=+5%", "p95<=+50%", "p50<=+20%", "p95<60s")

    assert found["p95 ms"] == ("458", "417", "+10 % [+8.0, +12]", "3.0 %", "FAIL")
    assert found["p50 ms"][-1] == "PASS"
    assert found["p99 ms"][-1] == "worse"
    assert rows(planted.compared(p50_ms=270.0), "p50<=+20%")["p99 ms"][-1] == "better"
    assert rows(planted.compared(p50_ms=303.0), "p50<=+20%")["p99 ms"][-1] == ""


def test_errors_differ_in_points_and_are_shown_only_if_there_were_any_or_if_they_are_limited() -> None:
    assert "errors" not in rows(planted.compared(), "p95<=+5%")
    assert rows(planted.compared(), "errors<=+50%")["errors"][-1] == "PASS"

    errors = rows(planted.compared(errors={"HTTP 503": 40}), "errors<=+0.1%")["errors"]

    assert errors == ("0.529%", "0%", "+0.5 points [-1.5, +2.5]", "3.0 points", "INCONCLUSIVE")


def test_cpu_a_request_is_compared_if_it_is_known() -> None:
    cpu = CpuUse(150, 300, 15.0, 7500)
    ours = planted.result(cpu=replace(cpu, used_s=15.45))
    result = replace(ours, comparison=planted.against(ours, planted.result(cpu=cpu)))

    assert rows(result)["CPU a request ms"] == ("2.06", "2", "+3.0 % [+1.0, +5.0]", "3.0 %", "worse")


def test_a_result_without_a_baseline_server_has_no_such_rows() -> None:
    assert rows(planted.result()) == {}


@pytest.mark.parametrize(("allowed", "verdict"), [(5, "FAIL"), (50, "PASS")])
def test_the_terminal_has_a_row_of_the_baseline_server_and_the_changes(
    project: Project, allowed: int, verdict: str
) -> None:
    plant(project, allowed)

    run = project.run()

    at = next(index for index, line in enumerate(run.outlines) if line.startswith("  image:serving:main "))
    before, row, *lines = run.outlines[at - 1 : at + 8]
    assert before.startswith("1cpu-1gb-1n-interop1 ")
    assert before.endswith(f" {verdict}")
    # The figures stand below those of the candidate.
    assert row.index(" 417 ") == before.index(" 458 ")
    p95 = next(line for line in lines if line.startswith("  p95 ms "))
    assert p95.split() == ["p95", "ms", "+10", "%", "[+8.0,", "+12]", "smallest", "seen", "3.0", "%", verdict]
    assert f"  {DIFFERENCE}" in lines
    assert all(len(line) <= 80 for line in (row, *lines) if DIFFERENCE not in line)


def test_a_long_name_of_a_baseline_server_keeps_the_table_in_line(project: Project) -> None:
    compared = planted.compared().comparison
    assert compared is not None
    plant(project, comparison=replace(compared, against=f"server:/{'deep/' * 20}model_server"))

    run = project.run()

    row = next(line for line in run.outlines if line.startswith("  …"))
    assert "/deep/model_server " in row
    assert len(row) <= 80


def test_a_failed_test_names_what_differs(project: Project) -> None:
    plant(project)

    project.run().stdout.fnmatch_lines(["*FAIL         p95<=+5%: slower: p95 +10 % *", f"  {DIFFERENCE}"])


def test_markdown_has_a_row_for_each_metric_and_the_differences() -> None:
    lines = markdown_text(document(planted.compared(DIFFERENCE), "p95<=+5%")).splitlines()

    at = lines.index("**`2cpu-4gb-8n-interop2` against `image:serving:main`**")
    assert lines[at + 2].startswith("| metric | candidate | baseline server | change [95 % interval] |")
    assert "| p95 ms | 458 | 417 | +10 % [+8.0, +12] | 3.0 % | ❌ FAIL |" in lines
    assert "| p99 ms | 528 | 480 | +10 % [+8.0, +12] | 3.0 % | worse |" in lines
    assert f"- `{DIFFERENCE}`" in lines


def test_junit_has_each_change_with_its_interval(project: Project) -> None:
    plant(project)

    project.run("--junit-xml=out.xml")

    (case,) = ET.parse(project.pytester.path / "out.xml").getroot().iter("testcase")
    found = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
    assert found["against"] == "image:serving:main"
    assert found["against:p95_ms"] == "+10 % [+8.0, +12]"
    assert found["against:error_rate"] == "+0.0 points [+0.0, +0.0]"


def test_a_result_comes_back_whole() -> None:
    known = planted.compared(DIFFERENCE, errors={"HTTP 503": 40})
    written = json.loads(json_text(document(known, "p95<=+5%")))
    jsonschema.validate(written, SCHEMA)

    again = result_from_dict(json.loads(json.dumps(result_as_dict(known))))

    assert again.comparison is not None
    assert known.comparison is not None
    assert again.comparison.changes["error_rate"] == known.comparison.changes["error_rate"]
    assert again.comparison.differences == known.comparison.differences
    assert again.comparison.result.p95_ms == pytest.approx(known.comparison.result.p95_ms, rel=0.01)


def test_a_page_has_no_recording_of_either_server() -> None:
    from pytest_tfserving.report.html import html_text

    assert '"recording"' not in html_text(document(planted.compared(), "p95<=+5%"))


def test_workers_hand_the_comparison_on_and_reports_can_be_made_again(project: Project) -> None:
    planted.in_every_process(project.pytester, project.monkeypatch, SPECIAL)
    project.write(tests=TESTS.format(5))

    run, results = project.results("-n", "1", "--tfserving-markdown=out.md", "--tfserving-html=out.html")

    run.assert_outcomes(failed=1)
    assert results[0]["comparison"]["differences"] == [DIFFERENCE]
    again = project.pytester.path / "again.md"
    written = str(project.pytester.path / "out.json")
    page = str(project.pytester.path / "again.html")
    assert main(["report", written, "--markdown", str(again), "--html", page]) == 0
    assert again.read_text(encoding="utf-8") == (project.pytester.path / "out.md").read_text(encoding="utf-8")


def test_results_against_several_baseline_servers_are_kept_and_told_apart(tmp_path: Path) -> None:
    paths: list[str] = []
    for name in ("image:a", "image:b", "image:b"):
        known = planted.compared(identity={"against": {"named": name}})
        path = tmp_path / f"{len(paths)}.json"
        path.write_text(json_text(document(known, "p95<=+5%")), encoding="utf-8")
        paths.append(str(path))

    assert main(["report", *paths, "--json", str(tmp_path / "both.json")]) == 0

    results = json.loads((tmp_path / "both.json").read_text(encoding="utf-8"))["results"]
    name = results[0]["experiment"]
    assert [each["label"] for each in results] == [f"{name} (against image:a)", f"{name} (against image:b)"]
    assert all(each["comparison"]["changes"]["p95_ms"]["value"] > 0.09 for each in results)


def test_a_session_with_a_baseline_server_is_saved_and_compared(project: Project) -> None:
    plant(project, environment={"machine": this_machine(), "commit": "0123abc"})
    project.run("--tfserving-save=main")

    run = project.run("--tfserving-compare=main")

    run.stdout.fnmatch_lines(["*compared with main *", "* p95 ms *458 * 458 * +0.0 % [[]*"])
    (path,) = (project.pytester.path / ".tfserving").iterdir()
    assert len(json.loads(path.read_text(encoding="utf-8"))["results"]) == 1
