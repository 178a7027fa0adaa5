"""JUnit, JSON, the table, the hook."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hdrh.histogram import HdrHistogram
from junitparser import xunit2
from lxml import etree

import planted_results as planted
from harness import JUDGED_AT_ONCE, STEADY
from needs import SCHEMA
from pytest_tfserving.load.result import ScheduleAdherence
from pytest_tfserving.report.formatting import figure
from pytest_tfserving.report.json import recorded_latencies
from pytest_tfserving.slo.language import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project


def properties(path: Path) -> dict[str, str]:
    (case,) = ET.parse(path).getroot().iter("testcase")
    return {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_junit_has_every_figure_and_verdict(project: Project, workers: list[str]) -> None:
    project.write(JUDGED_AT_ONCE)

    run = project.run("--junit-xml=out.xml", "-W", "error", STEADY, *workers)

    run.assert_outcomes(passed=1)

    found = properties(project.pytester.path / "out.xml")
    assert found["experiment"] == "1cpu-1gb-1n-interop1"
    assert found["verdict"] == "PASS"
    assert found["slo:max<60s"].startswith("PASS: max is ")
    assert {
        "rps",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "p99_9_ms",
        "mean_ms",
        "max_ms",
        "requests",
        "errors",
    } <= set(found)
    assert float(found["p50_ms"]) <= float(found["p95_ms"]) <= float(found["max_ms"])


@pytest.mark.needs("junit-schema")
def test_junit_fits_the_xunit2_schema(project: Project) -> None:
    """But for the place of a test's properties, which the schema knows and allows in suites only."""
    planted.instead_of_load(project)
    schema = etree.XMLSchema(etree.parse(os.environ[SCHEMA]))
    good, bad = (
        "def test_good(load):\n    load().check()\n",
        "def test_bad(load):\n    assert load().rps < 0\n",
    )
    forgotten = "def test_forgotten(load):\n    load(users=1)\n"
    project.write(tests=good + bad + forgotten)

    run = project.run("--junit-xml=out.xml", "--tfserving-unjudged=fail")

    run.assert_outcomes(passed=2, failed=1)

    tree = etree.parse(project.pytester.path / "out.xml")
    properties = list(tree.iterfind(".//testcase/properties"))
    assert len(properties) == 3
    assert len(list(tree.iterfind(".//testcase"))) == 4
    for each in properties:
        schema.assertValid(etree.fromstring(etree.tostring(each)))
        each.getparent().remove(each)
    schema.assertValid(tree)


def test_junit_is_read_back(project: Project) -> None:
    planted.instead_of_load(project)

    _, (result,) = project.results("--junit-xml=out.xml")

    (suite,) = xunit2.JUnitXml.fromfile(str(project.pytester.path / "out.xml"))
    (case,) = suite
    found = {each.name: each.value for each in case.properties()}
    assert found["verdict"] == "PASS"
    assert float(found["rps"]) == pytest.approx(result["metrics"]["rps"], abs=1e-4)
    assert found["slo:rps>=1"].startswith("PASS: rps is ")


def test_junit_of_a_failure_carries_the_reason(project: Project) -> None:
    project.behave(mode="die", after=20)

    project.run("--junit-xml=out.xml")

    (failure,) = ET.parse(project.pytester.path / "out.xml").getroot().iter("failure")
    assert "replica 0 exited with code 9" in failure.attrib["message"]


def test_an_slo_that_fails_nothing_says_so_beside_its_verdict(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(
        tests='import pytest\n@pytest.mark.slo("p50<1us", strict=False)\n'
        "def test_it(load):\n    load().check()\n"
    )
    folder = project.pytester.path

    run = project.run(
        "--junit-xml=out.xml", "--tfserving-markdown=out.md", "--tfserving-html=out.html", "-W", "error"
    )

    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines(
        [
            "1cpu-1gb-1n-interop1 * PASS",
            "1cpu-1gb-1n-interop1: FAIL: p50<1us: p50 is * above the limit *(reported only)",
        ]
    )
    assert "(reported only)`\n" in (folder / "out.md").read_text(encoding="utf-8")
    html = (folder / "out.html").read_text(encoding="utf-8")
    assert "(reported only)</td>" in html
    assert properties(folder / "out.xml")["slo:p50<1us"].endswith(" (reported only)")


def test_an_open_loop_has_rates_and_no_users_in_every_report(project: Project) -> None:
    adherence = ScheduleAdherence(49.8, 49.7, 0, 0.1, 0.2, 0.31, 0.29)
    planted.instead_of_load(project, lambda _: {"arrivals": adherence, "run_record": None})
    reports = ("--tfserving-html=out.html", "--tfserving-markdown=out.md", "--junit-xml=out.xml")

    run, (result,) = project.results("--tfserving-rate=50", "--tfserving-run-time=300", *reports)

    folder = project.pytester.path
    answered = figure(result["metrics"]["rps"])
    rates = f"in the window 49.8 due, 49.7 sent, {answered} answered"
    text = f"50 requests a second asked for; {rates}; sent late by p50 0.1 ms, p99 0.29 ms"
    run.stdout.fnmatch_lines([f"  {text}"])
    assert f"`1cpu-1gb-1n-interop1`: `{text}`\n" in (folder / "out.md").read_text(encoding="utf-8")
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert f"<td>rates</td><td>{text}</td>" in page
    assert not re.search(r"\b(0 users|users 0)\b", page.partition("<script")[0])
    found = properties(folder / "out.xml")
    assert (found["rate"], found["due_rps"], found["sent_rps"]) == ("50.0", "49.8", "49.7")
    assert "users" not in found
    assert (result["profile"]["rate"], result["arrivals"]["sent_rps"]) == (50, 49.7)


def test_json_has_the_same_figures_as_the_table(project: Project) -> None:
    planted.instead_of_load(project)

    run, (result,) = project.results()

    document = json.loads((project.pytester.path / "out.json").read_text(encoding="utf-8"))
    assert document["schema_version"] == 2
    assert document["interrupted"] is False
    assert result["window"]["start_s"] > 0
    rps = result["metrics"]["rps"]
    shown = f"{rps:.0f}" if rps >= 100 else f"{rps:.3g}"
    run.stdout.fnmatch_lines(
        ["*rps*p50*p95*p99*errors*eff.*verdict", f"1cpu-1gb-1n-interop1 * {shown} * PASS"]
    )
    assert sum(second["successes"] for second in result["series"]) == result["total_requests"]


def test_the_table_fits_into_eighty_columns(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(
        "defaults: {model: ./models/half, payload: request.json, profile: smoke}\n"
        "experiments:\n- {shape: 8cpu-64gb-2n, inter_op: 2, batching: true}\n"
    )

    run = project.run()

    start = next(number for number, line in enumerate(run.outlines) if "verdict" in line)
    assert max(map(len, run.outlines[start : start + 2])) <= 80
    assert run.outlines[start].index("verdict") + max(map(len, Verdict)) <= 80


@pytest.mark.parametrize("about", [{}, {"not_judged": "too small"}], ids=["judged", "not judged"])
def test_n_eff_is_explained_where_it_shows(project: Project, about: dict[str, str]) -> None:
    planted.instead_of_load(project, lambda _: about)

    run = project.run()

    shown = [line for line in run.outlines if " n_eff " in line]
    explained = run.outlines.count("n_eff: how many independent requests carry as much information")
    assert (bool(shown), explained) == ((False, 0) if about else (True, 1))


def test_the_result_hook_is_called_once_a_run(project: Project) -> None:
    planted.instead_of_load(project)
    (project.pytester.path / "conftest.py").write_text(
        "def pytest_tfserving_result(config, nodeid, result):\n"
        "    print(f'HOOK {nodeid} {result.successes > 0}')\n",
        encoding="utf-8",
    )
    project.write(tests="def test_one(load):\n    load()\ndef test_two(load):\n    load()\n")

    run = project.run("-s")

    assert sum("HOOK" in line for line in run.outlines) == 1
    run.stdout.fnmatch_lines(["*HOOK test_perf.py::test_one[[]1cpu-1gb-1n-interop1[]] True*"])


def test_figures_are_remade_from_the_recording(project: Project) -> None:
    """The exact latencies are in it, and histograms that HdrHistogram's own library reads."""
    _, (result,) = project.results()

    recording, metrics = result["recording"], result["metrics"]
    latencies = recorded_latencies(recording)
    assert len(latencies) == metrics["requests"] == recording["count"]
    assert {
        name: latencies.named_percentiles()[name] for name in ("p50_ms", "p95_ms", "p99_9_ms", "max_ms")
    } == {name: metrics[name] for name in ("p50_ms", "p95_ms", "p99_9_ms", "max_ms")}
    window = HdrHistogram.decode(recording["window"])
    # HdrHistogram rounds the rank, where ours is the next whole one.
    near_p95_ms = latencies.values_ms[int(0.95 * len(latencies) + 0.5) - 1]
    assert window.get_value_at_percentile(95) / 1e6 == pytest.approx(near_p95_ms, rel=1e-3)
    slices = [HdrHistogram.decode(each) for each in recording["slices"]]
    assert sum(each.get_total_count() for each in slices) == result["total_requests"]


def test_a_link_under_a_name_that_others_can_guess_is_not_written_to(project: Project) -> None:
    """Somebody else put it where a report was written to before it came into its place."""
    planted.instead_of_load(project)
    folder = project.pytester.path
    (folder / "precious").write_text("precious")
    (folder / f".out.json.{os.getpid()}").symlink_to("precious")
    (folder / "out.html").symlink_to("precious")

    project.run("--tfserving-json=out.json", "--tfserving-html=out.html").assert_outcomes(passed=1)

    assert (folder / "precious").read_text() == "precious"
    assert {path.name for path in folder.glob(".out.*")} == {f".out.json.{os.getpid()}"}
